"""A drill's plan, what it makes of what it sees, when it stops, and how it is judged. No host, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from fabfile.core.config.services import parse
from fabfile.core.errors import InputError, Refused
from fabfile.core.judge.service_health import ServicesHealth
from fabfile.drills.course.conclude import _verdict
from fabfile.drills.course.drill import DrillRun
from fabfile.drills.course.load import RequestSample
from fabfile.drills.course.plan import UNDO_MARGIN, DrillPlan
from fabfile.drills.course.prober import Observation, not_steady
from fabfile.drills.faults.catalogue import FAULTS
from fabfile.drills.faults.gameday import SCHEDULE, chosen
from fabfile.drills.verdict.record import Requests
from tests.support.drill_cluster import ALIVE, CLUSTER, SNAPSHOT, WELL, plan, service, services_health


def run_of(plan: DrillPlan) -> DrillRun:
    return DrillRun(CLUSTER, plan, lambda *_: None, began=100.0)


def seen(
    at: float, now: ServicesHealth = WELL, watch_output: Mapping[str, str] | None = None, **dead: bool
) -> Observation:
    """An answer `at` seconds since the drill began, asked a tenth before; `w1=False`: w1 is not alive."""
    return Observation(100 + at - 0.1, 100 + at, True, {**ALIVE, **dead}, now, watch_output or {})


def injected(plan: DrillPlan, *after: Observation, baseline: Observation | None = None, at: float = 2.0) -> DrillRun:
    """A run whose fault came at `at`, with the observations `after` it."""
    made = run_of(plan)
    made.observe(baseline or seen(1))
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
    assert made.watch_command[-1] == "nexus-svc-web.service"
    assert made.capacity_elsewhere == {"api": 2, "web": 2}
    other = plan("kill-service", "service:api")
    assert other.load_target is not None
    assert other.load_target.domain == "web.test"


def test_without_requests_nothing_is_promised_of_them() -> None:
    """What is not measured cannot be kept; the promise says why."""
    made = plan("kill-consul", "w1", load=False)
    assert made.load_target is None
    assert made.expectation.promise.failed_requests is None
    assert "requests are not measured: --no-load" in made.expectation.promise.text
    closed = replace(SNAPSHOT, services=parse("services:\n  web: {command: [web], port: 8080}\n", Path("services.yml")))
    assert "no service has a domain" in plan("kill-consul", "w1", closed).expectation.promise.text


@pytest.mark.parametrize(("name", "minimum"), [("kill-service", 10 + UNDO_MARGIN), ("burn-cpu", 30 + UNDO_MARGIN)])
def test_a_ttl_leaves_time_to_measure(name: str, minimum: int) -> None:
    """Longer than the promise or the hold; the refusal says from when to when."""
    assert plan(name, ttl=minimum).ttl == minimum
    for wrong in (0, minimum - 1, 3601):
        with pytest.raises(InputError, match=f"needs from {minimum} to 3600"):
            plan(name, ttl=wrong)


def test_too_much_needs_a_reason() -> None:
    """The quorum's loss is refused; with --force it is done, and the reason is kept."""
    with pytest.raises(Refused, match="quorum would go"):
        plan("partition", "majority")
    made = plan("partition", "majority", force="to see it")
    assert made.refusal_reasons
    assert made.forced == "to see it"
    assert made.hold == 20


def test_docker_is_stopped_where_a_container_runs() -> None:
    """By default the service that has an image; where none has, there is nothing to show."""
    assert plan("stop-docker").target.service == "api"
    bare = replace(SNAPSHOT, services=parse("services:\n  web: {command: [web], port: 8080}\n", Path("services.yml")))
    with pytest.raises(Refused, match="no service runs in a container"):
        plan("stop-docker", snapshot=bare)


def test_a_killed_process_is_back_when_its_unit_is_active_again() -> None:
    """Seen by its main process, from the fault on; the error is the time since the probe before it was asked."""
    made = injected(
        plan("kill-service", "service:api"), seen(2.5, watch_output=DOWN), seen(3.0, watch_output=AGAIN),
        baseline=seen(1, watch_output=UP),
    )  # fmt: skip
    assert (made.detected_s, made.recovered_s) == (0.5, 1.0)
    assert made.error_s == 1.6
    assert [m.kind for m in made.moments] == ["fault", "detected", "recovered"]


def test_a_look_that_was_asked_before_the_fault_says_nothing() -> None:
    """Its answer may be of before, even if it came later."""
    late = Observation(101.95, 102.3, True, ALIVE, WELL, AGAIN)
    made = injected(plan("kill-service", "service:api"), late, baseline=seen(1, watch_output=UP))
    assert made.detected_s is None


def test_all_well_because_nobody_has_looked_is_no_recovery() -> None:
    """A hung instance passes until its check has failed."""
    made = injected(plan("hang-service", "service:web@w1"), seen(2.5), seen(3))
    assert (made.detected_s, made.recovered_s) == (None, None)
    made.observe(seen(5, services_health(service("api", 1, "w2"), service("web", 3, "m1", "-w1", "w2"))))
    assert (made.detected_s, made.recovered_s) == (3.0, None)
    made.observe(seen(9))
    assert made.recovered_s == 7.0


def test_a_lost_host_is_made_up_for_as_far_as_there_is_room() -> None:
    """Three are wanted and two hosts are left: two are enough; of one that is wanted, one."""
    gone = services_health(service("api", 1), service("web", 3, "m1", "-w2", "w1"))
    elsewhere = services_health(service("api", 1, "w1"), service("web", 3, "m1", "w1"))
    made = injected(plan("stop-host", "w2", force="x"), seen(4, gone, w2=False), seen(6, elsewhere, w2=False))
    assert (made.detected_s, made.recovered_s) == (2.0, 4.0)


def test_a_new_primary_is_seen_by_its_epoch() -> None:
    """The same host in the same epoch is the old one; whoever has a newer one acts."""
    made = injected(plan("freeze-primary"), seen(3), seen(4, replace(WELL, primary=None)))
    assert made.detected_s is None
    made.observe(seen(9, replace(WELL, primary="m2", epoch=4)))
    assert (made.detected_s, made.recovered_s) == (7.0, 7.0)
    assert [(p.host, p.epoch) for p in made.primaries] == [("m1", 3), ("m2", 4)]
    assert made.primaries[0].at_s <= 0


def test_a_fault_that_is_held_is_judged_after_its_undo() -> None:
    """However well all seems before; and only by a look that was asked after the undo."""
    made = injected(plan("burn-cpu", "w1"), seen(3), seen(30))
    assert made.recovered_s is None
    made.mark_healed(32.0)
    made.observe(seen(32.05))
    assert made.recovered_s is None
    made.observe(seen(33))
    assert made.recovered_s == 1.0
    assert made.max_fault_s == 30


def test_a_changed_file_must_be_as_it_was() -> None:
    """Seen by its sum; a file that is whole but another one is not recovered, and neither is a process that was replaced."""
    made = injected(
        plan("corrupt-config", "w1"), seen(2.5, watch_output={"w1": "bad"}), baseline=seen(1, watch_output={"w1": "good"})
    )
    assert made.detected_s == 0.5
    assert made.plan.watch_command[-2:] == ("/etc/consul.d/consul.hcl", "consul.service")
    shown = ("sha256sum \"$1\"", "systemctl show -p MainPID \"$2\"")
    assert all(part in made.plan.watch_command[2] for part in shown)
    made.mark_healed(20.0)
    made.observe(seen(21, watch_output={"w1": "other"}))
    assert made.recovered_s is None
    made.observe(seen(22, watch_output={"w1": "good"}))
    assert made.recovered_s == 2.0


def test_it_stops_when_users_suffer_or_another_host_is_lost() -> None:
    """More than half of ten seconds' requests, and 20; or three looks without a host that is not the target."""
    failing = [RequestSample(5 + n / 20, 1.0, n % 4 == 0) for n in range(60)]
    made = injected(plan("kill-consul", "w1"), seen(3))
    assert "45 of the last 60 requests failed" in made.stop_reason(8.0, failing)
    assert made.stop_reason(30.0, failing) == ""
    assert injected(plan("kill-balancer"), seen(3)).stop_reason(8.0, failing) == ""
    made = injected(plan("kill-consul", "w1"), *(seen(n, w2=False) for n in (3, 4)))
    assert made.stop_reason(5.0, []) == ""
    made.observe(seen(5, w2=False))
    assert made.stop_reason(5.0, []) == "w2 is not the target, and is lost"
    assert injected(plan("kill-consul", "w1"), *(seen(n, w1=False) for n in (3, 4, 5))).stop_reason(6.0, []) == ""


def test_what_is_not_steady_is_said_host_by_host() -> None:
    """Hosts, primary, services; without any answer that is all there is to say."""
    ill = services_health(service("web", 3, "m1", "-w1"), primary=None)
    assert not_steady(seen(1, ill, w1=False), CLUSTER) == ("w1 is not alive", "nobody is primary", "web has 1 of 3 passing")
    assert not_steady(Observation(0, 1, why_incomplete="gone"), CLUSTER) == ("no manager answers (gone)",)
    assert not_steady(seen(1, w1=False), CLUSTER, ("w1",)) == ()


def verdict_of(
    made: DrillRun, findings: tuple[str, ...] | None = None, known_errors: tuple[str, ...] = ()
) -> tuple[str, str]:
    return _verdict(made, Requests(), (), findings, known_errors)


def test_what_goes_before_what_in_a_verdict() -> None:
    """Two primaries, then an undo that failed, then a drill that was broken off, then the numbers."""
    made = injected(
        plan("kill-service", "service:api", load=False), seen(2.5, watch_output=DOWN), seen(3.0, watch_output=AGAIN),
        baseline=seen(1, watch_output=UP),
    )  # fmt: skip
    made.mark_healed(3.2)
    assert verdict_of(made)[0] == "PASS"
    assert verdict_of(made, known_errors=("the probes ended",))[0] == "UNKNOWN"
    made.abort_reason = "interrupted by the operator"
    assert verdict_of(made) == ("ABORTED", "Interrupted by the operator.")
    made.problems.append("the undo failed on w2")
    assert verdict_of(made) == ("FAIL", "The undo failed on w2.")
    verdict, why = verdict_of(made, ("m1 and m2 at once",))
    assert verdict == "FAIL"
    assert "m1 and m2 at once" in why
    assert "the undo failed" in why


def test_what_was_never_seen_is_a_fail() -> None:
    """Not a zero, and not unknown: the probes were there."""
    made = injected(
        plan("kill-service", "service:api", load=False), *(seen(n, watch_output=UP) for n in range(3, 33)),
        baseline=seen(1, watch_output=UP),
    )  # fmt: skip
    made.mark_healed(32.5)
    assert verdict_of(made)[0] == "FAIL"
    assert "never seen" in verdict_of(made)[1]


def test_a_power_cut_is_a_plan_that_only_the_engine_can_carry_out() -> None:
    """A host that restarts by itself needs nobody to give its power back; other faults cut none."""
    assert plan("stop-host", "w1").cuts_power
    assert not plan("stop-host", "w1", values={"way-back": "reboot"}).cuts_power
    assert not [name for name in FAULTS if name != "stop-host" and plan(name).cuts_power]


def test_a_gameday_goes_from_one_process_to_one_host_to_many() -> None:
    """What fails early explains what fails late; each fault has a place of its own in the order."""
    assert [drill.title for drill in SCHEDULE] == [
        "kill-service", "hang-service", "kill-agent", "kill-balancer", "kill-consul", "kill-consul on raft-leader",
        "corrupt-config", "burn-cpu", "eat-memory", "fill-disk", "skew-clock", "packet-loss", "latency", "stop-docker",
        "stop-primary", "kill-primary", "freeze-primary", "partition on one", "partition on one way udp",
        "partition on minority", "stop-host", "stop-host on primary",
    ]  # fmt: skip
    assert len({fault.gameday_position for fault in FAULTS.values()}) == len(FAULTS)


def test_a_gameday_is_chosen_by_names_and_rounds() -> None:
    """In its own order; an unknown name, an empty rest and a wild number are refused with the way out."""
    assert [e.fault for e in chosen(["stop-host", "kill-service"], [], 1)] == ["kill-service", "stop-host", "stop-host"]
    assert len(chosen([], ["stop-host"], 2)) == 2 * (len(SCHEDULE) - 2)
    assert {e.fault for e in SCHEDULE} == set(FAULTS)
    for only, skip, repeat, why in (
        (["kill-servise"], [], 1, "nearest|kill-service"), (["kill-service"], ["kill-service"], 1, "leave no drill"),
        ([], [], 0, "--repeat 0"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=why):
            chosen(only, skip, repeat)
