"""Consul's API through SSH: py-consul speaking over a channel to the agent's own loopback.

Nothing listens on the operator's machine. Wraps what py-consul 1.8 leaves out: a token on every call, whatever
CONSUL_HTTP_TOKEN says in the operator's environment.
"""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections.abc import Mapping
from typing import Any

from consul import ConsulException
from consul.base import Consul as BaseConsul
from consul.base import HTTPClient as BaseClient
from consul.base import Response

from ...core.errors import HostError
from ..ssh.connection import Remote
from ..ssh.http_channel import PORT

_ALIVE = 1  # serf's member status


class Refusal(HostError, ConsulException):  # type: ignore[misc]
    """Consul on this host answered, and it was not what is wanted: a cluster without a leader, a token it does not know."""

    def __init__(self, host: str, path: str, code: int, body: str) -> None:
        super().__init__(host, f"Consul refused {path.partition('?')[0]}: {code} {body.strip()}".rstrip(), "inv status")
        self.code = code
        self.body = body


class _Client(BaseClient):  # type: ignore[misc]
    """py-consul's HTTP face over the host's connections."""

    def __init__(self, remote: Remote, token: str | None) -> None:
        super().__init__()
        self._remote = remote
        self._token = token

    def _ask(
        self, method: str, path: str, params: Any, data: str | bytes, headers: Mapping[str, str] | None
    ) -> Response:
        target = urllib.parse.quote(path, safe="/:?&=") + (f"?{urllib.parse.urlencode(params)}" if params else "")
        head = {**(headers or {}), **({"X-Consul-Token": self._token} if self._token else {})}
        try:
            answer = self._remote.http.ask(method, target, data or None, head)
        except (OSError, http.client.HTTPException) as error:
            raise HostError(self._remote.host.name, f"Consul's API did not answer ({str(error) or type(error).__name__})",
                            "inv status; on the host: systemctl status consul") from error  # fmt: skip
        return Response(answer.status, dict(answer.headers), answer.body.decode("utf-8", "replace"))

    def _call(self, callback: Any, path: str, response: Response) -> Any:
        """py-consul's own errors bear no host and no way out."""
        try:
            return callback(response)
        except Refusal:
            raise
        except ConsulException as error:
            host = self._remote.host.name
            if response.code in (200, 404):
                raise HostError(host, f"what Consul answers to {path} cannot be read: {error}", "inv status") from None
            raise Refusal(host, path, response.code, response.body) from None

    # `raw` is py-consul's, for snapshots, which nothing here asks for
    def get(self, callback: Any, path: str, params: Any = None, headers: Any = None, raw: bool = False) -> Any:  # noqa: ARG002
        return self._call(callback, path, self._ask("GET", path, params, b"", headers))

    def put(self, callback: Any, path: str, params: Any = None, data: Any = "", headers: Any = None) -> Any:
        return self._call(callback, path, self._ask("PUT", path, params, data, headers))

    def post(self, callback: Any, path: str, params: Any = None, data: Any = "", headers: Any = None) -> Any:
        return self._call(callback, path, self._ask("POST", path, params, data, headers))

    def delete(self, callback: Any, path: str, params: Any = None, data: Any = "", headers: Any = None) -> Any:
        return self._call(callback, path, self._ask("DELETE", path, params, data, headers))

    def close(self) -> None:
        """Nothing to do: the connections are the host's."""


class Consul(BaseConsul):  # type: ignore[misc]
    """py-consul's whole face (`kv`, `health`, `agent`, …) for the agent on `remote`'s loopback."""

    def __init__(self, remote: Remote, token: str | None = "") -> None:
        """`token`: the connection's own unless given; None for none at all."""
        token = remote.token if token == "" else token
        self._remote = remote
        self._given = token
        super().__init__("127.0.0.1", PORT, token, "http", verify=True)  # what is not given, it takes from CONSUL_HTTP_*
        self.token = token

    @property
    def host(self) -> str:
        """The name of the host whose agent is asked."""
        return str(self._remote.host.name)

    def http_connect(self, *_: Any, **__: Any) -> _Client:
        return _Client(self._remote, self._given)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """A call that py-consul has no (right) method for; decoded JSON, None for an empty answer. Refusal unless 200."""

        def decoded(response: Response) -> Any:
            if response.code != 200:
                raise Refusal(self.host, path, response.code, response.body)
            return json.loads(response.body) if response.body.strip() else None

        words = {} if method == "GET" else {"data": json.dumps(body) if body is not None else ""}
        return getattr(self.http, method.lower())(decoded, path, **words)

    def version(self) -> str:
        """Of the agent that is asked."""
        return str(self.ask("GET", "/v1/agent/self")["Config"]["Version"])


def members(consul: Consul) -> dict[str, bool]:
    """Node name -> alive, as the asked agent sees the gossip pool."""
    return {m["Name"]: m["Status"] == _ALIVE for m in consul.agent.members()}


__all__ = ["PORT", "Consul", "ConsulException", "Refusal", "members"]
