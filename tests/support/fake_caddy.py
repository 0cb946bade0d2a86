"""The balancer's surroundings: Caddy's admin API on a real unix socket, a stand-in for `caddy validate`, a fake Consul."""

from __future__ import annotations

import json
import os
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from remote_agents.nexus_agents.balancer.agent import Balancer, LastGoodInput
from remote_agents.nexus_agents.balancer.caddy_admin import Caddy
from remote_agents.nexus_agents.balancer.publisher import Publisher
from remote_agents.nexus_agents.shared.consul_api import ConsulError
from tests.support.caddy_reader import SETTINGS, answer_of, route

BOTH = "10.0.0.1:8080,10.0.0.2:8080"
BAD = "/%zz"  # a check_path that our schema accepts and Caddy refuses
VALIDATE = f"#!/bin/sh\nif grep -q {BAD}; then echo 'Error: invalid URL escape' >&2; exit 1; fi\n"


class FakeAdminApi(socketserver.ThreadingUnixStreamServer):
    """Accepts any configuration without a text of `refuses`; at the start it agrees with the `caddy validate` stand-in."""

    daemon_threads = True

    def __init__(self, path: str) -> None:
        self.running: dict[str, Any] = {}
        self.loads: list[int] = []
        self.refuses = [BAD]
        super().__init__(path, _Answer)


class _Answer(BaseHTTPRequestHandler):
    server: FakeAdminApi

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._reply(200 if self.path == f"/id/{self.server.running.get('admin', {}).get('@id')}" else 404, {})

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        assert (self.path, self.headers["Host"]) == ("/load", "")
        refused = any(part in text for part in self.server.refuses)
        self.server.loads.append(400 if refused else 200)
        if not refused:
            self.server.running = json.loads(text)
        self._reply(self.server.loads[-1], {"error": "caddy's reason"} if refused else {})

    def _reply(self, code: int, body: dict[str, str]) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())


class FakeConsul:
    """A Consul whose answers the test writes."""

    def __init__(self) -> None:
        self.routes: Any = {"routes": [route()]}
        self.health: dict[str, Any] = {"web": [entry("10.0.0.1"), entry("10.0.0.2")]}
        self.failing: str | None = None  # a request fails when its path contains this
        self.requests: list[str] = []

    def read(self, key: str, consistent: bool = False) -> tuple[int, Any]:
        return self._answer(f"{key}{'?consistent' if consistent else ''}", self.routes)

    def get(self, path: str) -> tuple[int, Any]:
        return self._answer(path, self.health.get(path.rpartition("/")[2].partition("?")[0], []))

    def _answer(self, path: str, value: Any) -> tuple[int, Any]:
        self.requests.append(path)
        if self.failing is not None and self.failing in path:
            raise ConsulError(f"{path}: 500 No cluster leader", 500)
        return 7, value


def entry(host: str, status: str = "passing", check: str = "service:web", port: int = 8080) -> dict[str, Any]:
    checks = [{"CheckID": "serfHealth", "Status": "passing"}, {"CheckID": check, "Status": status}]
    return {"Node": {"Address": "10.9.9.9"}, "Service": {"Address": host, "Port": port}, "Checks": checks}


class World:
    """A balancer with its files in `folder`; `time` is its clock, in seconds."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.socket = folder, str(folder / "admin.sock")
        self.consul, self.time = FakeConsul(), 1000.0
        program = folder / "caddy"
        program.write_text(VALIDATE)
        program.chmod(0o755)
        self.restart_caddy()
        self.restart()

    def restart(self) -> None:
        publisher = Publisher(Caddy(self.socket, str(self.folder / "caddy")), SETTINGS)
        self.balancer = Balancer(self.consul, publisher, LastGoodInput(self.folder))  # type: ignore[arg-type]

    def restart_caddy(self) -> None:
        self.admin = FakeAdminApi(self.socket)
        threading.Thread(target=self.admin.serve_forever, args=(0.01,), daemon=True).start()

    def stop_caddy(self) -> None:
        self.close()
        os.unlink(self.socket)

    def close(self) -> None:
        self.admin.shutdown()
        self.admin.server_close()

    def turn(self, after: float = 1.0, changed: bool = True) -> None:
        self.time += after
        self.balancer.turn(changed)

    def answer(self, domain: str = "web.test") -> str:
        """Where Caddy sends a request now; see `answer_of`."""
        return answer_of(self.admin.running, domain)
