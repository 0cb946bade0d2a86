"""CPU time that systemd does not measure: of containers from Docker, of processes from the kernel."""

from __future__ import annotations

import http.server
import json
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remote_agents.nexus_agents.worker.cpu_meter import CpuMeter, CpuTotals, Process, container_cpu_time, unit_processes

TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
UNIT = "nexus-svc-hello.service"


def spec(cpu: int | None, image: str | None = None) -> dict[str, Any]:
    return {"image": image, "replicas": {"all": False, "min": 1, "max": 3, "cpu": cpu}}


def process(root: Path, pid: int, cgroup: str, times: str, name: str = "(sh)") -> None:
    folder = root / str(pid)
    folder.mkdir()
    (folder / "cgroup").write_text(cgroup)
    (folder / "stat").write_text(f"{pid} {name} S 1 1 1 0 -1 4194560 1 0 0 0 {times} 20 0 1 0 100 0 0\n")


@pytest.mark.parametrize("cgroup", [
    f"0::/system.slice/{UNIT}\n",
    f"3:cpuset:/\n2:cpuacct:/\n1:name=systemd:/system.slice/{UNIT}\n0::/system.slice/{UNIT}\n",
])  # fmt: skip
def test_a_units_processes_are_found(tmp_path: Path, cgroup: str) -> None:
    """By cgroup, with their own time and that of their ended children; a name with blanks and brackets is no field."""
    process(tmp_path, 10, cgroup, "100 20 3 1")
    process(tmp_path, 11, cgroup, "7 0 0 0", "(a) b (c)")
    process(tmp_path, 12, "0::/system.slice/consul.service\n", "5000 0 0 0")
    (tmp_path / "13").mkdir()  # a process that has just ended
    process(tmp_path, 14, cgroup, "")
    (tmp_path / "14" / "stat").write_text("")
    (tmp_path / "uptime").write_text("1 1\n")
    assert unit_processes(tmp_path) == {
        (10, 100): Process(UNIT, 120 * TICK, 4 * TICK), (11, 100): Process(UNIT, 7 * TICK, 0)}  # fmt: skip


def test_time_that_ends_with_a_process_is_kept() -> None:
    """Waited for by its parent or not, seen before or not: each nanosecond counts once, and the total never falls."""
    totals = CpuTotals()
    parent, child = (1, 10), (2, 20)
    assert totals.update({parent: Process("u", 100, 0)}) == {"u": 100}
    assert totals.update({parent: Process("u", 100, 0), child: Process("u", 50, 0)}) == {"u": 150}
    assert totals.update({parent: Process("u", 101, 60)}) == {"u": 161}  # it used 10 more, and was waited for
    assert totals.update({parent: Process("u", 101, 60), (3, 30): Process("u", 40, 0)}) == {"u": 201}
    assert totals.update({parent: Process("u", 102, 60)}) == {"u": 202}  # its parent did not wait for it
    assert totals.update({parent: Process("u", 102, 90)}) == {"u": 232}  # a child between two updates
    assert totals.update({(2, 99): Process("u", 5, 0)}) == {"u": 237}  # the same pid, another process
    assert totals.update({}) == {}
    assert totals.update({parent: Process("u", 3, 0), (7, 7): Process("v", 1, 0)}) == {"u": 3, "v": 1}


def test_the_kernels_own_numbers_are_read(tmp_path: Path) -> None:
    """A real process that uses half a second of CPU time, from the kernel's own `stat`."""
    code = "import time; exec('while time.process_time() < 0.5: pass'); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as busy:
        try:
            assert busy.stdout
            busy.stdout.readline()
            process(tmp_path, busy.pid, f"0::/system.slice/{UNIT}\n", "")
            (tmp_path / str(busy.pid) / "stat").unlink()
            (tmp_path / str(busy.pid) / "stat").symlink_to(f"/proc/{busy.pid}/stat")
            [found] = unit_processes(tmp_path).values()
            assert 0.4e9 < found.own < 0.9e9
        finally:
            busy.kill()


class Engine(http.server.BaseHTTPRequestHandler):
    """Answers as Docker's API does for one container."""

    def address_string(self) -> str:
        return "local"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        there = self.path == "/containers/nexus-svc-boxed/stats?stream=false&one-shot=true"
        body = {"cpu_stats": {"cpu_usage": {"total_usage": 1234}}} if there else {"message": "No such container"}
        self.send_response(200 if there else 404)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[str]:
    address = str(tmp_path / "docker.sock")
    with socketserver.UnixStreamServer(address, Engine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield address
        server.shutdown()


def test_a_container_is_measured_by_docker(engine: str) -> None:
    """Docker's count; -1 for a missing container, and where Docker does not answer."""
    assert container_cpu_time("nexus-svc-boxed", engine) == 1234
    assert container_cpu_time("nexus-svc-other", engine) == -1
    assert container_cpu_time("nexus-svc-boxed", engine + ".gone") == -1


def test_only_autoscaled_services_without_a_systemd_count_are_measured() -> None:
    """Images always, as systemd sees only Docker's client; commands only where systemd does not measure."""
    meter = CpuMeter()
    specs = {"a": spec(50), "b": spec(50), "boxed": spec(50, "x:1"), "c": spec(None), "d": spec(None, "y:1")}
    specs["new"] = spec(50)  # not in systemd's answer yet
    meter.set_targets(specs, {"a": 7, "b": -1, "boxed": 7, "c": -1, "d": -1})
    assert meter._targets == {"b": False, "boxed": True}
