"""Consul's API through SSH: py-consul speaking over a channel to the agent's own loopback.

Nothing listens on the operator's machine. Wraps what py-consul 1.8 leaves out: a token on every call, whatever
CONSUL_HTTP_TOKEN says in the operator's environment.
"""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any

from consul import ConsulException
from consul.base import Consul as BaseConsul
from consul.base import HTTPClient as BaseClient
from consul.base import Response

from ...core.errors import HostError
from ...core.foreign import understood
from ..ssh.connection import Remote
from ..ssh.http_channel import PORT

_ALIVE = 1  # serf's member status


class ConsulApiError(HostError, ConsulException):  # type: ignore[misc]
    """Consul answered with a status other than 200: the cluster has no leader, the token is unknown, …"""

    def __init__(self, host: str, path: str, code: int, body: str) -> None:
        super().__init__(host, f"Consul refused {path.partition('?')[0]}: {code} {body.strip()}".rstrip(), "inv status")
        self.code = code
        self.body = body


class _Client(BaseClient):  # type: ignore[misc]
    """py-consul's HTTP client, over the host's SSH connection."""

    def __init__(self, remote: Remote, token: str | None) -> None:
        super().__init__()
        self._remote = remote
        self._token = token

    def _request(
        self, method: str, path: str, params: Any, data: str | bytes, headers: Mapping[str, str] | None
    ) -> Response:
        target = urllib.parse.quote(path, safe="/:?&=") + (f"?{urllib.parse.urlencode(params)}" if params else "")
        head = {**(headers or {}), **({"X-Consul-Token": self._token} if self._token else {})}
        try:
            answer = self._remote.http.request(method, target, data or None, head)
        except (OSError, http.client.HTTPException) as error:
            raise HostError(
                self._remote.host.name, f"Consul's API did not answer ({str(error) or type(error).__name__})",
                "inv status; on the host: systemctl status consul",
            ) from error  # fmt: skip
        return Response(answer.status, dict(answer.headers), answer.body.decode("utf-8", "replace"))

    def _call(self, callback: Any, path: str, response: Response) -> Any:
        """Decodes the response; turns py-consul's errors, which name no host and no hint, into ours."""
        try:
            with understood(self._remote.host.name, f"what Consul answers to {path}"):
                return callback(response)
        except ConsulApiError:
            raise
        except ConsulException as error:
            host = self._remote.host.name
            if response.code in (200, 404):
                raise HostError(host, f"what Consul answers to {path} cannot be read: {error}", "inv status") from None
            raise ConsulApiError(host, path, response.code, response.body) from None

    # `raw` is for snapshots, which nothing here uses
    def get(self, callback: Any, path: str, params: Any = None, headers: Any = None, raw: bool = False) -> Any:  # noqa: ARG002
        return self._call(callback, path, self._request("GET", path, params, b"", headers))

    def put(self, callback: Any, path: str, params: Any = None, data: Any = "", headers: Any = None) -> Any:
        return self._call(callback, path, self._request("PUT", path, params, data, headers))

    def post(self, callback: Any, path: str, params: Any = None, data: Any = "", headers: Any = None) -> Any:
        return self._call(callback, path, self._request("POST", path, params, data, headers))

    def delete(self, callback: Any, path: str, params: Any = None, data: Any = "", headers: Any = None) -> Any:
        return self._call(callback, path, self._request("DELETE", path, params, data, headers))

    def close(self) -> None:
        """Nothing to do: the host owns the connections."""


class Consul(BaseConsul):  # type: ignore[misc]
    """py-consul's API (`kv`, `health`, `agent`, …) for the agent on `remote`'s loopback."""

    def __init__(self, remote: Remote, token: str | None = "") -> None:
        """`token`: by default the one of `remote`; None for no token."""
        token = remote.token if token == "" else token
        self._remote = remote
        self._token = token
        # all given: py-consul takes what is not from CONSUL_HTTP_* in the environment
        super().__init__("127.0.0.1", PORT, token, "http", verify=True)
        self.token = token

    @property
    def host(self) -> str:
        """The name of the host whose agent answers."""
        return str(self._remote.host.name)

    def http_connect(self, *_: Any, **__: Any) -> _Client:
        return _Client(self._remote, self._token)

    def request(self, method: str, path: str, body: object = None) -> Any:
        """A call that py-consul has no correct method for. Returns decoded JSON, None for an empty body.

        ConsulApiError when the status is not 200; HostError when Consul does not answer.
        """

        def decoded(response: Response) -> Any:
            if response.code != 200:
                raise ConsulApiError(self.host, path, response.code, response.body)
            return json.loads(response.body) if response.body.strip() else None

        kwargs = {} if method == "GET" else {"data": json.dumps(body) if body is not None else ""}
        return getattr(self.http, method.lower())(decoded, path, **kwargs)

    def version(self) -> str:
        """The version of the agent's Consul."""
        with understood(self.host, "Consul's version"):
            return str(self.request("GET", "/v1/agent/self")["Config"]["Version"])


def members(consul: Consul) -> dict[str, bool]:
    """Node name -> whether it is alive, as this agent sees the gossip pool."""
    with understood(consul.host, "Consul's list of members"):
        return alive(consul.agent.members())


def alive(pool: Iterable[Mapping[str, Any]]) -> dict[str, bool]:
    """The same, of a list of members as the API gives it."""
    return {str(m["Name"]): m["Status"] == _ALIVE for m in pool}


__all__ = ["PORT", "Consul", "ConsulApiError", "ConsulException", "alive", "members"]
