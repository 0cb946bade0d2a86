"""Faults of services, workers and Consul: each done once, timed, undone. A trial raises NexusError when it breaks off."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.lab_cluster import PORT, SERVICE, UNIT, Rig, changed, findings, last_election, too_many
from bench.promised import BACK, MAIN, NOTICED
from bench.watchers import Eyes, Onlooker, seconds_until
from fabfile.core.errors import NexusError

OFF = 120.0  # seconds for which all managers are away
_GRACE = 10.0  # seconds in which a host that is back takes a duplicate away


@dataclass
class Measured:
    """seconds as in outcome.Run; `after`: what was found wrong once the cluster was steady again, a sentence each."""

    seconds: dict[str, float | None]
    faults: list[str] = field(default_factory=list)
    after: Callable[[], list[str]] = field(default=lambda: [])


Trial = Callable[[Rig], Measured]


def victim(rig: Rig) -> str:
    """A host that runs the service and is no manager."""
    for service in rig.eyes().services_health().services:
        for instance in service.instances:
            if service.name == SERVICE and instance.host not in rig.managers:
                return instance.host
    raise NexusError(f"{SERVICE} runs on no host that is a worker only")


def kill_service(rig: Rig) -> Measured:
    return _hurt(rig, "KILL", 40)


def hang_service(rig: Rig) -> Measured:
    return _hurt(rig, "STOP", 90)


def _hurt(rig: Rig, signal: str, limit: float) -> Measured:
    """Back: another process answers on the host, and Consul calls it passing."""
    host = victim(rig)
    eyes = rig.eyes(host)
    pid = rig.on(host, f"systemctl show -P MainPID {UNIT}").strip()
    with Onlooker(rig.cluster, host, UNIT, PORT, pid, limit) as onlooker:
        began = time.monotonic()
        try:
            rig.on(host, f"kill -{signal} {pid}")
            seconds = seconds_until({
                NOTICED: lambda: "gone" in onlooker.said or not eyes.passing(host, SERVICE),
                MAIN: lambda: "answers" in onlooker.said and eyes.passing(host, SERVICE),
            }, began, limit)  # fmt: skip
        finally:
            rig.undo(host, f"systemctl kill -s CONT {UNIT} || true")
    return Measured(seconds)


def worker_off(rig: Rig) -> Measured:
    """Elsewhere: all services as wanted, none on the dead host. Back: it has reported, and runs only what it is to."""
    host, eyes = victim(rig), rig.eyes()
    wanted = {s.name: s.wanted for s in eyes.services_health().services}
    began = again = time.monotonic()
    try:
        rig.power_off(host)
        seconds = seconds_until({NOTICED: lambda: not eyes.alive(host), MAIN: lambda: eyes.settled(host)}, began, 90)
        last = eyes.report(host)[0]
    finally:
        again = time.monotonic()
        rig.power_on(host)
    seconds[BACK] = seconds_until({MAIN: lambda: _clean(eyes, host, last)}, again, 90)[MAIN]

    def after() -> list[str]:
        until = time.monotonic() + _GRACE
        while (told := too_many(rig.pids(), wanted)) and time.monotonic() < until:
            time.sleep(0.5)
        return told

    return Measured(seconds, after=after)


def _clean(eyes: Eyes, host: str, last: int) -> bool:
    """Its first words after the boot name what it has from its disk; what it is to stop is among them until it did."""
    if not eyes.alive(host):
        return False
    index, found = eyes.report(host)
    return index > last and found <= eyes.ordered(host) and eyes.settled()


def kill_consul(rig: Rig) -> Measured:
    """Registered again: the new agent has the service, passing, and so has the cluster."""
    host = victim(rig)
    eyes, own, before = rig.eyes(), Eyes(rig.fleet[host]), rig.pids()
    began = time.monotonic()
    try:  # until it is dead, or the old one might answer
        rig.on(host, 'p=$(systemctl show -P MainPID consul); kill -KILL "$p"; while kill -0 "$p" 2>/dev/null; do :; done')
        back = seconds_until(
            {MAIN: lambda: own.listed(SERVICE) and eyes.alive(host) and eyes.passing(host, SERVICE)}, began, 60
        )
    finally:
        rig.undo(host, "systemctl start --no-block consul")
    return Measured(back, after=lambda: changed({host: before[host]}, rig.pids()))


def managers_off(rig: Rig) -> Measured:
    """Healthy: a raft leader, all hosts alive, a new primary, services as wanted."""
    eyes, before, since = rig.eyes(), rig.pids(), last_election(rig.acts())
    epoch = eyes.lock()[1]
    began = time.monotonic()
    try:
        rig.everywhere(rig.managers, "systemctl stop nexus-orchestrator consul")
        time.sleep(OFF)
        faults = changed(before, rig.pids())
    finally:
        began = time.monotonic()
        rig.everywhere(rig.managers, "systemctl start --no-block consul nexus-orchestrator", undo=True)
    healthy = {MAIN: lambda: eyes.has_leader() and eyes.lock()[1] > epoch and eyes.settled() and eyes.all_alive(rig.cluster)}
    seconds = seconds_until(healthy, began, 180)
    return Measured(seconds, faults, lambda: changed(before, rig.pids()) + findings(rig.acts(), since))
