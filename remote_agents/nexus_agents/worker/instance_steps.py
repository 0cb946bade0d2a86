"""The next step for one service's instance, from its spec, its systemd unit and its Consul checks. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from .image_pulls import RETRY_PAUSE, Pull

CRASH_LIMIT = 5  # restarts in a row without a pass that make a crash loop
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0  # seconds: the back-off doubles from the first to the longest
START_GRACE = 60.0  # seconds that an instance may take until it passes for the first time
DRAIN_TIME = 1.5  # seconds from leaving Consul to the stop: the balancer's upstreams follow within one second
Verb = Literal["pull", "start", "stop", "kill", "pause"]


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as systemd has it. `revision`: from our unit file; None without one. `restarts`: systemd's NRestarts."""

    revision: str | None
    active: str  # active | activating | deactivating | inactive | failed
    restarts: int = 0
    pid: int = 0


@dataclass(frozen=True, slots=True)
class InstanceHistory:
    """What the worker remembers of an instance. Times are seconds of this host's clock; None: does not apply now."""

    started_at: float = 0.0
    passed: bool = False  # since its last start
    restarts: int = 0  # systemd's count at the last turn
    crashes: int = 0  # restarts in a row without a pass, since the last pause
    failures: int = 0  # restarts in a row without a pass
    pauses: int = 0  # crash loops in a row without a pass
    paused_until: float | None = None
    critical_since: float | None = None
    draining_since: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """pull: have the image pulled; start: write the unit and (re)start it; stop: stop it and remove the unit;
    kill: it hangs, systemd restarts it; pause: stop it for a back-off."""

    verb: Verb
    service: str
    why: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One turn's result for a service.

    registered: whether Consul should have it, by its spec; kept: whatever Consul has of it stays as it is, for an older
    version goes on. state: as in kv_schema.REPORT. pull: the pull of its image is still needed
    """

    history: InstanceHistory
    step: Step | None
    registered: bool
    state: str
    note: str = ""
    kept: bool = False
    pull: bool = False


def evaluate(
    name: str, spec: Mapping[str, Any] | None, unit: Unit, passing: bool | None, history: InstanceHistory, now: float,
    pull: Pull | None = None,
) -> Evaluation:  # fmt: skip
    """`spec` None: the service is not ordered on this host. `passing` None: the state of its checks is unknown."""
    history = _update_history(unit, passing, history, now)
    if spec is None:
        return _drain_then(name, unit, history, now, "stop", "it is not to run here")
    if unit.revision is not None and unit.revision != spec["revision"] and unit.active == "active":
        if not _has_image(spec, pull):
            return _wait_for_image(name, spec, unit, history, pull)
        return _drain_then(name, unit, history, now, "start", "a new version is due")
    history = replace(history, draining_since=None)
    current = unit.revision == spec["revision"]  # a new version does not wait for the old one's pause
    if current and history.paused_until is not None and now < history.paused_until:
        note = f"crashed {CRASH_LIMIT} times without passing; next try in {history.paused_until - now:.0f} s"
        return Evaluation(history, None, False, "looping", note)
    if not current or unit.active in ("inactive", "failed"):
        if current and history.paused_until is None and now - history.started_at < FIRST_PAUSE:
            return Evaluation(history, None, True, "starting", "it does not start; systemctl status says why")
        if not _has_image(spec, pull):
            return _wait_for_image(name, spec, unit, history, pull)
        base = history if current else InstanceHistory(restarts=unit.restarts)
        started = replace(base, started_at=now, passed=False, paused_until=None, critical_since=None)
        why = "it is to run here" if unit.revision is None else f"it was {unit.active}"
        return Evaluation(started, Step("start", name, why), True, *_starting_state(started))
    return _supervise(name, spec, history, passing, now)


def _has_image(spec: Mapping[str, Any], pull: Pull | None) -> bool:
    """Each start asks anew: an image may have been removed since the last one."""
    return spec["image"] is None or (pull is not None and pull.image == spec["image"] and pull.state == "ready")


def _wait_for_image(
    name: str, spec: Mapping[str, Any], unit: Unit, history: InstanceHistory, pull: Pull | None
) -> Evaluation:
    """Until the image is there nothing stops: an older version goes on, and keeps its place in Consul."""
    history, kept = replace(history, draining_since=None), unit.revision not in (None, spec["revision"])
    if pull is None or pull.image != spec["image"]:
        step = Step("pull", name, f"{spec['image']} is to run here")
        return Evaluation(history, step, False, "pulling", f"pulling {spec['image']}", kept, pull=True)
    if pull.state == "failed":
        note = f"cannot pull {pull.image}, tried every {RETRY_PAUSE} s: {pull.reason}"
        return Evaluation(history, None, False, "pull-failed", note, kept, pull=True)
    return Evaluation(history, None, False, "pulling", f"pulling {pull.image}", kept, pull=True)


def _update_history(unit: Unit, passing: bool | None, history: InstanceHistory, now: float) -> InstanceHistory:
    """Counts the restarts of a process that has not passed in between; the first pass resets the counts."""
    restarts = unit.restarts - history.restarts
    if restarts < 0:  # systemd has reset its counter
        history = replace(history, restarts=unit.restarts)
    elif restarts:
        # `passing`: it is back before its check could fail, so something killed it; that is no crash
        healthy = history.passed or passing
        crashes, failures = (0, 0) if healthy else (history.crashes + restarts, history.failures + restarts)
        history = replace(history, crashes=crashes, failures=failures, restarts=unit.restarts,
                          passed=False, started_at=now, critical_since=None)  # fmt: skip
    elif passing and unit.active == "active":
        history = replace(history, passed=True, crashes=0, failures=0, pauses=0)
    if passing or passing is None or unit.active != "active":
        return replace(history, critical_since=None)
    return history if history.critical_since is not None else replace(history, critical_since=now)


def _drain_then(name: str, unit: Unit, history: InstanceHistory, now: float, verb: Verb, why: str) -> Evaluation:
    """Deregisters the instance first and takes the step DRAIN_TIME later: by then no request is on its way to it."""
    if unit.revision is None and unit.active in ("inactive", "failed"):
        return Evaluation(InstanceHistory(), None, False, "stopped")
    since = history.draining_since if history.draining_since is not None else now
    if unit.active == "active" and history.passed and now - since < DRAIN_TIME:
        return Evaluation(replace(history, draining_since=since), None, False, "stopping", why, pull=verb == "start")
    started = InstanceHistory(started_at=now, restarts=unit.restarts)
    return Evaluation(started, Step(verb, name, why), verb == "start", "stopping" if verb == "stop" else "starting")


def _supervise(name: str, spec: Mapping[str, Any], history: InstanceHistory, passing: bool | None, now: float) -> Evaluation:
    """Of an instance that has been started in the right revision: pause a crash loop, kill a hung process."""
    if history.crashes >= CRASH_LIMIT:
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(history.pauses, 10))
        paused = replace(history, crashes=0, pauses=history.pauses + 1, paused_until=now + pause)
        why = f"crashed {history.crashes} times without passing; next try in {pause:.0f} s"
        return Evaluation(paused, Step("pause", name, why), False, "looping", why)
    # the worker itself reports a TTL check: when that is late, the instance is not to blame
    if history.critical_since is not None and spec["check"]["kind"] != "ttl":
        critical_for, timeout = now - history.critical_since, hang_timeout(spec)
        if not history.passed:  # Consul runs a new check for the first time at a random moment within its interval
            timeout = max(START_GRACE, timeout)
        if critical_for >= timeout:
            killed = replace(history, critical_since=None, passed=False)
            why = f"its check has been critical for {critical_for:.0f} s"
            return Evaluation(killed, Step("kill", name, why), True, "failed")
    state, note = ("running", "") if passing else _starting_state(history)
    return Evaluation(history, None, True, state, note)


def _starting_state(history: InstanceHistory) -> tuple[str, str]:
    """State and note of an instance that has not passed yet. After a crash loop it stays `looping` until it passes."""
    return ("looping", "crashed before it ever passed; this is another try") if history.pauses else ("starting", "")


def hang_timeout(spec: Mapping[str, Any]) -> float:
    """Seconds for which a check may stay critical before the instance counts as hung."""
    check = spec["check"]
    return max(5.0, 2 * (float(check["interval"]) + float(check["timeout"])))
