"""CPU time of the instances that systemd cannot measure, from Docker and from /proc.

A container is no child of its unit, which contains Docker's client alone. And where cgroup v1 has `cpu` and `cpuacct`
apart, as on some container hosts, systemd measures nothing. Docker may be slow, so the meter is a thread of its own,
and the worker never waits for it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..shared.clock import now
from ..shared.kv_schema import instance_id, unit_name
from ..shared.unix_http import UnixConnection
from .cpu_usage import CpuUsage

INTERVAL = 1.0  # seconds between two measurements
DOCKER_SOCKET = "/run/docker.sock"
DOCKER_TIMEOUT = 3.0  # seconds
_NS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_UNIT = re.compile(rf"/({re.escape(unit_name('*')).replace(re.escape('*'), '[^/]+')})$", re.MULTILINE)


class CpuMeter(threading.Thread):
    """Call `set_targets`; read `percents`: service -> percent of one core, where it could be measured."""

    def __init__(self) -> None:
        super().__init__(name="meter", daemon=True)
        self._targets: Mapping[str, bool] = {}  # service -> whether it is a container
        self._totals = CpuTotals()
        self.percents: Mapping[str, float] = {}

    def set_targets(self, specs: Mapping[str, Mapping[str, Any]], cpu_times: Mapping[str, int]) -> None:
        """Measures the services that scale by CPU and that systemd cannot measure. `cpu_times`: systemd's, -1: none."""
        self._targets = {
            name: spec["image"] is not None
            for name, spec in specs.items()
            if spec["replicas"]["cpu"] is not None and (spec["image"] is not None or cpu_times.get(name, 0) < 0)
        }

    def run(self) -> None:
        usage = CpuUsage()
        while True:
            self.percents = usage.percents(self._measure(self._targets), now())
            time.sleep(INTERVAL)

    def _measure(self, targets: Mapping[str, bool]) -> dict[str, int]:
        """Service -> CPU time in ns, -1 where it is unknown."""
        units = {} if all(targets.values()) else self._totals.update(unit_processes())
        return {
            name: container_cpu_time(instance_id(name)) if is_container else units.get(unit_name(name), -1)
            for name, is_container in targets.items()
        }


class Process(NamedTuple):
    """CPU time in ns. `children`: of its ended children that it has waited for."""

    unit: str
    own: int
    children: int


Processes = Mapping[tuple[int, int], Process]  # by pid and start time, as a pid alone may be reused


class CpuTotals:
    """Total CPU time of units. Pure.

    A process that ends takes its time with it, unless its parent has waited for it. Then the parent's `children`
    repeats time that was counted before, and only the rest is new.
    """

    def __init__(self) -> None:
        self._before: Processes = {}
        self._totals: dict[str, int] = {}

    def update(self, processes: Processes) -> dict[str, int]:
        """Unit -> ns, of the units that have processes. A unit's total never falls while one of its processes lives."""
        new: dict[str, int] = {}
        children: dict[str, int] = {}
        for key, process in processes.items():
            before = self._before.get(key, Process(process.unit, 0, 0))
            new[process.unit] = new.get(process.unit, 0) + process.own - before.own
            children[process.unit] = children.get(process.unit, 0) + process.children - before.children
        for key, process in self._before.items():
            if key not in processes and process.unit in children:
                children[process.unit] -= process.own + process.children
        self._totals = {u: self._totals.get(u, 0) + own + max(0, children[u]) for u, own in new.items()}
        self._before = processes
        return dict(self._totals)


def unit_processes(root: Path = Path("/proc")) -> Processes:
    """The processes of our units. From proc(5): utime to cstime and starttime in `stat`, in clock ticks; the path in
    `cgroup` ends with the unit's name, in v1 and v2 alike."""
    processes = {}
    for folder in root.iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError, ValueError):  # the process has just ended
                if unit := _UNIT.search((folder / "cgroup").read_text()):
                    fields = (folder / "stat").read_text().rpartition(")")[2].split()
                    user, system, children_user, children_system = (int(ticks) * _NS_PER_TICK for ticks in fields[11:15])
                    key = int(folder.name), int(fields[19])
                    processes[key] = Process(unit[1], user + system, children_user + children_system)
    return processes


def container_cpu_time(name: str, socket: str = DOCKER_SOCKET) -> int:
    """The container's CPU time in ns, from Docker (API 1.41 and newer, Docker 20.10); -1: no answer."""
    connection = UnixConnection(socket, DOCKER_TIMEOUT)
    try:
        connection.request("GET", f"/containers/{name}/stats?stream=false&one-shot=true")
        stats = json.loads(connection.getresponse().read())
        return int(stats["cpu_stats"]["cpu_usage"]["total_usage"])
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        return -1
    finally:
        connection.close()
