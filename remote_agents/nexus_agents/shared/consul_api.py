"""Consul's HTTP API at the agent on this host, with a timeout and the token on every call.

Standard library only. A zip file keeps no compiled modules, so an agent compiles every library at each start, also
after a crash: with py-consul and its dependencies a start took 0.37 s of processor time, without them 0.1 s.
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

from .consul_liveness import Liveness

TIMEOUT = 2.0  # seconds
_AN_ANSWER = (200, 404, 409)  # Consul heard us: the last two say "no such thing" and "a condition does not hold"


class ConsulError(Exception):
    """Consul did not answer in time (code 0), or answered with an error."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class _Response:
    code: int
    index: int
    body: str


class Consul:
    """One connection, kept open between calls. Not thread-safe: each thread takes a `clone`."""

    def __init__(
        self, token: str | None, address: str = "127.0.0.1:8500", timeout: float = TIMEOUT, liveness: Liveness | None = None
    ) -> None:
        """`timeout`: seconds until the first byte of a response, and between any two bytes."""
        self.liveness = liveness or Liveness()
        self._token = token
        self._address = address
        self._timeout = timeout
        self._connection = http.client.HTTPConnection(address)

    def clone(self) -> Consul:
        """A client with the same settings and a connection of its own, for another thread."""
        return Consul(self._token, self._address, self._timeout, self.liveness)

    def get(self, path: str, timeout: float | None = None) -> tuple[int, Any]:
        """(X-Consul-Index, decoded JSON); (index, None) for a missing key. `path` begins with /v1/. ConsulError."""
        response = self._request("GET", path, timeout)
        if response.code not in (200, 404):
            raise _refusal(path, response)
        return response.index, _json(response) if response.code == 200 else None

    def put(self, path: str, body: object = None, timeout: float | None = None) -> Any:
        """Decoded JSON of a 200. ConsulError otherwise, with Consul's status as its code."""
        response = self._request("PUT", path, timeout, json.dumps(body) if body is not None else "")
        if response.code != 200:
            raise _refusal(path, response)
        return _json(response)

    def transact(self, operations: Iterable[Mapping[str, Any]], timeout: float | None = None) -> None:
        """All KV operations or none (at most 64). ConsulError with code 409 when a condition does not hold."""
        self.put("/v1/txn", [{"KV": dict(o)} for o in operations], timeout)

    def read(self, key: str, consistent: bool = False) -> tuple[int, Any]:
        """(ModifyIndex, decoded JSON) of one key; (0, None) for a missing key."""
        _, entries = self.get(f"/v1/kv/{key}{'?consistent' if consistent else ''}")
        return (int(entries[0]["ModifyIndex"]), decode_entry(entries[0])) if entries else (0, None)

    def _request(self, method: str, path: str, timeout: float | None, body: str | None = None) -> _Response:
        """One call, noted in `liveness`. ConsulError of code 0 when there is no answer."""
        plain = path.partition("?")[0]
        try:
            response = self._send(method, path, timeout, body)
        except ConsulError as error:
            self.liveness.failed(method, plain, str(error).rpartition(": ")[2])
            raise
        if response.code in _AN_ANSWER:
            self.liveness.succeeded(method, plain)
        else:
            self.liveness.failed(method, plain, f"{response.code} {' '.join(response.body.split())[:120]}")
        return response

    def _send(self, method: str, path: str, timeout: float | None, body: str | None) -> _Response:
        headers = {"X-Consul-Token": self._token} if self._token else {}
        try:
            connection = self._connect(self._timeout if timeout is None else timeout)
            connection.request(method, urllib.parse.quote(path, safe="/:?&="), body, headers)
            response = connection.getresponse()
            text = response.read().decode("utf-8", "replace")
            return _Response(response.status, int(response.getheader("X-Consul-Index") or 0), text)
        # ValueError, OverflowError: a number in the response is malformed
        except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
            self._connection.close()  # the rest of this response must not be read as the next one
            raise ConsulError(f"{path.partition('?')[0]}: {type(error).__name__}") from error

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        """The connection with this timeout; reopened where Consul has closed it, as on a restart."""
        connection = self._connection
        if connection.sock is not None and select.select([connection.sock], [], [], 0)[0]:
            connection.close()
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        return connection


def _refusal(path: str, response: _Response) -> ConsulError:
    return ConsulError(f"{path.partition('?')[0]}: {response.code} {response.body.strip()[:300]}", response.code)


def _json(response: _Response) -> Any:
    try:
        return json.loads(response.body) if response.body.strip() else None
    except (ValueError, RecursionError) as error:
        raise ConsulError(f"no JSON in the answer: {response.body[:80]!r}") from error


def decode_entry(entry: Mapping[str, Any]) -> Any:
    """The JSON value of a KV entry; None for an empty value and for anything but JSON."""
    try:
        return json.loads(base64.b64decode(entry.get("Value") or ""))
    except (ValueError, RecursionError):
        return None


def encode_value(value: object) -> str:
    """`value` as the Value of a transaction's operation: JSON in base64."""
    return base64.b64encode(json.dumps(value, sort_keys=True).encode()).decode()


def set_operation(key: str, value: object) -> dict[str, Any]:
    """The transaction operation that sets a key."""
    return {"Verb": "set", "Key": key, "Value": encode_value(value)}
