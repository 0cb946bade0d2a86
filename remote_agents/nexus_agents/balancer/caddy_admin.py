"""Caddy's admin API on a unix socket, and `caddy validate`."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import tempfile
from collections.abc import Callable

from ..shared.unix_http import UnixConnection
from .caddy_config import encode
from .caddy_handlers import Json

BINARY = "/usr/local/bin/caddy"
TIMEOUT = 10.0  # seconds, for each request and each validation


class ConfigRefused(Exception):
    """Caddy's reason for refusing a configuration; it keeps running the one before."""


class CaddyUnreachable(Exception):
    """No answer at the socket, or no HTTP; or `caddy validate` cannot be run."""


class Caddy:
    """`admin`: path of the admin API's socket; `binary`: for `caddy validate`."""

    def __init__(self, admin: str, binary: str = BINARY) -> None:
        self._admin = admin
        self._binary = binary

    def runs(self, config_id: str) -> bool:
        """Whether Caddy runs the configuration with this id. CaddyUnreachable."""
        return self._request("GET", f"/id/{config_id}")[0] == 200

    def load(self, config: bytes) -> None:
        """Caddy checks it and reloads gracefully. ConfigRefused; CaddyUnreachable: it is unknown whether it did."""
        code, body = self._request("POST", "/load", config)
        if code != 200:
            raise ConfigRefused(_reason(body) or f"HTTP {code}")

    def validation_error(self, build: Callable[[str], Json]) -> str | None:
        """Why `caddy validate` refuses `build(folder)`; None when it accepts it. It opens no port. CaddyUnreachable."""
        try:
            with tempfile.TemporaryDirectory(prefix="nexus-balancer-") as folder:
                home = {"HOME": folder, "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder}
                done = subprocess.run(
                    [self._binary, "validate", "--config", "-"], input=encode(build(folder)), env={**os.environ, **home},
                    capture_output=True, timeout=TIMEOUT, check=False,
                )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CaddyUnreachable(f"{self._binary} validate: {error}") from error
        if done.returncode < 0:
            raise CaddyUnreachable(f"{self._binary} validate: ended by signal {-done.returncode}")
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        return (lines[-1].removeprefix("Error: ") if lines else "no reason given") if done.returncode else None

    def _request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """(HTTP status, body)."""
        connection = UnixConnection(self._admin, TIMEOUT)
        try:
            # Caddy expects an empty Host on a unix socket, and refuses any other.
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in (("Host", ""), ("Content-Type", "application/json"), ("Content-Length", str(len(body)))):
                connection.putheader(name, value)
            connection.endheaders(body or None)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise CaddyUnreachable(f"{self._admin}: {error or type(error).__name__}") from error
        finally:
            connection.close()


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip()[:500]
