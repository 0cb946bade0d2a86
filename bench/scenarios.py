"""Fault scenarios of services, workers and Consul: each injects a fault, measures the recovery and undoes the fault."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.cluster_watcher import ClusterWatcher, ProcessWatcher, seconds_until
from bench.expectations import BACK, MAIN, NOTICED
from bench.lab_cluster import (
    PORT,
    SERVICE,
    UNIT,
    LabCluster,
    duplicates,
    history_faults,
    last_election,
    process_changes,
)
from fabfile.core.errors import NexusError

MANAGERS_OFF = 120.0  # seconds for which all managers are stopped
_GRACE = 10.0  # seconds in which a host that is back removes a duplicate


@dataclass
class Measurement:
    """seconds: as in failover_results.Run. late_faults: called once the cluster is steady again; a sentence each."""

    seconds: dict[str, float | None]
    faults: list[str] = field(default_factory=list)
    late_faults: Callable[[], list[str]] = field(default=lambda: [])


Scenario = Callable[[LabCluster], Measurement]  # NexusError: it broke off


def worker_of_service(lab: LabCluster) -> str:
    """A host that runs the service and is no manager."""
    for service in lab.watcher().services_health().services:
        for instance in service.instances:
            if service.name == SERVICE and instance.host not in lab.managers:
                return instance.host
    raise NexusError(f"{SERVICE} runs on no host that is a worker only")


def kill_service(lab: LabCluster) -> Measurement:
    return _signal_service(lab, "KILL", 40)


def hang_service(lab: LabCluster) -> Measurement:
    return _signal_service(lab, "STOP", 90)


def _signal_service(lab: LabCluster, signal: str, limit: float) -> Measurement:
    """Recovered: another process answers on the host, and Consul calls it passing."""
    host = worker_of_service(lab)
    watcher = lab.watcher(host)
    pid = lab.run(host, f"systemctl show -P MainPID {UNIT}").strip()
    with ProcessWatcher(lab.cluster, host, UNIT, PORT, pid, limit) as process:
        began = time.monotonic()
        try:
            lab.run(host, f"kill -{signal} {pid}")
            seconds = seconds_until({
                NOTICED: lambda: process.gone or not watcher.passing(host, SERVICE),
                MAIN: lambda: process.replaced and watcher.passing(host, SERVICE),
            }, began, limit)  # fmt: skip
        finally:
            lab.undo(host, f"systemctl kill -s CONT {UNIT} || true")
    return Measurement(seconds)


def worker_off(lab: LabCluster) -> Measurement:
    """Recovered: all services as wanted, none on the dead host. Back: the host reports, and runs only its orders."""
    host, watcher = worker_of_service(lab), lab.watcher()
    wanted = {s.name: s.wanted for s in watcher.services_health().services}
    began = power_on = time.monotonic()
    try:
        lab.power_off(host)
        recovered = {NOTICED: lambda: not watcher.alive(host), MAIN: lambda: watcher.settled(host)}
        seconds = seconds_until(recovered, began, 90)
        last_report = watcher.report(host)[0]
    finally:
        power_on = time.monotonic()
        lab.power_on(host)
    seconds[BACK] = seconds_until({MAIN: lambda: _has_no_duplicate(watcher, host, last_report)}, power_on, 90)[MAIN]

    def late_faults() -> list[str]:
        deadline = time.monotonic() + _GRACE
        while (faults := duplicates(lab.pids(), wanted)) and time.monotonic() < deadline:
            time.sleep(0.5)
        return faults

    return Measurement(seconds, late_faults=late_faults)


def _has_no_duplicate(watcher: ClusterWatcher, host: str, last_report: int) -> bool:
    """The first report after the boot lists what the host started from the orders on its disk. A service that must stop
    is in the report until it has stopped."""
    if not watcher.alive(host):
        return False
    index, services = watcher.report(host)
    return index > last_report and services <= watcher.ordered(host) and watcher.settled()


def kill_consul(lab: LabCluster) -> Measurement:
    """Recovered: the new agent has the service, passing, and the cluster sees it."""
    host = worker_of_service(lab)
    watcher, local, before = lab.watcher(), ClusterWatcher(lab.fleet[host]), lab.pids()
    began = time.monotonic()
    try:  # wait for its death: the old agent might still answer
        lab.run(host, 'p=$(systemctl show -P MainPID consul); kill -KILL "$p"; '
                      'while kill -0 "$p" 2>/dev/null; do :; done')  # fmt: skip
        registered = {
            MAIN: lambda: local.passing_locally(SERVICE) and watcher.alive(host) and watcher.passing(host, SERVICE)
        }
        seconds = seconds_until(registered, began, 60)
    finally:
        lab.undo(host, "systemctl start --no-block consul")
    return Measurement(seconds, late_faults=lambda: process_changes({host: before[host]}, lab.pids()))


def managers_off(lab: LabCluster) -> Measurement:
    """Recovered: a raft leader, all hosts alive, a new primary, services as wanted."""
    watcher, before, since = lab.watcher(), lab.pids(), last_election(lab.acts())
    epoch = watcher.lock()[1]
    began = time.monotonic()
    try:
        lab.run_on_all(lab.managers, "systemctl stop nexus-orchestrator consul")
        time.sleep(MANAGERS_OFF)
        faults = process_changes(before, lab.pids())
    finally:
        began = time.monotonic()
        lab.run_on_all(lab.managers, "systemctl start --no-block consul nexus-orchestrator", undo=True)
    healthy = {
        MAIN: lambda: (
            watcher.has_leader() and watcher.lock()[1] > epoch and watcher.settled() and watcher.all_alive(lab.cluster)
        )
    }
    seconds = seconds_until(healthy, began, 180)
    return Measurement(
        seconds, faults, lambda: process_changes(before, lab.pids()) + history_faults(lab.acts(), since)
    )
