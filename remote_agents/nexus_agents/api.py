"""Consul's API on the host's own loopback: py-consul with a time limit and the token on every call."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any

import requests
from consul.base import Response
from consul.std import Consul as StandardConsul
from consul.std import HTTPClient

TIMEOUT = 2.0  # seconds


class ConsulError(Exception):
    """Consul did not answer in time (code 0), or answered something else than asked for."""

    def __init__(self, what: str, code: int = 0) -> None:
        super().__init__(what)
        self.code = code


class _Client(HTTPClient):  # type: ignore[misc]
    """`limit` seconds may pass before the first byte of an answer; paths may bear their query."""

    limit = TIMEOUT

    def timeout(self, params: object) -> float:  # noqa: ARG002
        return self.limit

    def uri(self, path: str, params: Any = None) -> str:
        found = str(self.base_uri) + urllib.parse.quote(path, safe="/:?&=")
        return f"{found}{'&' if '?' in path else '?'}{urllib.parse.urlencode(params)}" if params else found


class Consul(StandardConsul):  # type: ignore[misc]
    """Not for use by two threads at once: each makes its own."""

    def __init__(self, token: str | None, address: str = "127.0.0.1:8500", timeout: float = TIMEOUT) -> None:
        host, _, port = address.partition(":")
        self._given = token
        self._limit = timeout
        super().__init__(host=host, port=int(port), token=token)

    def http_connect(self, host: str, port: int, scheme: str, verify: bool | str = True, cert: Any = None) -> _Client:
        return _Client(host, port, scheme, verify, cert)

    def again(self) -> Consul:
        """The same for another thread."""
        return Consul(self._given, f"{self.http.host}:{self.http.port}", self._limit)

    def get(self, path: str, timeout: float | None = None) -> tuple[int, Any]:
        """(X-Consul-Index, decoded JSON); (index, None) for what is not there. `path` begins with /v1/."""
        answer = self._ask("get", path, timeout)
        if answer.code not in (200, 404):
            raise _refused(path, answer)
        return int(answer.headers.get("X-Consul-Index") or 0), _decoded(answer) if answer.code == 200 else None

    def put(self, path: str, body: object = None, timeout: float | None = None) -> Any:
        """Decoded JSON of a 200. ConsulError otherwise; its code is Consul's."""
        answer = self._ask("put", path, timeout, data=json.dumps(body) if body is not None else "")
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

    def _ask(self, verb: str, path: str, timeout: float | None, **words: Any) -> Response:
        self.http.limit = self._limit if timeout is None else timeout
        headers = {"X-Consul-Token": self._given} if self._given else {}
        try:
            return getattr(self.http, verb)(lambda answer: answer, path, headers=headers, **words)
        except requests.RequestException as error:
            raise ConsulError(f"{path.partition('?')[0]}: {type(error).__name__}") from error


def _refused(path: str, answer: Response) -> ConsulError:
    return ConsulError(f"{path.partition('?')[0]}: {answer.code} {str(answer.body).strip()[:300]}", answer.code)


def _decoded(answer: Response) -> Any:
    try:
        return json.loads(answer.body) if answer.body.strip() else None
    except ValueError as error:
        raise ConsulError(f"no JSON in the answer: {answer.body[:80]!r}") from error


def decoded(entry: Mapping[str, Any]) -> Any:
    """The JSON value of an entry of the KV store; None where there is none, or it is no JSON."""
    try:
        return json.loads(base64.b64decode(entry.get("Value") or ""))
    except ValueError:
        return None


def encoded(value: object) -> str:
    """For an operation of a transaction."""
    return base64.b64encode(json.dumps(value, sort_keys=True).encode()).decode()


def putting(key: str, value: object) -> dict[str, Any]:
    """The operation that sets a key."""
    return {"Verb": "set", "Key": key, "Value": encoded(value)}
