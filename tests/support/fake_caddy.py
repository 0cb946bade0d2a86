"""A world for the balancer: an admin API on a real unix socket, a stand-in for `caddy validate`, a Consul that is told."""

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
from tests.support.caddy_reader import SETTINGS, route, service_of

BOTH = "10.0.0.1:8080,10.0.0.2:8080"
BAD = "/%zz"  # a check_path that passes our door, and that Caddy refuses
VALIDATE = f"#!/bin/sh\nif grep -q {BAD}; then echo 'Error: invalid URL escape' >&2; exit 1; fi\n"


class Admin(socketserver.ThreadingUnixStreamServer):
    """Takes all but what holds one of `refuses`, as `caddy validate` of these tests does."""

    daemon_threads = True

    def __init__(self, path: str) -> None:
        self.running: dict[str, Any] = {}
        self.loads: list[int] = []
        self.refuses = [BAD]
        super().__init__(path, _Answer)


class _Answer(BaseHTTPRequestHandler):
    server: Admin

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._say(200 if self.path == f"/id/{self.server.running.get('admin', {}).get('@id')}" else 404, {})

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        assert (self.path, self.headers["Host"]) == ("/load", "")
        refused = any(word in text for word in self.server.refuses)
        self.server.loads.append(400 if refused else 200)
        if not refused:
            self.server.running = json.loads(text)
        self._say(self.server.loads[-1], {"error": "caddy's reason"} if refused else {})

    def _say(self, code: int, body: dict[str, str]) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())


class Told:
    """A Consul whose answers the test writes."""

    def __init__(self) -> None:
        self.routes: Any = {"routes": [route()]}
        self.health: dict[str, Any] = {"web": [entry("10.0.0.1"), entry("10.0.0.2")]}
        self.sick: str | None = None  # what paths that fail have in them
        self.asked: list[str] = []

    def read(self, key: str, consistent: bool = False) -> tuple[int, Any]:
        return self._answer(f"{key}{'?consistent' if consistent else ''}", self.routes)

    def get(self, path: str) -> tuple[int, Any]:
        return self._answer(path, self.health.get(path.rpartition("/")[2].partition("?")[0], []))

    def _answer(self, path: str, value: Any) -> tuple[int, Any]:
        self.asked.append(path)
        if self.sick is not None and self.sick in path:
            raise ConsulError(f"{path}: 500 No cluster leader", 500)
        return 7, value


def entry(host: str, status: str = "passing", check: str = "service:web", port: int = 8080) -> dict[str, Any]:
    checks = [{"CheckID": "serfHealth", "Status": "passing"}, {"CheckID": check, "Status": status}]
    return {"Node": {"Address": "10.9.9.9"}, "Service": {"Address": host, "Port": port}, "Checks": checks}


class World:
    def __init__(self, folder: Path) -> None:
        self.folder, self.socket = folder, str(folder / "admin.sock")
        self.consul, self.time = Told(), 1000.0
        program = folder / "caddy"
        program.write_text(VALIDATE)
        program.chmod(0o755)
        self.restart_caddy()
        self.restart()

    def restart(self) -> None:
        publisher = Publisher(Caddy(self.socket, str(self.folder / "caddy")), SETTINGS)
        self.balancer = Balancer(self.consul, publisher, LastGoodInput(self.folder))  # type: ignore[arg-type]

    def restart_caddy(self) -> None:
        self.admin = Admin(self.socket)
        threading.Thread(target=self.admin.serve_forever, args=(0.01,), daemon=True).start()

    def stop_caddy(self) -> None:
        self.end()
        os.unlink(self.socket)

    def end(self) -> None:
        self.admin.shutdown()
        self.admin.server_close()

    def turn(self, after: float = 1.0, changed: bool = True) -> None:
        self.time += after
        self.balancer.turn(changed)

    def goes(self, domain: str = "web.test") -> str:
        return service_of(self.admin.running, domain)
