"""The table of promises: complete, as the design has it, chosen by the target, and only ever tightened."""

from __future__ import annotations

import pytest

from fabfile.core.errors import InputError
from fabfile.drills.faults.catalogue import FAULTS
from fabfile.drills.faults.promises import PROMISES, expectation_for, tightened
from fabfile.drills.faults.targets import Target
from tests.support.drill_cluster import CLUSTER


def of(fault: str, *hosts: str, primary: str | None = "m1") -> tuple[str, str, str]:
    found = expectation_for(FAULTS[fault], Target(hosts, None, ""), CLUSTER, primary)
    assert found.promise == PROMISES[found.key]
    return found.key, found.detection, found.recovery


@pytest.mark.parametrize(
    ("key", "detect", "recover", "failed"),
    [
        ("kill-service", None, 10, None), ("hang-service", None, 30, None), ("stop-host", None, 30, 0),
        ("stop-primary", None, 2, None), ("kill-primary", None, 5, None), ("freeze-primary", None, 10, None),
        ("stop-host-primary", 15, 30, 0), ("kill-consul", None, 10, 0), ("kill-agent", None, 10, 0),
    ],
)  # fmt: skip
def test_the_designs_numbers_are_in_the_table(key: str, detect: float | None, recover: float, failed: int | None) -> None:
    """The column "we promise": the goal of the whole project."""
    found = PROMISES[key]
    assert (found.detect_s, found.recover_s, found.failed_requests) == (detect, recover, failed)


def test_each_promise_is_told_and_used() -> None:
    """Every fault has one, every one has a sentence and a time, and none is left over."""
    keys = set(FAULTS) | {f"{name}-{what}" for name in ("stop-host", "partition") for what in ("primary", "quorum")}
    keys |= {"partition-udp", *(f"corrupt-config-{agent}" for agent in ("worker", "orchestrator", "balancer"))}
    assert set(PROMISES) == keys
    for promise in PROMISES.values():
        assert promise.text
        assert promise.recover_s is not None
        assert promise.detect_s is None or promise.detect_s <= promise.recover_s


def test_the_sentence_and_the_numbers_agree() -> None:
    """Every number of seconds in the sentence is one of the numbers that the verdict goes by, and the other way round."""
    for key, promise in PROMISES.items():
        for number in (promise.recover_s, promise.detect_s):
            assert number is None or f"{number:g} s" in promise.text, key


@pytest.mark.parametrize("fault", ["stop-host", "partition"])
def test_a_lost_host_is_held_to_what_it_was(fault: str) -> None:
    """An ordinary host, the primary's, the managers' majority: three promises."""
    assert of(fault, "w1") == (fault, "member_failed", "steady_elsewhere")
    assert of(fault, "m2") == (fault, "member_failed", "steady_elsewhere")
    assert of(fault, "m1") == (f"{fault}-primary", "primary_changed", "steady_elsewhere")
    assert of(fault, "m1", primary=None) == (fault, "member_failed", "steady_elsewhere")
    assert of(fault, "m1", "m2") == (f"{fault}-quorum", "member_failed", "steady_after")
    assert of(fault, "m2", "m3") == (f"{fault}-quorum", "member_failed", "steady_after")


def test_other_faults_keep_their_one_promise() -> None:
    """Whatever the target, there is one promise for a killed process."""
    assert of("kill-consul", "m1", "m2") == ("kill-consul", "unit_restarted", "steady")


def test_an_operator_may_tighten() -> None:
    """A smaller number takes the place of ours, where we had none any does, and the sentence says so."""
    made = tightened(PROMISES, {"kill-service": {"recover_s": 4, "failed_requests": 0}, "stop-host": {"detect_s": 9.5}})
    assert (made["kill-service"].recover_s, made["kill-service"].failed_requests) == (4, 0)
    assert made["kill-service"].text == "back and passing in 10 s (tightened: recover_s 4, failed_requests 0)"
    assert made["stop-host"].detect_s == 9.5
    assert made["hang-service"] == PROMISES["hang-service"]
    assert tightened(PROMISES, {}) == PROMISES
    assert tightened(PROMISES, {"kill-service": {"recover_s": 10}})["kill-service"].recover_s == 10


@pytest.mark.parametrize(
    ("key", "name", "value", "why"),
    [
        ("kill-service", "recover_s", 11, "promises.kill-service.recover_s: 11 is looser than 10, which is promised"),
        ("stop-host", "failed_requests", 1, "promises.stop-host.failed_requests: 1 is looser than 0"),
        ("kill-servce", "recover_s", 1, "promises.kill-servce: nothing is promised of that; did you mean kill-service"),
        ("kill-service", "recovers", 1, "promises.kill-service.recovers: unknown key; did you mean recover_s?"),
        ("kill-service", "text", "x", "promises.kill-service.text: unknown key"),
        ("kill-service", "recover_s", None, "is not a number from 0 on"),
        ("kill-service", "recover_s", "5", "is not a number from 0 on"),
        ("kill-service", "recover_s", True, "is not a number from 0 on"),
        ("kill-service", "recover_s", -1, "is not a number from 0 on"),
        ("kill-service", "recover_s", float("nan"), "is not a number from 0 on"),
        ("kill-service", "recover_s", 0, "0 s cannot be kept by anybody"),
        ("kill-service", "failed_requests", 0.5, "is not a whole number from 0 on"),
    ],
)
def test_an_operator_may_not_loosen(key: str, name: str, value: object, why: str) -> None:
    """A looser number, or what is none, is refused by its place, with both numbers."""
    with pytest.raises(InputError) as told:
        tightened(PROMISES, {key: {name: value}})  # type: ignore[dict-item]
    assert why in told.value.message


def test_all_faults_are_told_at_once() -> None:
    """One run shows the operator all that is wrong."""
    with pytest.raises(InputError) as told:
        tightened(PROMISES, {"x": {"recover_s": 1}, "kill-service": {"recover_s": 11, "detect_s": -1}})
    assert len(told.value.faults) == 3


def test_gossip_alone_is_no_lost_host() -> None:
    """Cut off by UDP only, a host is taken for dead by nobody: the cut is held for a while, and judged after its undo."""
    found = expectation_for(FAULTS["partition"], Target(("m1",), None, ""), CLUSTER, "m1", values={"way": "udp"})
    assert (found.key, found.detection, found.recovery) == ("partition-udp", "none", "steady_after")
    assert (
        expectation_for(FAULTS["partition"], Target(("w1",), None, ""), CLUSTER, "m1", values={"way": "in"}).key
        == "partition"
    )
