"""CPU time that systemd does not count for an instance: a container is no child of its unit, which has Docker's client
alone; and where cgroup v1 has `cpu` and `cpuacct` apart, as on some machines for containers, systemd counts nothing.

A thread of its own, for Docker may take its time; the worker never waits for it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..shared.clock import now
from ..shared.kv_schema import instance_id, unit_name
from .cpu_usage import CpuUsage

PERIOD = 1.0  # seconds between two looks
DOCKER = "/run/docker.sock"
_PATIENCE = 3.0  # seconds for an answer of Docker
_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_UNIT = re.compile(rf"/({re.escape(unit_name('*')).replace(re.escape('*'), '[^/]+')})$", re.MULTILINE)


class CpuMeter(threading.Thread):
    """Set what is `wanted`; read `percents`: service -> percent of one core, of those that could be measured."""

    def __init__(self) -> None:
        super().__init__(name="meter", daemon=True)
        self._wanted: Mapping[str, bool] = {}
        self._totals = CpuTotals()
        self.percents: Mapping[str, float] = {}

    def want(self, specs: Mapping[str, Mapping[str, Any]], counted: Mapping[str, int]) -> None:
        """From now on those that are scaled by their CPU and that systemd cannot measure. `counted`: what it did."""
        self._wanted = {
            name: spec["image"] is not None
            for name, spec in specs.items()
            if spec["replicas"]["cpu"] is not None and (spec["image"] is not None or counted.get(name, 0) < 0)
        }

    def run(self) -> None:
        cpu = CpuUsage()
        while True:
            self.percents = cpu.percents(self._used(self._wanted), now())
            time.sleep(PERIOD)

    def _used(self, wanted: Mapping[str, bool]) -> dict[str, int]:
        """Service -> CPU time in ns, -1 where nobody knows. `wanted`: whether it is a container."""
        units = {} if all(wanted.values()) else self._totals.after(processes())
        return {
            name: container(instance_id(name)) if boxed else units.get(unit_name(name), -1)
            for name, boxed in wanted.items()
        }


class Process(NamedTuple):
    """`own`: ns of its own; `ended`: of its children that have ended and that it has waited for."""

    unit: str
    own: int
    ended: int


Processes = Mapping[tuple[int, int], Process]  # by pid and start, for a pid alone may have been given away again


class CpuTotals:
    """What units have used in all. Pure, between two looks: a process that has ended takes its time with it, unless its
    parent has waited for it; then it stands there a second time, and only what was not seen of it counts."""

    def __init__(self) -> None:
        self._before: Processes = {}
        self._total: dict[str, int] = {}

    def after(self, found: Processes) -> dict[str, int]:
        """Unit -> ns, of those that have processes. Never less than at the look before while one of them lives."""
        new: dict[str, int] = {}
        ended: dict[str, int] = {}
        for key, process in found.items():
            before = self._before.get(key, Process(process.unit, 0, 0))
            new[process.unit] = new.get(process.unit, 0) + process.own - before.own
            ended[process.unit] = ended.get(process.unit, 0) + process.ended - before.ended
        for key, process in self._before.items():
            if key not in found and process.unit in ended:
                ended[process.unit] -= process.own + process.ended
        self._total = {u: self._total.get(u, 0) + used + max(0, ended[u]) for u, used in new.items()}
        self._before = found
        return dict(self._total)


def processes(root: Path = Path("/proc")) -> Processes:
    """Those of our units. proc(5): utime to cstime and starttime of `stat`, in clock ticks; the unit ends the path in
    `cgroup`, v1 and v2 alike."""
    found = {}
    for folder in root.iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError, ValueError):  # it has ended, or ends
                if unit := _UNIT.search((folder / "cgroup").read_text()):
                    fields = (folder / "stat").read_text().rpartition(")")[2].split()
                    user, system, of_children, for_children = (int(ticks) * _TICK for ticks in fields[11:15])
                    key = int(folder.name), int(fields[19])
                    found[key] = Process(unit[1], user + system, of_children + for_children)
    return found


def container(name: str, address: str = DOCKER) -> int:
    """ns that the container has used, by the engine's word (Docker's API 1.41 and newer, Docker 20.10); -1: no answer."""
    link = _Local(address)
    try:
        link.request("GET", f"/containers/{name}/stats?stream=false&one-shot=true")
        said = json.loads(link.getresponse().read())
        return int(said["cpu_stats"]["cpu_usage"]["total_usage"])
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        return -1
    finally:
        link.close()


class _Local(http.client.HTTPConnection):
    """HTTP over a socket of this host."""

    def __init__(self, address: str) -> None:
        super().__init__("localhost", timeout=_PATIENCE)
        self._address = address

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._address)
