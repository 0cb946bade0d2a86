"""Fault scenarios of the primary.

Each injects a fault, measures the time until another manager acts, undoes the fault and checks the recorded history.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.cluster_watcher import Lock, seconds_until
from bench.expectations import MAIN
from bench.lab_cluster import LabCluster, history_faults, last_election
from bench.scenarios import Measurement, Scenario
from fabfile.core.errors import NexusError
from fabfile.edge.consul.overview import consul_status
from fabfile.edge.consul.service_operations import managers, promote
from fabfile.lab.compose import NODES

LIMIT = 60.0  # seconds until "never"
QUIET_TIME = 5.0  # seconds after the undo in which the old primary, awake again, must do nothing
AFTER_HANDOVER = 11.0  # seconds; a primary that handed over is no candidate for 10 s, and must be one again
_UNIT = "nexus-orchestrator"
Action = Callable[[LabCluster, str], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """hold: minimum seconds from the fault to its undo. If above 0, the old primary must do nothing afterwards."""

    inject: Action
    undo: Action
    hold: float = 0.0


def _run(script: str) -> Action:
    def action(lab: LabCluster, host: str) -> None:
        lab.run(host, script)

    return action


def _undo(script: str) -> Action:
    return lambda lab, host: lab.undo(host, script)


def _partition(lab: LabCluster, host: str) -> None:
    """Drops all packets between this host and the other managers. SSH comes from another address."""
    peers = ", ".join(n.cluster for n in NODES if n.name in lab.managers and n.name != host)
    lab.run(host, f"""nft -f - <<'END'
table inet cut {{
  chain i {{ type filter hook input priority -200; ip saddr {{ {peers} }} drop; }}
  chain o {{ type filter hook output priority -200; ip daddr {{ {peers} }} drop; }}
}}
END""")


def _freeze(seconds: float) -> Fault:
    return Fault(_run(f"systemctl kill -s STOP {_UNIT}"), _undo(f"systemctl kill -s CONT {_UNIT} || true"), seconds)


FAULTS: Mapping[str, Fault] = {
    # --no-block: the standby takes over before the process has ended
    "stop": Fault(
        _run(f"systemctl stop --no-block {_UNIT}"), _undo(f"systemctl stop {_UNIT}; systemctl start {_UNIT}")
    ),
    "kill": Fault(_run(f"systemctl kill -s KILL {_UNIT}"), _undo(f"systemctl start {_UNIT}")),
    "freeze": _freeze(30),
    "wake": _freeze(12),
    "primary-off": Fault(lambda lab, host: lab.power_off(host), lambda lab, host: lab.power_on(host)),
    "cut-off": Fault(_partition, _undo("nft delete table inet cut 2>/dev/null || true"), 15),
}


def move_primary(lab: LabCluster, to_leader: bool) -> None:
    """Hands the primary over, if needed, so that its host is the raft leader, or is not."""
    status = consul_status(managers(lab.fleet))
    if status.leader is None:
        raise NexusError("there is no raft leader")
    candidates = [status.leader] if to_leader else [name for name in lab.managers if name != status.leader]
    if status.services_health.primary not in candidates:
        promote(lab.fleet, candidates[0])
        time.sleep(AFTER_HANDOVER)


def takeover(fault: Fault) -> Scenario:
    def scenario(lab: LabCluster) -> Measurement:
        host, epoch = lab.watcher().lock()
        since, watcher = last_election(lab.acts()), lab.watcher(host)
        newer_locks: list[Lock] = []

        def standby_acts() -> bool:
            """One transaction takes the lock and does the first act of the epoch."""
            if (lock := watcher.lock())[1] > epoch:
                newer_locks.append(lock)
            return bool(newer_locks)

        began = time.monotonic()
        try:
            fault.inject(lab, host)
            seconds = seconds_until({MAIN: standby_acts}, began, LIMIT)
            time.sleep(max(0.0, fault.hold - (time.monotonic() - began)))
        finally:
            fault.undo(lab, host)
        time.sleep(QUIET_TIME if fault.hold else 0)
        return Measurement(seconds, late_faults=lambda: _late_faults(lab, since, newer_locks, bool(fault.hold)))

    return scenario


def _late_faults(lab: LabCluster, since: int, newer_locks: list[Lock], must_keep: bool) -> list[str]:
    faults = history_faults(lab.acts(), since)
    if must_keep and newer_locks and (lock := lab.watcher().lock()) != newer_locks[0]:
        faults.append(f"after the undo the primary changed: {_format(newer_locks[0])}, then {_format(lock)}")
    return faults


def _format(lock: Lock) -> str:
    return f"{lock[0] or 'nobody'} (epoch {lock[1]})"


def handover(lab: LabCluster) -> Measurement:
    """`inv promote`, watched through the third manager."""
    host, epoch = lab.watcher().lock()
    to = next(name for name in lab.managers if name != host)
    since, watcher = last_election(lab.acts()), lab.watcher(host, to)
    began = time.monotonic()
    try:
        watcher.promote(to)
        seconds = seconds_until({MAIN: lambda: (lock := watcher.lock())[0] == to and lock[1] > epoch}, began, LIMIT)
    finally:
        if watcher.lock()[0] != to:  # otherwise the new primary deletes the request itself
            watcher.forget_promotion()
    return Measurement(seconds, late_faults=lambda: history_faults(lab.acts(), since))
