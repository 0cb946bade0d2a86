"""A drill's plan, what it makes of what it sees, when it stops, and how it is judged. No host, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from fabfile.core.config.services import parse
from fabfile.core.errors import InputError, Refused
from fabfile.core.judge.service_health import ServicesHealth
from fabfile.drills.course.conclude import _judged
from fabfile.drills.course.drill import DrillRun
from fabfile.drills.course.load import Sample
from fabfile.drills.course.plan import MARGIN, Plan
from fabfile.drills.course.prober import Observation, not_steady
from fabfile.drills.faults.catalogue import FAULTS
from fabfile.drills.faults.gameday import ORDER, chosen
from fabfile.drills.verdict.record import Requests
from tests.support.drill_cluster import ALIVE, CLUSTER, SCENE, WELL, plan, service, services_health


def run(of: Plan) -> DrillRun:
    return DrillRun(CLUSTER, of, lambda *_: None, began=100.0)


def seen(at: float, now: ServicesHealth = WELL, watched: Mapping[str, str] | None = None, **dead: bool) -> Observation:
    """An answer `at` seconds since the drill began, asked a tenth before; `w1=False`: w1 is not alive."""
    return Observation(100 + at - 0.1, 100 + at, True, {**ALIVE, **dead}, now, watched or {})


def mark_injected(of: Plan, *after: Observation, before: Observation | None = None, at: float = 2.0) -> DrillRun:
    made = run(of)
    made.observe(before or seen(1))
    made.mark_injected(at)
    for one in after:
        made.observe(one)
    return made


UP = {"w2": "ActiveState=active\nMainPID=7\nNRestarts=0"}
DOWN = {"w2": "ActiveState=activating\nMainPID=0\nNRestarts=1"}
AGAIN = {"w2": "ActiveState=active\nMainPID=9\nNRestarts=1"}


def test_a_plan_says_whom_what_for_how_long_and_where_requests_go() -> None:
    """Of the service that is hit, if it has a domain; else of the one with most instances; by the balancer."""
    made = plan("kill-service", "service:web@w1")
    assert (made.target.hosts, made.target.service, made.version) == (("w1",), "web", "1.22")
    assert made.load_target is not None
    assert (made.load_target.address, made.load_target.domain) == (CLUSTER.host("lb1").ssh, "web.test")
    assert made.watch[-1] == "nexus-svc-web.service"
    assert made.room == {"api": 2, "web": 2}
    other = plan("kill-service", "service:api")
    assert other.load_target is not None
    assert other.load_target.domain == "web.test"


def test_without_requests_nothing_is_promised_of_them() -> None:
    """What is not measured cannot be kept; the promise says why."""
    made = plan("kill-consul", "w1", load=False)
    assert made.load_target is None
    assert made.expectation.promise.failed_requests is None
    assert "requests are not measured: --no-load" in made.expectation.promise.text
    closed = replace(SCENE, services=parse("services:\n  web: {command: [web], port: 8080}\n", Path("services.yml")))
    assert "no service has a domain" in plan("kill-consul", "w1", closed).expectation.promise.text


@pytest.mark.parametrize(("name", "least"), [("kill-service", 10 + MARGIN), ("burn-cpu", 30 + MARGIN)])
def test_a_ttl_leaves_time_to_measure(name: str, least: int) -> None:
    """Longer than the promise or the hold; the refusal says from when to when."""
    assert plan(name, ttl=least).ttl == least
    for wrong in (0, least - 1, 3601):
        with pytest.raises(InputError, match=f"needs from {least} to 3600"):
            plan(name, ttl=wrong)


def test_too_much_needs_a_reason() -> None:
    """The quorum's loss is refused; with --force it is done, and the reason is kept."""
    with pytest.raises(Refused, match="quorum would go"):
        plan("partition", "majority")
    made = plan("partition", "majority", force="to see it")
    assert made.reasons
    assert made.forced == "to see it"
    assert made.hold == 20


def test_docker_is_stopped_where_a_container_runs() -> None:
    """By default the service that has an image; where none has, there is nothing to show."""
    assert plan("stop-docker").target.service == "api"
    bare = replace(SCENE, services=parse("services:\n  web: {command: [web], port: 8080}\n", Path("services.yml")))
    with pytest.raises(Refused, match="no service runs in a container"):
        plan("stop-docker", snapshot=bare)


def test_a_killed_process_is_back_when_its_unit_is_active_again() -> None:
    """Observation by its main process, from the fault on; the error is the time since the look before was asked."""
    made = mark_injected(plan("kill-service", "service:api"), seen(2.5, watched=DOWN), seen(3.0, watched=AGAIN),
                before=seen(1, watched=UP))  # fmt: skip
    assert (made.detected, made.recovered) == (0.5, 1.0)
    assert made.error_s == 1.6
    assert [m.kind for m in made.moments] == ["fault", "detected", "recovered"]


def test_a_look_that_was_asked_before_the_fault_says_nothing() -> None:
    """Its answer may be of before, even if it came later."""
    late = Observation(101.95, 102.3, True, ALIVE, WELL, AGAIN)
    made = mark_injected(plan("kill-service", "service:api"), late, before=seen(1, watched=UP))
    assert made.detected is None


def test_all_well_because_nobody_has_looked_is_no_recovery() -> None:
    """A hung instance passes until its check has failed."""
    made = mark_injected(plan("hang-service", "service:web@w1"), seen(2.5), seen(3))
    assert (made.detected, made.recovered) == (None, None)
    made.observe(seen(5, services_health(service("api", 1, "w2"), service("web", 3, "m1", "-w1", "w2"))))
    assert (made.detected, made.recovered) == (3.0, None)
    made.observe(seen(9))
    assert made.recovered == 7.0


def test_a_lost_host_is_made_up_for_as_far_as_there_is_room() -> None:
    """Three are wanted and two hosts are left: two are enough; of one that is wanted, one."""
    gone = services_health(service("api", 1), service("web", 3, "m1", "-w2", "w1"))
    elsewhere = services_health(service("api", 1, "w1"), service("web", 3, "m1", "w1"))
    made = mark_injected(plan("stop-host", "w2", force="x"), seen(4, gone, w2=False), seen(6, elsewhere, w2=False))
    assert (made.detected, made.recovered) == (2.0, 4.0)


def test_a_new_primary_is_seen_by_its_epoch() -> None:
    """The same host in the same epoch is the old one; whoever has a newer one acts."""
    made = mark_injected(plan("freeze-primary"), seen(3), seen(4, replace(WELL, primary=None)))
    assert made.detected is None
    made.observe(seen(9, replace(WELL, primary="m2", epoch=4)))
    assert (made.detected, made.recovered) == (7.0, 7.0)
    assert [(p.host, p.epoch) for p in made.primaries] == [("m1", 3), ("m2", 4)]
    assert made.primaries[0].at_s <= 0


def test_a_fault_that_is_held_is_judged_after_its_undo() -> None:
    """However well all seems before; and only by a look that was asked after the undo."""
    made = mark_injected(plan("burn-cpu", "w1"), seen(3), seen(30))
    assert made.recovered is None
    made.mark_healed(32.0)
    made.observe(seen(32.05))
    assert made.recovered is None
    made.observe(seen(33))
    assert made.recovered == 1.0
    assert made.limit == 30


def test_a_changed_file_must_be_as_it_was() -> None:
    """Observation by its sum; what is whole but another is not recovered."""
    made = mark_injected(
        plan("corrupt-config", "w1"), seen(2.5, watched={"w1": "bad"}), before=seen(1, watched={"w1": "good"})
    )
    assert made.detected == 0.5
    made.mark_healed(20.0)
    made.observe(seen(21, watched={"w1": "other"}))
    assert made.recovered is None
    made.observe(seen(22, watched={"w1": "good"}))
    assert made.recovered == 2.0


def test_it_stops_when_users_suffer_or_another_host_is_lost() -> None:
    """More than half of ten seconds' requests, and 20; or three looks without a host that is not the target."""
    failing = [Sample(5 + n / 20, 1.0, n % 4 == 0) for n in range(60)]
    made = mark_injected(plan("kill-consul", "w1"), seen(3))
    assert "45 of the last 60 requests failed" in made.stop_reason(8.0, failing)
    assert made.stop_reason(30.0, failing) == ""
    assert mark_injected(plan("kill-balancer"), seen(3)).stop_reason(8.0, failing) == ""
    made = mark_injected(plan("kill-consul", "w1"), *(seen(n, w2=False) for n in (3, 4)))
    assert made.stop_reason(5.0, []) == ""
    made.observe(seen(5, w2=False))
    assert made.stop_reason(5.0, []) == "w2 is not the target, and is lost"
    assert mark_injected(plan("kill-consul", "w1"), *(seen(n, w1=False) for n in (3, 4, 5))).stop_reason(6.0, []) == ""


def test_what_is_not_steady_is_said_host_by_host() -> None:
    """Hosts, primary, services; without any answer that is all there is to say."""
    ill = services_health(service("web", 3, "m1", "-w1"), primary=None)
    assert not_steady(seen(1, ill, w1=False), CLUSTER) == ("w1 is not alive", "nobody is primary", "web has 1 of 3 passing")
    assert not_steady(Observation(0, 1, why="gone"), CLUSTER) == ("no manager answers (gone)",)
    assert not_steady(seen(1, w1=False), CLUSTER, ("w1",)) == ()


def judged(made: DrillRun, findings: tuple[str, ...] | None = None, broken: tuple[str, ...] = ()) -> tuple[str, str]:
    return _judged(made, Requests(), (), findings, broken)


def test_what_goes_before_what_in_a_verdict() -> None:
    """Two primaries, then an undo that failed, then a drill that was broken off, then the numbers."""
    made = mark_injected(plan("kill-service", "service:api", load=False), seen(2.5, watched=DOWN), seen(3.0, watched=AGAIN),
                before=seen(1, watched=UP))  # fmt: skip
    made.mark_healed(3.2)
    assert judged(made)[0] == "PASS"
    assert judged(made, broken=("the probes ended",))[0] == "UNKNOWN"
    made.aborted = "interrupted by the operator"
    assert judged(made) == ("ABORTED", "Interrupted by the operator.")
    made.troubles.append("the undo failed on w2")
    assert judged(made) == ("FAIL", "The undo failed on w2.")
    verdict, why = judged(made, ("m1 and m2 at once",))
    assert verdict == "FAIL"
    assert "m1 and m2 at once" in why
    assert "the undo failed" in why


def test_what_was_never_seen_is_a_fail() -> None:
    """Not a zero, and not unknown: the probes were there."""
    made = mark_injected(plan("kill-service", "service:api", load=False), *(seen(n, watched=UP) for n in range(3, 33)),
                before=seen(1, watched=UP))  # fmt: skip
    made.mark_healed(32.5)
    assert judged(made)[0] == "FAIL"
    assert "never seen" in judged(made)[1]


def test_a_gameday_is_chosen_by_names_and_rounds() -> None:
    """In its own order; an unknown name, an empty rest and a wild number are refused with the way out."""
    assert [e.fault for e in chosen(["stop-host", "kill-service"], [], 1)] == ["kill-service", "stop-host", "stop-host"]
    assert len(chosen([], ["stop-host"], 2)) == 2 * (len(ORDER) - 2)
    assert {e.fault for e in ORDER} == set(FAULTS)
    for only, skip, repeat, why in (
        (["kill-servise"], [], 1, "nearest|kill-service"), (["kill-service"], ["kill-service"], 1, "leave no drill"),
        ([], [], 0, "--repeat 0"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=why):
            chosen(only, skip, repeat)
