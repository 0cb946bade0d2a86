"""Caddy's ear and mouth: its admin API on a unix socket, and `caddy validate`."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Callable

from .caddy_config import encoded
from .caddy_handlers import Json

BINARY = "/usr/local/bin/caddy"
TIMEOUT = 10.0  # seconds, for each question


class Refused(Exception):
    """Caddy's reason for not taking a configuration; it goes on with the one before."""


class Unreachable(Exception):
    """Nobody answers at the socket, or nothing that makes sense."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("caddy", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Caddy:
    def __init__(self, admin: str, binary: str = BINARY) -> None:
        self.admin = admin
        self._binary = binary

    def holds(self, mark: str) -> bool:
        """Whether Caddy runs the configuration with this id. Unreachable."""
        return self._ask("GET", f"/id/{mark}")[0] == 200

    def load(self, body: bytes) -> None:
        """Caddy checks it and swaps gracefully. Refused; Unreachable, when it is not known whether it did."""
        code, answer = self._ask("POST", "/load", body)
        if code != 200:
            raise Refused(_reason(answer) or f"HTTP {code}")

    def rejection(self, make: Callable[[str], Json]) -> str | None:
        """Why `caddy validate` refuses `make(folder)`; None when it takes it. It listens nowhere. Unreachable."""
        try:
            with tempfile.TemporaryDirectory(prefix="nexus-balancer-") as folder:
                home = {"HOME": folder, "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder}
                done = subprocess.run(
                    [self._binary, "validate", "--config", "-"], input=encoded(make(folder)), env={**os.environ, **home},
                    capture_output=True, timeout=TIMEOUT, check=False,
                )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unreachable(f"{self._binary} validate: {error}") from error
        if done.returncode < 0:
            raise Unreachable(f"{self._binary} validate: ended by signal {-done.returncode}")
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        return (lines[-1].removeprefix("Error: ") if lines else "no reason given") if done.returncode else None

    def _ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        connection = _Connection(self.admin)
        try:
            # An empty Host is what Caddy expects on a unix socket; any other is refused.
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in (("Host", ""), ("Content-Type", "application/json"), ("Content-Length", str(len(body)))):
                connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{self.admin}: {error or type(error).__name__}") from error
        finally:
            connection.close()


def _reason(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError):
        return answer.decode(errors="replace").strip()[:500]
