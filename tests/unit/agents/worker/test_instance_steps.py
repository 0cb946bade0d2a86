"""The next step for a service's instance, played through with a simulated systemd and Consul."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_agents.nexus_agents.worker.instance_steps import (
    CRASH_LIMIT,
    DRAIN_TIME,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    START_GRACE,
    Evaluation,
    InstanceHistory,
    Step,
    Unit,
    evaluate,
    hang_timeout,
)  # fmt: skip

ABSENT = Unit(None, "inactive")
STATES = {"starting", "running", "looping", "stopping", "stopped", "failed"}


def spec(revision: str = "r1", interval: float = 2.0, timeout: float = 1.0) -> dict[str, Any]:
    check = {"kind": "http", "interval": interval, "timeout": timeout}
    return {"name": "web", "revision": revision, "image": None, "check": check}


HANG_TIMEOUT = hang_timeout(spec())


@dataclass
class Host:
    """One service's unit and the state of its check. A turn evaluates them and executes the step at once."""

    desired: dict[str, Any] | None = field(default_factory=spec)
    unit: Unit = ABSENT
    passing: bool | None = None
    history: InstanceHistory = field(default_factory=InstanceHistory)
    at: float = 1000.0
    steps: list[tuple[float, str]] = field(default_factory=list)  # (when, verb)

    def turn(self, seconds: float = 1.0) -> Evaluation:
        self.at += seconds
        evaluation = evaluate("web", self.desired, self.unit, self.passing, self.history, self.at)
        self.history = evaluation.history
        if evaluation.step:
            self.execute(evaluation.step)
        if not evaluation.registered:
            self.passing = None
        return evaluation

    def turns(self, seconds: float, each: float = 1.0) -> list[Evaluation]:
        return [self.turn(each) for _ in range(round(seconds / each))]

    def execute(self, step: Step) -> None:
        self.steps.append((self.at, step.verb))
        assert step.service == "web"
        if step.verb == "start":
            assert self.desired
            self.unit, self.passing = Unit(self.desired["revision"], "active", 0, 1), False
        elif step.verb == "stop":
            self.unit, self.passing = ABSENT, None
        elif step.verb == "pause":
            self.unit = replace(self.unit, active="inactive", restarts=0, pid=0)
        else:
            self.end()

    def end(self, times: int = 1) -> None:
        """The process ends so often, and systemd restarts it each time."""
        self.unit = replace(self.unit, active="active", restarts=self.unit.restarts + times)
        self.passing = self.passing and False

    @property
    def verbs(self) -> list[str]:
        return [verb for _, verb in self.steps]


def running(**over: Any) -> Host:
    """A host whose instance runs and has passed."""
    host = Host(unit=Unit("r1", "active", 0, 1), passing=True, **over)
    host.turn()
    assert host.steps == []
    return host


def loop(host: Host, seconds: float) -> None:
    """A process that ends every second while it runs, and never passes."""
    for _ in range(round(seconds)):
        if host.unit.active == "active":
            host.end()
        host.turn()


# Starting


@pytest.mark.parametrize("active", ["inactive", "failed", "activating", "deactivating"])
def test_a_desired_service_without_a_unit_is_started(active: str) -> None:
    """Without a unit file of ours it is started at once, whatever state systemd has for it."""
    host = Host(unit=Unit(None, active))
    evaluation = host.turn()
    assert host.verbs == ["start"]
    assert (evaluation.registered, evaluation.state) == (True, "starting")


@pytest.mark.parametrize(("active", "verbs"), [
    ("inactive", ["start"]), ("failed", ["start"]), ("active", []), ("activating", []), ("deactivating", [])])  # fmt: skip
def test_a_stopped_unit_is_started(active: str, verbs: list[str]) -> None:
    """systemd restarts a process that ends; the worker starts a unit that was stopped by hand, or that systemd gave up."""
    host = Host(unit=Unit("r1", active))
    host.turn()
    assert host.verbs == verbs


def test_a_started_instance_is_running_once_it_passes() -> None:
    """Until it passes it is starting, and registered; then it is running, and no step follows."""
    host = Host()
    assert [v.state for v in host.turns(3)] == ["starting"] * 3
    host.passing = True
    assert {(v.state, v.registered) for v in host.turns(100)} == {("running", True)}
    assert host.verbs == ["start"]


def test_after_a_reboot_it_is_started() -> None:
    """Units are in /run, so none is left; no earlier history delays the start."""
    host = Host(history=InstanceHistory(restarts=60, crashes=3, passed=True))
    host.turn()
    assert host.verbs == ["start"]


def test_a_unit_that_does_not_start_is_not_started_without_pause() -> None:
    """A unit that systemd refuses (a bad setting, a failed dependency) is started again with pauses, like a crash loop."""
    host, starts = Host(), 0
    for _ in range(600):
        starts += host.turn(0.1).step is not None
        host.unit = Unit("r1", "inactive")
    assert starts < 20


# Crash loops


def test_few_crashes_are_left_to_systemd() -> None:
    """One restart less than in a crash loop, without a pass: no step."""
    host = running()
    host.end()  # it had passed before this one
    host.turn()
    for _ in range(CRASH_LIMIT - 1):
        host.end()
        assert host.turn().step is None


def test_a_crash_loop_is_paused_ever_longer() -> None:
    """Pauses double from the first to the longest; between two of them it gets CRASH_LIMIT tries."""
    host = Host()
    loop(host, 3 * LONGEST_PAUSE + 700)
    pauses = [at for at, verb in host.steps if verb == "pause"]
    starts = [at for at, verb in host.steps if verb == "start"]
    lengths = [start - pause for pause, start in zip(pauses, starts[1:], strict=False)]
    expected = [min(LONGEST_PAUSE, FIRST_PAUSE * 2**n) for n in range(len(lengths))]
    assert lengths == pytest.approx(expected, abs=1.0)
    assert lengths[-1] == pytest.approx(LONGEST_PAUSE, abs=1.0)
    assert host.verbs == ["start", "pause"] * len(pauses) + ["start"] * (len(starts) - len(pauses))


def test_a_crash_loop_is_deregistered_and_reported() -> None:
    """In its pause it is looping, not registered, and the note has the number of crashes and the seconds left."""
    host = Host()
    host.turn()
    host.end(CRASH_LIMIT)
    evaluation = host.turn()
    assert host.verbs == ["start", "pause"]
    assert (evaluation.state, evaluation.registered) == ("looping", False)
    assert f"crashed {CRASH_LIMIT} times" in evaluation.note
    evaluation = host.turn(2.0)
    assert (evaluation.state, evaluation.registered, evaluation.step) == ("looping", False, None)
    assert evaluation.note == f"crashed {CRASH_LIMIT} times without passing; next try in 3 s"
    while host.verbs[-1] == "pause":
        evaluation = host.turn()
    assert (evaluation.state, evaluation.registered) == ("looping", True)  # another try is not a recovery yet
    assert "crashed" in evaluation.note
    assert host.turn().state == "looping"
    host.passing = True
    assert host.turn().state == "running"


def test_a_pass_resets_a_crash_loop() -> None:
    """After one pass the counts are zero, and the next pause is the first one again."""
    host = Host()
    loop(host, 100)
    assert host.verbs.count("pause") >= 3
    while host.unit.active != "active":
        host.turn()
    host.passing = True
    host.turn()
    assert (host.history.crashes, host.history.pauses) == (0, 0)
    host.steps.clear()
    loop(host, 40)
    (pause, _), (start, _) = [s for s in host.steps if s[1] in ("pause", "start")][:2]
    assert start - pause == pytest.approx(FIRST_PAUSE, abs=1.0)


def test_a_crash_loop_of_weeks_does_not_end_the_agent() -> None:
    """However many pauses there were, the next one is the longest, and computing it does not overflow."""
    host = Host(unit=Unit("r1", "active"), history=InstanceHistory(crashes=CRASH_LIMIT, pauses=5000))
    host.turn()
    assert host.verbs == ["pause"]
    assert host.history.paused_until == host.at + LONGEST_PAUSE


def test_a_new_version_need_not_wait_for_the_pause() -> None:
    """The old revision's crashes do not count for the new one: it is started at once, with all its tries."""
    host = Host()
    loop(host, 60)
    assert host.history.paused_until
    host.steps.clear()
    host.desired = spec("r2")
    host.turn()
    assert host.verbs == ["start"]
    host.end(CRASH_LIMIT - 1)
    host.turn()
    assert host.verbs == ["start"]


def test_in_a_pause_it_can_still_be_removed() -> None:
    """A crash loop that is no longer desired is stopped at once, and its history dropped."""
    host = Host()
    host.turn()
    host.end(CRASH_LIMIT)
    host.turn()
    host.desired = None
    host.turn()
    host.turn()
    assert host.verbs == ["start", "pause", "stop"]
    assert host.history == InstanceHistory()


@pytest.mark.parametrize("pause", [0.3, 1.0, 3.0])
def test_fifty_kills_with_a_pass_in_between_never_pause(pause: float) -> None:
    """However often a process is killed: as long as it passes after each start, systemd's restart is enough."""
    host = running()
    for _ in range(50):
        host.end()
        host.turn(pause)
        host.passing = True
        host.turn(pause)
    assert host.steps == []
    assert host.turn().state == "running"


def test_fifty_kills_that_no_check_notices_never_pause() -> None:
    """A process that is back before its check fails was killed; that is no crash."""
    host = running()
    for _ in range(50):
        host.end()
        host.passing = True
        host.turn()
    assert host.steps == []


def test_several_restarts_between_two_turns_count_each() -> None:
    """A process that fails within milliseconds ends several times between two turns."""
    host = Host()
    host.turn()
    host.end(2)
    host.turn()
    host.end(2)
    host.turn()
    assert host.verbs == ["start"]
    host.end(1)
    host.turn()
    assert host.verbs == ["start", "pause"]


def test_an_agent_that_restarts_sees_no_crash_loop() -> None:
    """Sixty restarts from before this agent's start are no crashes: the worker's first history has them already."""
    unit = Unit("r1", "active", 60, 1)
    host = Host(unit=unit, passing=True, history=InstanceHistory(started_at=1000.0, restarts=unit.restarts))
    assert {v.state for v in host.turns(10)} == {"running"}
    host.end()
    host.turns(2)
    assert host.steps == []


def test_a_counter_that_is_reset_is_no_crash() -> None:
    """systemd counts from 0 after a start by hand or a reset; later restarts count as usual."""
    host = running(history=InstanceHistory(restarts=0))
    host.unit = replace(host.unit, restarts=0)
    for _ in range(10):
        host.end()
        host.turn()
        host.passing = True
        host.turn()
    host.unit = replace(host.unit, restarts=0)
    assert host.turn().step is None
    assert (host.history.restarts, host.history.crashes) == (0, 0)
    host.end()
    host.turn()
    host.end(CRASH_LIMIT)
    host.turn()
    assert host.verbs == ["pause"]


# Hangs


@pytest.mark.parametrize(("interval", "timeout", "seconds"), [
    (1, 0.1, 5.0), (1, 1, 5.0), (2, 1, 6.0), (10, 5, 30.0), (60, 10, 140.0)])  # fmt: skip
def test_the_hang_timeout_follows_the_check(interval: float, timeout: float, seconds: float) -> None:
    """Two rounds of the check, and never less than five seconds."""
    assert hang_timeout(spec(interval=interval, timeout=timeout)) == seconds


def test_a_hang_is_killed_after_its_timeout_and_not_before() -> None:
    """Active and critical: an instance that has passed gets its timeout, one kill, and then the start grace again."""
    host = running()
    host.passing = False
    began = host.at + 0.5
    host.turns(HANG_TIMEOUT, 0.5)
    assert host.steps == []
    assert host.turn(0.5).state == "failed"
    assert host.steps == [(began + HANG_TIMEOUT, "kill")]
    host.turns(START_GRACE - 1)
    assert host.verbs == ["kill"]


@pytest.mark.parametrize("interval", [120.0, 600.0, 3600.0])
def test_a_new_instance_waits_for_its_first_check(interval: float) -> None:
    """Consul runs a new check for the first time at a random moment within its interval: no kill before that."""
    host = Host(desired=spec(interval=interval))
    host.turn()
    host.passing = False
    host.turns(interval)
    assert host.verbs == ["start"]


def test_a_pass_in_between_restarts_the_timeout() -> None:
    """A check that fails now and then is no hang."""
    host = running()
    for _ in range(20):
        host.passing = False
        host.turns(HANG_TIMEOUT - 1)
        host.passing = True
        host.turn()
    assert host.steps == []


@pytest.mark.parametrize("over", [
    {"passing": None}, {"unit": Unit("r1", "activating")}, {"unit": Unit("r1", "deactivating")}])  # fmt: skip
def test_only_what_is_active_and_critical_can_hang(over: dict[str, Any]) -> None:
    """No kill while Consul has no check for it, or systemd is still starting or stopping it."""
    host = running()
    for key, value in {"passing": False, **over}.items():
        setattr(host, key, value)
    host.turns(10 * START_GRACE)
    assert host.steps == []


def test_a_ttl_check_kills_nothing() -> None:
    """A TTL check is critical when this agent did not refresh it in time: that is no reason to kill the process."""
    host = running()
    host.desired = {**spec(), "check": {"kind": "ttl", "interval": 2.0, "timeout": 1.0}}
    host.passing = False
    host.turns(5 * START_GRACE)
    assert host.steps == []


def test_a_start_has_its_grace() -> None:
    """Until it passes for the first time, an instance has START_GRACE; each restart of the process starts it over."""
    host = Host()
    host.turn()
    host.turns(START_GRACE - 5)
    host.end()
    host.turns(START_GRACE)
    assert host.verbs == ["start"]
    host.turn()
    assert host.verbs == ["start", "kill"]


def test_a_hang_at_every_start_becomes_a_crash_loop() -> None:
    """Kills of an instance that never passed count as crashes."""
    host = Host()
    host.turns((CRASH_LIMIT + 1) * (START_GRACE + 3))
    assert host.verbs[: CRASH_LIMIT + 2] == ["start", *["kill"] * CRASH_LIMIT, "pause"]


# Changes and ends


@pytest.mark.parametrize(("desired", "verb"), [(None, "stop"), (spec("r2"), "start")])
def test_a_serving_instance_leaves_consul_first(desired: dict[str, Any] | None, verb: str) -> None:
    """Before a stop or a replacement it is deregistered for DRAIN_TIME, and keeps running."""
    host = running()
    host.desired = desired
    began = host.at + 0.1
    while not host.steps:
        evaluation = host.turn(0.1)
        assert evaluation.step or (evaluation.registered, evaluation.state) == (False, "stopping")
    [(at, done)] = host.steps
    assert done == verb
    assert DRAIN_TIME <= round(at - began, 6) <= DRAIN_TIME + 0.2
    assert evaluation.registered == (verb == "start")
    host.turns(5)
    assert host.verbs == [verb]


@pytest.mark.parametrize(("desired", "verb"), [(None, "stop"), (spec("r2"), "start")])
@pytest.mark.parametrize("active", ["active", "activating", "failed", "inactive"])
def test_an_instance_that_does_not_serve_needs_no_drain(active: str, desired: dict[str, Any] | None, verb: str) -> None:
    """No request can be on its way to an instance that never passed or does not run: it is stopped at once."""
    host = Host(desired, Unit("r1", active), passing=False)
    host.turn()
    assert host.verbs == [verb]


def test_new_orders_can_end_the_drain() -> None:
    """A draining instance that is desired again stays, is registered again, and has its full drain the next time."""
    host = running()
    host.desired = None
    host.turn(1.0)
    host.desired, host.passing = spec(), None
    evaluation = host.turn(1.0)
    assert (evaluation.step, evaluation.registered, host.history.draining_since) == (None, True, None)
    host.passing = True
    host.turn()
    host.desired = None
    host.turn(0.1)
    assert host.turn(DRAIN_TIME - 0.2).step is None
    assert host.steps == []


def test_an_instance_that_dies_in_its_drain_is_stopped_at_once() -> None:
    """A process that ends while it drains serves no requests."""
    host = running()
    host.desired = None
    host.turn(0.1)
    host.end()
    host.turn(0.1)
    assert host.verbs == ["stop"]


def test_a_removed_instance_needs_no_step() -> None:
    """Neither desired nor present: no step, and no history."""
    host = Host(desired=None, history=InstanceHistory(restarts=7, crashes=3))
    evaluation = host.turn()
    assert evaluation == Evaluation(InstanceHistory(), None, False, "stopped")


def test_a_missing_unit_file_is_written_again() -> None:
    """Whoever removed it: one start writes it again."""
    host = running()
    host.unit = replace(host.unit, revision=None)
    host.turns(DRAIN_TIME + 2)
    assert host.verbs == ["start"]
    assert host.unit.revision == "r1"


def test_an_undesired_instance_without_a_unit_file_is_stopped() -> None:
    """An instance that is not desired is stopped even where its unit file is gone already."""
    host = running()
    host.desired, host.unit = None, replace(host.unit, revision=None)
    host.turns(DRAIN_TIME + 2)
    assert host.verbs == ["stop"]


# Whatever happens

EVENTS = st.lists(
    st.tuples(
        st.sampled_from([
            "end", "ends", "pass", "fail", "unknown", "r1", "r2", "none",
            "vanish", "reset", "by hand", "activating", "agent", "",
        ]),
        st.sampled_from([0.0, 0.05, 0.5, 1.0, 1.6, 6.0, 61.0, 301.0]),
    ),
    max_size=40,
)  # fmt: skip


def happen(host: Host, event: str) -> None:
    """An outside change of the host, the check's state, the orders, or the agent itself."""
    up = host.unit.active == "active"
    if event in ("end", "ends") and up:
        host.end(1 if event == "end" else 3)
    elif event in ("pass", "fail", "unknown"):
        host.passing = {"pass": up, "fail": False, "unknown": None}[event]
    elif event in ("r1", "r2", "none"):
        host.desired = None if event == "none" else spec(event)
    elif event == "vanish":
        host.unit = replace(host.unit, revision=None)
    elif event == "reset":
        host.unit = replace(host.unit, restarts=0)
    elif event == "by hand":
        host.unit = replace(host.unit, active="inactive", restarts=0)
    elif event == "activating" and up:
        host.unit = replace(host.unit, active="activating")
    elif event == "agent":
        host.history = InstanceHistory(started_at=host.at, restarts=host.unit.restarts)


@given(EVENTS)
def test_steps_fit_the_orders(events: list[tuple[str, float]]) -> None:
    """Only a desired service is started, killed or paused, only an undesired one stopped; Consul has what may serve."""
    host = Host()
    for event, seconds in events:
        happen(host, event)
        before = host.unit
        evaluation = host.turn(seconds)
        verb = evaluation.step.verb if evaluation.step else None
        assert evaluation.state in STATES
        if host.desired is None:
            assert verb in (None, "stop")
            assert not evaluation.registered
        else:
            assert verb != "stop"
        if verb in ("kill", "pause"):
            assert (before.revision, before.active) in (("r1", "active"), ("r2", "active"), ("r1", "activating"),
                                                        ("r2", "activating"))  # fmt: skip
        if verb == "pause":
            assert not evaluation.registered
        trying = evaluation.state == "looping" and evaluation.note.startswith("crashed before")
        assert evaluation.registered == (trying or evaluation.state in ("starting", "running", "failed"))


@given(EVENTS)
def test_there_are_never_two_steps_at_once(events: list[tuple[str, float]]) -> None:
    """After a step, and without other changes, the next turn has no step.

    But a kill ends a process, and that may be the crash that makes a crash loop.
    """
    host = Host()
    for event, seconds in events:
        happen(host, event)
        evaluation = host.turn(seconds)
        if evaluation.step:
            after = host.turn(0.0).step
            assert after is None or (evaluation.step.verb, after.verb) == ("kill", "pause")
            assert host.turn(0.0).step is None


@given(EVENTS)
def test_a_passing_instance_is_never_touched(events: list[tuple[str, float]]) -> None:
    """Whatever happened before: a desired instance that runs and passes is left alone, for hours."""
    host = Host()
    for event, seconds in events:
        happen(host, event)
        host.turn(seconds)
    host.desired = spec()
    for _ in range(1000):
        if host.unit == replace(host.unit, revision="r1", active="active"):
            break
        host.turn()
    if host.history.paused_until is None or host.at >= host.history.paused_until:
        host.passing = True
        host.steps.clear()
        evaluations = host.turns(3600, 10.0)
        assert host.steps == []
        assert {(v.state, v.registered) for v in evaluations} == {("running", True)}


@given(EVENTS)
def test_any_history_ends_in_the_ordered_state(events: list[tuple[str, float]]) -> None:
    """After any history, a healthy service that is desired runs in the end, and one that is not is gone."""
    host = Host()
    for event, seconds in events:
        happen(host, event)
        host.turn(seconds)
    if host.unit.active == "activating":
        host.unit = replace(host.unit, active="active")
    for _ in range(round(LONGEST_PAUSE) + 10):
        evaluation = host.turn()
        host.passing = (host.unit.active == "active") if evaluation.registered else None
    if host.desired is None:
        assert (host.unit.active, host.unit.revision, evaluation.state) == ("inactive", None, "stopped")
    else:
        assert (host.unit.active, host.unit.revision, evaluation.state) == ("active", host.desired["revision"], "running")


def test_failures_are_counted_over_pauses_until_it_passes() -> None:
    """The report's count does not begin anew with each pause, so the managers see five even from a slow crash loop."""
    host = Host()
    host.turn()
    for _ in range(CRASH_LIMIT + 2):
        host.end()
        host.turn()
    assert host.history.failures > CRASH_LIMIT > host.history.crashes
    host.unit, host.passing, host.at = replace(host.unit, active="active"), True, host.at + LONGEST_PAUSE
    assert host.turn().history.failures == 0
