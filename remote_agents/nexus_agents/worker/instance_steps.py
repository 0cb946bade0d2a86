"""What a worker does next: pure. From its orders, systemd's units and Consul's checks to steps, one service at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

CRASHES = 5  # ends in a row, never having passed, that make a crash loop
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0  # seconds: the back-off doubles between these
START_GRACE = 60.0  # seconds that an instance may take until it passes for the first time
DRAIN = 1.5  # seconds between leaving Consul and being stopped: the balancer's upstreams follow within one
Verb = Literal["start", "stop", "kill", "pause"]


@dataclass(frozen=True, slots=True)
class Unit:
    """systemd's word. `revision` None: there is no unit file of ours."""

    revision: str | None
    active: str  # active | activating | deactivating | inactive | failed
    restarts: int = 0
    pid: int = 0


@dataclass(frozen=True, slots=True)
class InstanceHistory:
    """What we remember of an instance. Times are seconds of our own clock; None: not so now."""

    started_at: float = 0.0
    passed: bool = False  # since it was started last
    restarts: int = 0  # of these restarts we know
    crashes: int = 0
    pauses: int = 0
    paused_until: float | None = None
    critical_since: float | None = None
    draining_since: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """start: write the unit and (re)start it; stop: and remove it; kill: hung, systemd starts it again; pause: back-off."""

    verb: Verb
    service: str
    why: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One service's turn. `listed`: whether it is to be registered in Consul now; `state` as in wire.REPORT."""

    memory: InstanceHistory
    step: Step | None
    listed: bool
    state: str
    note: str = ""


def evaluate(
    name: str, spec: Mapping[str, Any] | None, unit: Unit, passing: bool | None, memory: InstanceHistory, at: float
) -> Evaluation:
    """`spec` None: not wanted here; `passing` None: Consul does not know it."""
    memory = _update_history(unit, passing, memory, at)
    if spec is None:
        return _drain_then(name, unit, memory, at, "stop", "it is not to run here")
    if unit.revision is not None and unit.revision != spec["revision"] and unit.active == "active":
        return _drain_then(name, unit, memory, at, "start", "a new version is due")
    memory = replace(memory, draining_since=None)
    due = unit.revision == spec["revision"]  # a new version need not wait for the old one's pause
    if due and memory.paused_until is not None and at < memory.paused_until:
        note = f"crashed {CRASHES} times without passing; next try in {memory.paused_until - at:.0f} s"
        return Evaluation(memory, None, False, "looping", note)
    if not due or unit.active in ("inactive", "failed"):
        if due and memory.paused_until is None and at - memory.started_at < FIRST_PAUSE:
            return Evaluation(memory, None, True, "starting", "it does not start; systemctl status says why")
        kept = memory if due else InstanceHistory(restarts=unit.restarts)
        fresh = replace(kept, started_at=at, passed=False, paused_until=None, critical_since=None)
        why = "it is to run here" if unit.revision is None else f"it was {unit.active}"
        return Evaluation(fresh, Step("start", name, why), True, *_starting_state(fresh))
    return _supervise(name, spec, memory, passing, at)


def _update_history(unit: Unit, passing: bool | None, memory: InstanceHistory, at: float) -> InstanceHistory:
    """Counts the ends of a process that never passed in between; the first pass forgives all."""
    ended = unit.restarts - memory.restarts
    if ended < 0:  # systemd has begun to count anew
        memory = replace(memory, restarts=unit.restarts)
    elif ended:
        # one that is back before its check has missed it was killed, and does not crash
        fine = memory.passed or passing
        memory = replace(memory, crashes=0 if fine else memory.crashes + ended, restarts=unit.restarts,
                         passed=False, started_at=at, critical_since=None)  # fmt: skip
    elif passing and unit.active == "active":
        memory = replace(memory, passed=True, crashes=0, pauses=0)
    if passing or passing is None or unit.active != "active":
        return replace(memory, critical_since=None)
    return memory if memory.critical_since is not None else replace(memory, critical_since=at)


def _drain_then(name: str, unit: Unit, memory: InstanceHistory, at: float, verb: Verb, why: str) -> Evaluation:
    """Out of Consul first, then stopped: no request is on its way to it any more."""
    if unit.revision is None and unit.active in ("inactive", "failed"):
        return Evaluation(InstanceHistory(), None, False, "stopped")
    since = memory.draining_since if memory.draining_since is not None else at
    if unit.active == "active" and memory.passed and at - since < DRAIN:
        return Evaluation(replace(memory, draining_since=since), None, False, "stopping", why)
    fresh = InstanceHistory(started_at=at, restarts=unit.restarts)
    return Evaluation(fresh, Step(verb, name, why), verb == "start", "stopping" if verb == "stop" else "starting")


def _supervise(name: str, spec: Mapping[str, Any], memory: InstanceHistory, passing: bool | None, at: float) -> Evaluation:
    if memory.crashes >= CRASHES:
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(memory.pauses, 10))
        held = replace(memory, crashes=0, pauses=memory.pauses + 1, paused_until=at + pause)
        why = f"crashed {memory.crashes} times without passing; next try in {pause:.0f} s"
        return Evaluation(held, Step("pause", name, why), False, "looping", why)
    # a TTL is our own word: when it is late, the instance is not to blame
    if memory.critical_since is not None and spec["check"]["kind"] != "ttl":
        ill, patience = at - memory.critical_since, hang_timeout(spec)
        if not memory.passed:  # Consul asks for the first time at any moment within the interval
            patience = max(START_GRACE, patience)
        if ill >= patience:
            hurt = replace(memory, critical_since=None, passed=False)
            return Evaluation(hurt, Step("kill", name, f"its check has been critical for {ill:.0f} s"), True, "failed")
    return Evaluation(memory, None, True, "running") if passing else Evaluation(memory, None, True, *_starting_state(memory))


def _starting_state(memory: InstanceHistory) -> tuple[str, str]:
    """State and note of what has yet to pass: one that was paused for crashing stays in its loop until it does."""
    return ("looping", "crashed before it ever passed; this is another try") if memory.pauses else ("starting", "")


def hang_timeout(spec: Mapping[str, Any]) -> float:
    """Seconds for which a check may stay critical before the instance counts as hung."""
    check = spec["check"]
    return max(5.0, 2 * (float(check["interval"]) + float(check["timeout"])))
