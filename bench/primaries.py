"""Faults of the primary: each done once, timed until another acts, undone; then the recorded history is checked."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.lab_cluster import Rig, findings, last_election
from bench.promised import MAIN
from bench.trials import Measured, Trial
from bench.watchers import Lock, seconds_until
from fabfile.core.errors import NexusError
from fabfile.edge.consul.overview import ask
from fabfile.edge.consul.service_operations import managers, promote
from fabfile.lab.compose import NODES

LIMIT = 60.0  # seconds until "never"
WATCHED = 5.0  # seconds after the undo in which one that wakes must do nothing
KEPT_OUT = 11.0  # seconds; one that was made to hand over stays out for 10, and should be a standby like the others
_UNIT = "nexus-orchestrator"
Act = Callable[[Rig, str], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """hold: seconds from the fault to its undo, at least; where there are any, the old primary must then do nothing."""

    do: Act
    undo: Act
    hold: float = 0.0


def _on(script: str) -> Act:
    def act(rig: Rig, host: str) -> None:
        rig.on(host, script)

    return act


def _undo(script: str) -> Act:
    return lambda rig, host: rig.undo(host, script)


def _cut(rig: Rig, host: str) -> None:
    """Nothing passes between it and the other managers; SSH comes from elsewhere."""
    peers = ", ".join(n.cluster for n in NODES if n.name in rig.managers and n.name != host)
    rig.on(host, f"""nft -f - <<'END'
table inet cut {{
  chain i {{ type filter hook input priority -200; ip saddr {{ {peers} }} drop; }}
  chain o {{ type filter hook output priority -200; ip daddr {{ {peers} }} drop; }}
}}
END""")


def _frozen(seconds: float) -> Fault:
    return Fault(_on(f"systemctl kill -s STOP {_UNIT}"), _undo(f"systemctl kill -s CONT {_UNIT} || true"), seconds)


FAULTS: Mapping[str, Fault] = {
    # not waited for: the standby is faster than the end of the process
    "stop": Fault(_on(f"systemctl stop --no-block {_UNIT}"), _undo(f"systemctl stop {_UNIT}; systemctl start {_UNIT}")),
    "kill": Fault(_on(f"systemctl kill -s KILL {_UNIT}"), _undo(f"systemctl start {_UNIT}")),
    "freeze": _frozen(30),
    "wake": _frozen(12),
    "primary-off": Fault(lambda rig, host: rig.power_off(host), lambda rig, host: rig.power_on(host)),
    "cut-off": Fault(_cut, _undo("nft delete table inet cut 2>/dev/null || true"), 15),
}


def arrange(rig: Rig, leader: bool) -> None:
    """FaultDriver the primary over until its host is the raft leader, or is not."""
    word = ask(managers(rig.fleet))
    if word.leader is None:
        raise NexusError("there is no raft leader")
    fit = [word.leader] if leader else [name for name in rig.managers if name != word.leader]
    if word.services_health.primary not in fit:
        promote(rig.fleet, fit[0])
        time.sleep(KEPT_OUT)


def takeover(fault: Fault) -> Trial:
    def trial(rig: Rig) -> Measured:
        host, epoch = rig.eyes().lock()
        since, eyes = last_election(rig.acts()), rig.eyes(host)
        taken: list[Lock] = []

        def acts() -> bool:
            """The lock and the first act of an epoch are one transaction."""
            if (now := eyes.lock())[1] > epoch:
                taken.append(now)
            return bool(taken)

        began = time.monotonic()
        try:
            fault.do(rig, host)
            seconds = seconds_until({MAIN: acts}, began, LIMIT)
            time.sleep(max(0.0, fault.hold - (time.monotonic() - began)))
        finally:
            fault.undo(rig, host)
        time.sleep(WATCHED if fault.hold else 0)
        return Measured(seconds, after=lambda: _after(rig, since, taken, bool(fault.hold)))

    return trial


def _after(rig: Rig, since: int, taken: list[Lock], same: bool) -> list[str]:
    told = findings(rig.acts(), since)
    if same and taken and (now := rig.eyes().lock()) != taken[0]:
        told.append(f"after the undo the primary changed: {_words(taken[0])}, then {_words(now)}")
    return told


def _words(lock: Lock) -> str:
    return f"{lock[0] or 'nobody'} (epoch {lock[1]})"


def handover(rig: Rig) -> Measured:
    """`inv promote`, watched through the third manager."""
    host, epoch = rig.eyes().lock()
    to = next(name for name in rig.managers if name != host)
    since, eyes = last_election(rig.acts()), rig.eyes(host, to)
    began = time.monotonic()
    try:
        eyes.promote(to)
        seconds = seconds_until({MAIN: lambda: (now := eyes.lock())[0] == to and now[1] > epoch}, began, LIMIT)
    finally:
        if eyes.lock()[0] != to:  # else the new primary takes the wish away itself
            eyes.forget_promotion()
    return Measured(seconds, after=lambda: findings(rig.acts(), since))
