"""Consul's API on the host's own loopback, with a time limit and the token on every call.

By the standard library alone: an agent that starts, as after a crash, would first have to compile any other one, for a
zip file keeps no compiled modules. With py-consul and its libraries a start took 0.37 s of processor time, without 0.1 s.
"""

from __future__ import annotations

import base64
import http.client
import json
import select
import urllib.parse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

TIMEOUT = 2.0  # seconds


class ConsulError(Exception):
    """Consul did not answer in time (code 0), or answered something else than asked for."""

    def __init__(self, what: str, code: int = 0) -> None:
        super().__init__(what)
        self.code = code


@dataclass(frozen=True, slots=True)
class _Answer:
    code: int
    index: int
    body: str


class Consul:
    """One connection, kept from call to call. Not for use by two threads at once: each makes its own (`again`)."""

    def __init__(self, token: str | None, address: str = "127.0.0.1:8500", timeout: float = TIMEOUT) -> None:
        """`timeout`: seconds that may pass before the first byte of an answer, and between any two."""
        self._token = token
        self._address = address
        self._limit = timeout
        self._link = http.client.HTTPConnection(address)

    def again(self) -> Consul:
        """The same for another thread."""
        return Consul(self._token, self._address, self._limit)

    def get(self, path: str, timeout: float | None = None) -> tuple[int, Any]:
        """(X-Consul-Index, decoded JSON); (index, None) for what is not there. `path` begins with /v1/."""
        answer = self._ask("GET", path, timeout)
        if answer.code not in (200, 404):
            raise _refused(path, answer)
        return answer.index, _decoded(answer) if answer.code == 200 else None

    def put(self, path: str, body: object = None, timeout: float | None = None) -> Any:
        """Decoded JSON of a 200. ConsulError otherwise; its code is Consul's."""
        answer = self._ask("PUT", path, timeout, json.dumps(body) if body is not None else "")
        if answer.code != 200:
            raise _refused(path, answer)
        return _decoded(answer)

    def transact(self, operations: Iterable[Mapping[str, Any]], timeout: float | None = None) -> None:
        """All KV operations or none (at most 64). ConsulError with code 409 when a condition did not hold."""
        self.put("/v1/txn", [{"KV": dict(o)} for o in operations], timeout)

    def read(self, key: str, consistent: bool = False) -> tuple[int, Any]:
        """(ModifyIndex, decoded JSON) of one key; (0, None) where it is missing."""
        _, found = self.get(f"/v1/kv/{key}{'?consistent' if consistent else ''}")
        return (int(found[0]["ModifyIndex"]), decoded(found[0])) if found else (0, None)

    def _ask(self, method: str, path: str, timeout: float | None, body: str | None = None) -> _Answer:
        headers = {"X-Consul-Token": self._token} if self._token else {}
        try:
            link = self._ready(self._limit if timeout is None else timeout)
            link.request(method, urllib.parse.quote(path, safe="/:?&="), body, headers)
            answer = link.getresponse()
            text = answer.read().decode("utf-8", "replace")
            return _Answer(answer.status, int(answer.getheader("X-Consul-Index") or 0), text)
        except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:  # these two: numbers that are none
            self._link.close()  # what is left of this answer must not be taken for the next one's
            raise ConsulError(f"{path.partition('?')[0]}: {type(error).__name__}") from error

    def _ready(self, limit: float) -> http.client.HTTPConnection:
        """The connection with this time limit; a new one where Consul has ended it in between, as when it restarts."""
        link = self._link
        if link.sock is not None and select.select([link.sock], [], [], 0)[0]:
            link.close()
        link.timeout = limit
        if link.sock is not None:
            link.sock.settimeout(limit)
        return link


def _refused(path: str, answer: _Answer) -> ConsulError:
    return ConsulError(f"{path.partition('?')[0]}: {answer.code} {answer.body.strip()[:300]}", answer.code)


def _decoded(answer: _Answer) -> Any:
    try:
        return json.loads(answer.body) if answer.body.strip() else None
    except (ValueError, RecursionError) as error:
        raise ConsulError(f"no JSON in the answer: {answer.body[:80]!r}") from error


def decoded(entry: Mapping[str, Any]) -> Any:
    """The JSON value of an entry of the KV store; None where there is none, or it is no JSON."""
    try:
        return json.loads(base64.b64decode(entry.get("Value") or ""))
    except (ValueError, RecursionError):
        return None


def encoded(value: object) -> str:
    """For an operation of a transaction."""
    return base64.b64encode(json.dumps(value, sort_keys=True).encode()).decode()


def putting(key: str, value: object) -> dict[str, Any]:
    """The operation that sets a key."""
    return {"Verb": "set", "Key": key, "Value": encoded(value)}
