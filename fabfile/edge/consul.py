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

from ..core.errors import HostError
from .ssh import Remote

PORT = 8500
TIMEOUT = 10.0  # seconds a read may take


class _Channel(http.client.HTTPConnection):
    """An HTTP connection whose socket is a channel of the SSH connection."""

    def __init__(self, remote: Remote) -> None:
        super().__init__("127.0.0.1", PORT)
        self._remote = remote

    def connect(self) -> None:
        channel = self._remote.tunnel(PORT)
        channel.settimeout(TIMEOUT)
        self.sock = channel


class _Client(BaseClient):  # type: ignore[misc]
    """py-consul's HTTP face over that connection; made anew when Consul restarted in between."""

    def __init__(self, remote: Remote, token: str | None) -> None:
        super().__init__()
        self._remote = remote
        self._token = token
        self._http: _Channel | None = None

    def _ask(
        self, method: str, path: str, params: Any, data: str | bytes, headers: Mapping[str, str] | None
    ) -> Response:
        target = urllib.parse.quote(path, safe="/:?&=") + (f"?{urllib.parse.urlencode(params)}" if params else "")
        head = {**(headers or {}), **({"X-Consul-Token": self._token} if self._token else {})}
        http_ = self._http or _Channel(self._remote)
        try:
            http_.request(method, target, body=data or None, headers=head)
            answer = http_.getresponse()
            body = answer.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            self._http = None
            raise HostError(self._remote.host.name, f"Consul's API did not answer ({error or type(error).__name__})",
                            "inv status; on the host: systemctl status consul") from error  # fmt: skip
        self._http = http_
        return Response(answer.status, dict(answer.getheaders()), body)

    # `raw` is py-consul's, for snapshots, which nothing here asks for
    def get(self, callback: Any, path: str, params: Any = None, headers: Any = None, raw: bool = False) -> Any:  # noqa: ARG002
        return callback(self._ask("GET", path, params, b"", headers))

    def put(self, callback: Any, path: str, params: Any = None, data: Any = "", headers: Any = None) -> Any:
        return callback(self._ask("PUT", path, params, data, headers))

    def post(self, callback: Any, path: str, params: Any = None, data: Any = "", headers: Any = None) -> Any:
        return callback(self._ask("POST", path, params, data, headers))

    def delete(self, callback: Any, path: str, params: Any = None, data: Any = "", headers: Any = None) -> Any:
        return callback(self._ask("DELETE", path, params, data, headers))

    def close(self) -> None:
        if self._http:
            self._http.close()


class Consul(BaseConsul):  # type: ignore[misc]
    """py-consul's whole face (`kv`, `health`, `agent`, …) for the agent on `remote`'s loopback."""

    def __init__(self, remote: Remote, token: str | None = None) -> None:
        self._remote = remote
        self._given = token
        super().__init__(token=token)
        self.token = token

    def http_connect(self, *_: Any, **__: Any) -> _Client:
        return _Client(self._remote, self._given)

    def raw(self, path: str) -> Any:
        """GET of a path that py-consul has no (right) method for: decoded JSON. ConsulException unless it is 200."""

        def decoded(response: Response) -> Any:
            if response.code != 200:
                raise ConsulException(f"{path}: {response.code} {response.body.strip()}")
            return json.loads(response.body)

        return self.http.get(decoded, path)

    def register(self, service: Mapping[str, Any]) -> None:
        """Registers a service with this agent, in the API's own words."""

        def accepted(response: Response) -> None:
            if response.code != 200:
                raise ConsulException(f"register {service['Name']}: {response.code} {response.body.strip()}")

        self.http.put(accepted, "/v1/agent/service/register", data=json.dumps(service))


__all__ = ["Consul", "ConsulException"]
