"""What a worker does next, played through with a systemd and a Consul of a few lines."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_agents.nexus_agents.worker.instance_steps import (
    CRASHES,
    DRAIN,
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
    return {"name": "web", "revision": revision, "check": {"kind": "http", "interval": interval, "timeout": timeout}}


PATIENCE = hang_timeout(spec())


@dataclass
class Host:
    """One service's unit, and what Consul says of it. A turn is judged, and its step carried out at once."""

    wanted: dict[str, Any] | None = field(default_factory=spec)
    unit: Unit = ABSENT
    passing: bool | None = None
    memory: InstanceHistory = field(default_factory=InstanceHistory)
    at: float = 1000.0
    said: list[tuple[float, str]] = field(default_factory=list)  # (when, verb)

    def turn(self, seconds: float = 1.0) -> Evaluation:
        self.at += seconds
        verdict = evaluate("web", self.wanted, self.unit, self.passing, self.memory, self.at)
        self.memory = verdict.memory
        if verdict.step:
            self.take(verdict.step)
        if not verdict.listed:
            self.passing = None
        return verdict

    def turns(self, seconds: float, each: float = 1.0) -> list[Evaluation]:
        return [self.turn(each) for _ in range(round(seconds / each))]

    def take(self, step: Step) -> None:
        self.said.append((self.at, step.verb))
        assert step.service == "web"
        if step.verb == "start":
            assert self.wanted
            self.unit, self.passing = Unit(self.wanted["revision"], "active", 0, 1), False
        elif step.verb == "stop":
            self.unit, self.passing = ABSENT, None
        elif step.verb == "pause":
            self.unit = replace(self.unit, active="inactive", restarts=0, pid=0)
        else:
            self.end()

    def end(self, times: int = 1) -> None:
        """The process ended so often, and systemd started it again."""
        self.unit = replace(self.unit, active="active", restarts=self.unit.restarts + times)
        self.passing = self.passing and False

    @property
    def verbs(self) -> list[str]:
        return [verb for _, verb in self.said]


def running(**over: Any) -> Host:
    """It runs, and has passed."""
    host = Host(unit=Unit("r1", "active", 0, 1), passing=True, **over)
    host.turn()
    assert host.said == []
    return host


def loop(host: Host, seconds: float) -> None:
    """A process that ends every second, whenever it runs, and never passes."""
    for _ in range(round(seconds)):
        if host.unit.active == "active":
            host.end()
        host.turn()


# Starting


@pytest.mark.parametrize("active", ["inactive", "failed", "activating", "deactivating"])
def test_what_is_to_run_and_has_no_unit_is_started(active: str) -> None:
    """Where there is no unit of ours, it is started at once, in whatever state systemd remembers it."""
    host = Host(unit=Unit(None, active))
    verdict = host.turn()
    assert host.verbs == ["start"]
    assert (verdict.listed, verdict.state) == (True, "starting")


@pytest.mark.parametrize(("active", "verbs"), [
    ("inactive", ["start"]), ("failed", ["start"]), ("active", []), ("activating", []), ("deactivating", [])])  # fmt: skip
def test_what_stands_still_is_started(active: str, verbs: list[str]) -> None:
    """systemd starts again what ends by itself; we start what was stopped by hand, or given up."""
    host = Host(unit=Unit("r1", active))
    host.turn()
    assert host.verbs == verbs


def test_a_start_is_said_to_run_when_it_passes() -> None:
    """From start to pass it is starting and registered, then it runs, and nothing more happens to it."""
    host = Host()
    assert [v.state for v in host.turns(3)] == ["starting"] * 3
    host.passing = True
    assert {(v.state, v.listed) for v in host.turns(100)} == {("running", True)}
    assert host.verbs == ["start"]


def test_after_a_reboot_all_is_started_anew() -> None:
    """Units live in /run; with none left, nothing of the time before holds a start up."""
    host = Host(memory=InstanceHistory(restarts=60, crashes=3, passed=True))
    host.turn()
    assert host.verbs == ["start"]


def test_a_unit_that_does_not_start_is_not_asked_without_end() -> None:
    """One that systemd refuses (a bad setting, a dependency that fails) is tried again with pauses, as a crash loop is."""
    host, starts = Host(), 0
    for _ in range(600):
        starts += host.turn(0.1).step is not None
        host.unit = Unit("r1", "inactive")
    assert starts < 20


# Crash loops


def test_few_crashes_are_systemds_affair() -> None:
    """One end less than a crash loop has, without a pass: nothing is done about it."""
    host = running()
    host.end()  # this one had passed
    host.turn()
    for _ in range(CRASHES - 1):
        host.end()
        assert host.turn().step is None


def test_a_crash_loop_is_paused_ever_longer() -> None:
    """Pauses double from the first to the longest, and between them it gets a number of chances each."""
    host = Host()
    loop(host, 3 * LONGEST_PAUSE + 700)
    pauses = [at for at, verb in host.said if verb == "pause"]
    starts = [at for at, verb in host.said if verb == "start"]
    lengths = [start - pause for pause, start in zip(pauses, starts[1:], strict=False)]
    wanted = [min(LONGEST_PAUSE, FIRST_PAUSE * 2**n) for n in range(len(lengths))]
    assert lengths == pytest.approx(wanted, abs=1.0)
    assert lengths[-1] == pytest.approx(LONGEST_PAUSE, abs=1.0)
    assert host.verbs == ["start", "pause"] * len(pauses) + ["start"] * (len(starts) - len(pauses))


def test_a_crash_loop_is_out_of_consul_and_told() -> None:
    """In its pause it is looping, not registered, and the note counts the crashes and the seconds that are left."""
    host = Host()
    host.turn()
    host.end(CRASHES)
    verdict = host.turn()
    assert host.verbs == ["start", "pause"]
    assert (verdict.state, verdict.listed) == ("looping", False)
    assert f"crashed {CRASHES} times" in verdict.note
    verdict = host.turn(2.0)
    assert (verdict.state, verdict.listed, verdict.step) == ("looping", False, None)
    assert verdict.note == f"crashed {CRASHES} times without passing; next try in 3 s"
    while host.verbs[-1] == "pause":
        verdict = host.turn()
    assert (verdict.state, verdict.listed) == ("looping", True)  # another try is no recovery
    assert "crashed" in verdict.note
    assert host.turn().state == "looping"
    host.passing = True
    assert host.turn().state == "running"


def test_a_pass_forgives_a_crash_loop() -> None:
    """After one pass the count begins at none, and the next pause is the first again."""
    host = Host()
    loop(host, 100)
    assert host.verbs.count("pause") >= 3
    while host.unit.active != "active":
        host.turn()
    host.passing = True
    host.turn()
    assert (host.memory.crashes, host.memory.pauses) == (0, 0)
    host.said.clear()
    loop(host, 40)
    (pause, _), (start, _) = [s for s in host.said if s[1] in ("pause", "start")][:2]
    assert start - pause == pytest.approx(FIRST_PAUSE, abs=1.0)


def test_a_crash_loop_of_weeks_does_not_end_the_agent() -> None:
    """However many pauses there were, the next one is the longest, and can still be reckoned."""
    host = Host(unit=Unit("r1", "active"), memory=InstanceHistory(crashes=CRASHES, pauses=5000))
    host.turn()
    assert host.verbs == ["pause"]
    assert host.memory.paused_until == host.at + LONGEST_PAUSE


def test_a_new_version_need_not_wait_for_the_pause() -> None:
    """What was wrong with the old revision is nothing to the new one: it is started at once, with all its chances."""
    host = Host()
    loop(host, 60)
    assert host.memory.paused_until
    host.said.clear()
    host.wanted = spec("r2")
    host.turn()
    assert host.verbs == ["start"]
    host.end(CRASHES - 1)
    host.turn()
    assert host.verbs == ["start"]


def test_in_a_pause_it_may_still_be_taken_away() -> None:
    """A crash loop that is wanted no more is stopped at once, and forgotten."""
    host = Host()
    host.turn()
    host.end(CRASHES)
    host.turn()
    host.wanted = None
    host.turn()
    host.turn()
    assert host.verbs == ["start", "pause", "stop"]
    assert host.memory == InstanceHistory()


@pytest.mark.parametrize("pause", [0.3, 1.0, 3.0])
def test_fifty_kills_with_a_pass_in_between_never_pause(pause: float) -> None:
    """However often a process is killed: as long as it passes after each start, systemd alone brings it back."""
    host = running()
    for _ in range(50):
        host.end()
        host.turn(pause)
        host.passing = True
        host.turn(pause)
    assert host.said == []
    assert host.turn().state == "running"


def test_fifty_kills_that_no_check_notices_never_pause() -> None:
    """A process that is back before its check has missed it was killed, and does not crash."""
    host = running()
    for _ in range(50):
        host.end()
        host.passing = True
        host.turn()
    assert host.said == []


def test_many_ends_in_one_look_count_each() -> None:
    """What fails within milliseconds ends several times between two looks."""
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
    """What ended sixty times before this agent came is none of its crashes; that is how the worker begins."""
    unit = Unit("r1", "active", 60, 1)
    host = Host(unit=unit, passing=True, memory=InstanceHistory(started_at=1000.0, restarts=unit.restarts))
    assert {v.state for v in host.turns(10)} == {"running"}
    host.end()
    host.turns(2)
    assert host.said == []


def test_a_counter_that_begins_anew_is_no_crash() -> None:
    """systemd counts from 0 after a start by hand or a reset; ends after that count as ever."""
    host = running(memory=InstanceHistory(restarts=0))
    host.unit = replace(host.unit, restarts=0)
    for _ in range(10):
        host.end()
        host.turn()
        host.passing = True
        host.turn()
    host.unit = replace(host.unit, restarts=0)
    assert host.turn().step is None
    assert (host.memory.restarts, host.memory.crashes) == (0, 0)
    host.end()
    host.turn()
    host.end(CRASHES)
    host.turn()
    assert host.verbs == ["pause"]


# Hangs


@pytest.mark.parametrize(("interval", "timeout", "seconds"), [
    (1, 0.1, 5.0), (1, 1, 5.0), (2, 1, 6.0), (10, 5, 30.0), (60, 10, 140.0)])  # fmt: skip
def test_patience_follows_the_check(interval: float, timeout: float, seconds: float) -> None:
    """Two rounds of the check, and never less than five seconds."""
    assert hang_timeout(spec(interval=interval, timeout=timeout)) == seconds


def test_a_hang_is_killed_after_patience_and_not_before() -> None:
    """Alive and critical: what has passed gets its patience, one kill, and then the time of a birth again."""
    host = running()
    host.passing = False
    began = host.at + 0.5
    host.turns(PATIENCE, 0.5)
    assert host.said == []
    assert host.turn(0.5).state == "failed"
    assert host.said == [(began + PATIENCE, "kill")]
    host.turns(START_GRACE - 1)
    assert host.verbs == ["kill"]


@pytest.mark.parametrize("interval", [120.0, 600.0, 3600.0])
def test_what_is_born_waits_for_its_first_check(interval: float) -> None:
    """Consul asks for the first time at any moment within the interval: until then nobody is hung."""
    host = Host(wanted=spec(interval=interval))
    host.turn()
    host.passing = False
    host.turns(interval)
    assert host.verbs == ["start"]


def test_a_pass_in_between_gives_all_its_patience_back() -> None:
    """A check that fails now and then is no hang."""
    host = running()
    for _ in range(20):
        host.passing = False
        host.turns(PATIENCE - 1)
        host.passing = True
        host.turn()
    assert host.said == []


@pytest.mark.parametrize("over", [
    {"passing": None}, {"unit": Unit("r1", "activating")}, {"unit": Unit("r1", "deactivating")}])  # fmt: skip
def test_only_what_is_active_and_critical_can_hang(over: dict[str, Any]) -> None:
    """What Consul does not know, or systemd is still starting, is not held to its check."""
    host = running()
    for key, value in {"passing": False, **over}.items():
        setattr(host, key, value)
    host.turns(10 * START_GRACE)
    assert host.said == []


def test_what_we_vouch_for_cannot_hang() -> None:
    """A TTL check is critical when this agent did not refresh it in time: that is no reason to kill what runs."""
    host = running()
    host.wanted = {**spec(), "check": {"kind": "ttl", "interval": 2.0, "timeout": 1.0}}
    host.passing = False
    host.turns(5 * START_GRACE)
    assert host.said == []


def test_a_birth_has_its_grace() -> None:
    """Until it passes for the first time, an instance has a minute; each end of the process begins it anew."""
    host = Host()
    host.turn()
    host.turns(START_GRACE - 5)
    host.end()
    host.turns(START_GRACE)
    assert host.verbs == ["start"]
    host.turn()
    assert host.verbs == ["start", "kill"]


def test_what_hangs_at_every_birth_becomes_a_crash_loop() -> None:
    """Kills of what never passed count as its ends."""
    host = Host()
    host.turns((CRASHES + 1) * (START_GRACE + 3))
    assert host.verbs[: CRASHES + 2] == ["start", *["kill"] * CRASHES, "pause"]


# Changes and ends


@pytest.mark.parametrize(("wanted", "verb"), [(None, "stop"), (spec("r2"), "start")])
def test_what_serves_leaves_consul_first(wanted: dict[str, Any] | None, verb: str) -> None:
    """Before a stop and before a replacement it is out of Consul for the drain, running all the while."""
    host = running()
    host.wanted = wanted
    began = host.at + 0.1
    while not host.said:
        verdict = host.turn(0.1)
        assert verdict.step or (verdict.listed, verdict.state) == (False, "stopping")
    [(at, said)] = host.said
    assert said == verb
    assert DRAIN <= round(at - began, 6) <= DRAIN + 0.2
    assert verdict.listed == (verb == "start")
    host.turns(5)
    assert host.verbs == [verb]


@pytest.mark.parametrize(("wanted", "verb"), [(None, "stop"), (spec("r2"), "start")])
@pytest.mark.parametrize("active", ["active", "activating", "failed", "inactive"])
def test_what_does_not_serve_needs_no_drain(active: str, wanted: dict[str, Any] | None, verb: str) -> None:
    """No request can be on its way to what never passed or does not run: it goes at once."""
    host = Host(wanted, Unit("r1", active), passing=False)
    host.turn()
    assert host.verbs == [verb]


def test_a_change_of_mind_ends_the_drain() -> None:
    """What is wanted again while it drains stays, is registered again, and has its full drain the next time."""
    host = running()
    host.wanted = None
    host.turn(1.0)
    host.wanted, host.passing = spec(), None
    verdict = host.turn(1.0)
    assert (verdict.step, verdict.listed, host.memory.draining_since) == (None, True, None)
    host.passing = True
    host.turn()
    host.wanted = None
    host.turn(0.1)
    assert host.turn(DRAIN - 0.2).step is None
    assert host.said == []


def test_what_dies_in_its_drain_is_not_waited_for() -> None:
    """A process that ended while it drained serves nobody."""
    host = running()
    host.wanted = None
    host.turn(0.1)
    host.end()
    host.turn(0.1)
    assert host.verbs == ["stop"]


def test_what_is_gone_needs_nothing_more() -> None:
    """Neither wanted nor there: no step, nothing remembered."""
    host = Host(wanted=None, memory=InstanceHistory(restarts=7, crashes=3))
    verdict = host.turn()
    assert (verdict.step, verdict.listed, verdict.state, verdict.memory) == (None, False, "stopped", InstanceHistory())


def test_a_unit_file_that_vanished_is_written_anew() -> None:
    """Whoever removed it: one start writes it again, and all is as before."""
    host = running()
    host.unit = replace(host.unit, revision=None)
    host.turns(DRAIN + 2)
    assert host.verbs == ["start"]
    assert host.unit.revision == "r1"


def test_what_runs_without_a_unit_file_of_ours_is_stopped() -> None:
    """An instance that nobody wants goes even where its unit file went before it."""
    host = running()
    host.wanted, host.unit = None, replace(host.unit, revision=None)
    host.turns(DRAIN + 2)
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
    """Something outside of us changes the host, Consul's word, the orders, or the agent itself."""
    up = host.unit.active == "active"
    if event in ("end", "ends") and up:
        host.end(1 if event == "end" else 3)
    elif event in ("pass", "fail", "unknown"):
        host.passing = {"pass": up, "fail": False, "unknown": None}[event]
    elif event in ("r1", "r2", "none"):
        host.wanted = None if event == "none" else spec(event)
    elif event == "vanish":
        host.unit = replace(host.unit, revision=None)
    elif event == "reset":
        host.unit = replace(host.unit, restarts=0)
    elif event == "by hand":
        host.unit = replace(host.unit, active="inactive", restarts=0)
    elif event == "activating" and up:
        host.unit = replace(host.unit, active="activating")
    elif event == "agent":
        host.memory = InstanceHistory(started_at=host.at, restarts=host.unit.restarts)


@given(EVENTS)
def test_steps_fit_what_is_wanted(events: list[tuple[str, float]]) -> None:
    """Only what is wanted is started, killed or paused, only what is not is stopped; Consul lists what may serve."""
    host = Host()
    for event, seconds in events:
        happen(host, event)
        before = host.unit
        verdict = host.turn(seconds)
        verb = verdict.step.verb if verdict.step else None
        assert verdict.state in STATES
        if host.wanted is None:
            assert verb in (None, "stop")
            assert not verdict.listed
        else:
            assert verb != "stop"
        if verb in ("kill", "pause"):
            assert (before.revision, before.active) in (("r1", "active"), ("r2", "active"), ("r1", "activating"),
                                                        ("r2", "activating"))  # fmt: skip
        if verb == "pause":
            assert not verdict.listed
        trying = verdict.state == "looping" and verdict.note.startswith("crashed before")
        assert verdict.listed == (trying or verdict.state in ("starting", "running", "failed"))


@given(EVENTS)
def test_there_are_never_two_steps_at_once(events: list[tuple[str, float]]) -> None:
    """Where a step has been carried out and nothing else happened, the next look finds nothing to do.

    But a kill ends a process, and that may be the end that makes a crash loop.
    """
    host = Host()
    for event, seconds in events:
        happen(host, event)
        verdict = host.turn(seconds)
        if verdict.step:
            after = host.turn(0.0).step
            assert after is None or (verdict.step.verb, after.verb) == ("kill", "pause")
            assert host.turn(0.0).step is None


@given(EVENTS)
def test_what_runs_and_passes_is_never_touched(events: list[tuple[str, float]]) -> None:
    """Whatever happened before: a wanted instance that runs, passes and has not ended is left alone, for hours."""
    host = Host()
    for event, seconds in events:
        happen(host, event)
        host.turn(seconds)
    host.wanted = spec()
    for _ in range(1000):
        if host.unit == replace(host.unit, revision="r1", active="active"):
            break
        host.turn()
    if host.memory.paused_until is None or host.at >= host.memory.paused_until:
        host.passing = True
        host.said.clear()
        seen = host.turns(3600, 10.0)
        assert host.said == []
        assert {(v.state, v.listed) for v in seen} == {("running", True)}


@given(EVENTS)
def test_what_is_wanted_comes_about(events: list[tuple[str, float]]) -> None:
    """After any history, a service that is wanted and well comes to run, and one that is not is gone."""
    host = Host()
    for event, seconds in events:
        happen(host, event)
        host.turn(seconds)
    if host.unit.active == "activating":
        host.unit = replace(host.unit, active="active")
    for _ in range(round(LONGEST_PAUSE) + 10):
        verdict = host.turn()
        host.passing = (host.unit.active == "active") if verdict.listed else None
    if host.wanted is None:
        assert (host.unit.active, host.unit.revision, verdict.state) == ("inactive", None, "stopped")
    else:
        assert (host.unit.active, host.unit.revision, verdict.state) == ("active", host.wanted["revision"], "running")
