"""The catalogue of faults: every entry whole and of one mind with fault.sh; arguments checked at the door."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.core.errors import InputError
from fabfile.drills.course import fault_protocol
from fabfile.drills.faults.catalogue import FAULTS, LONGEST, arguments, fault_named, role_of, script_arguments, unit_of
from fabfile.drills.faults.model import Argument, Fault
from fabfile.drills.faults.promises import PROMISES
from tests.support.fault_host import FAULT

SCRIPT = FAULT.read_text()
EVERY = [pytest.param(fault, id=name) for name, fault in FAULTS.items()]
ASKED_FOR = {
    "kill-service", "hang-service", "kill-agent", "kill-consul", "kill-primary", "freeze-primary", "stop-host",
    "partition", "packet-loss", "latency", "fill-disk", "burn-cpu", "eat-memory", "skew-clock", "stop-docker",
    "corrupt-config",
}  # fmt: skip


def test_nothing_that_was_asked_for_is_missing() -> None:
    """Issue 6 names these faults."""
    assert FAULTS.keys() >= ASKED_FOR


@pytest.mark.parametrize("fault", EVERY)
def test_each_fault_explains_itself(fault: Fault) -> None:
    """A kebab name, a line each for what it does and what is measured, a promise, and a meaning for each argument."""
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", fault.name)
    for line in (fault.does, fault.measures, *(a.meaning for a in fault.arguments)):
        assert 0 < len(line) <= 120
        assert "\n" not in line
    assert fault.does.endswith(".")
    assert fault.measures.endswith(".")
    assert PROMISES[fault.promise].text


@pytest.mark.parametrize("fault", EVERY)
def test_each_default_is_allowed(fault: Fault) -> None:
    """What is meant when nothing is said passes the same checks as what is said."""
    assert list(arguments(fault, {})) == [a.name for a in fault.arguments]
    assert fault.target.partition(":")[0] in fault.words


@pytest.mark.parametrize("fault", EVERY)
def test_the_undo_never_looks_like_a_recovery(fault: Fault) -> None:
    """The host's own undo comes later than the promised recovery, or than the time for which the fault is held."""
    promised = PROMISES[fault.promise].recover_s
    assert promised is not None
    assert (fault.hold if fault.recovery == "steady_after" else promised) * 2 <= fault.ttl <= LONGEST


@pytest.mark.parametrize("fault", EVERY)
def test_a_fault_that_stays_by_design_is_never_in_place(fault: Fault) -> None:
    """`in_place` is for what comes back at once: steady by itself, and something to lose."""
    assert not fault.in_place or (fault.recovery == "steady" and fault.loses)
    assert fault.unit is not None or fault.detection != "unit_restarted"


@pytest.mark.parametrize("fault", EVERY)
def test_the_script_knows_the_fault_and_its_choices(fault: Fault) -> None:
    """Each name, choice and range stands in fault.sh, too: neither side takes what the other refuses."""
    assert re.search(rf"(^|[ |]){re.escape(fault.name)}( \||\)| )", SCRIPT, re.MULTILINE)
    for argument in fault.arguments:
        assert all(re.search(rf"[ |(']{re.escape(c)}[ |)']", SCRIPT) or f" {c} " in SCRIPT for c in argument.choices)
        if argument.low is not None:
            assert re.search(rf"within .*{argument.name}.* {max(argument.low, 1)} {argument.high}\b", SCRIPT)
    assert f'within seconds "$ttl" 1 {LONGEST}' in SCRIPT


def test_an_unknown_fault_names_the_nearest() -> None:
    """A slip of the finger is answered with what was meant."""
    with pytest.raises(InputError, match="did you mean kill-service"):
        fault_named("kill-servce")
    assert fault_named("kill-service").name == "kill-service"


def test_all_wrong_arguments_are_told_at_once() -> None:
    """An unknown name with its nearest, and each value with what is due."""
    with pytest.raises(InputError) as told:
        arguments(FAULTS["partition"], {"wey": "both", "way": "up"})
    assert told.value.faults == (
        "wey: partition has no such argument; did you mean way?",
        "way: up is not one of both, in, out, udp",
    )
    with pytest.raises(InputError, match="kill-consul has no such argument; it has none"):
        arguments(FAULTS["kill-consul"], {"x": "1"})


@pytest.mark.parametrize(
    ("name", "argument", "good", "bad"),
    [
        ("packet-loss", "percent", ["1", "100"], ["0", "101", "-1", "1.5", "07", "1e2", "", "٣", "1 "]),
        ("burn-cpu", "cores", ["all", "1", "256"], ["0", "257", "ALL"]),
        ("skew-clock", "seconds", ["60", "-60", "86400", "-86400"], ["0", "-0", "86401", "+60", "--6"]),
        ("stop-host", "way-back", ["none", "reboot"], ["1", "yes"]),
        ("corrupt-config", "path", ["/etc/nexus/worker.json"], ["/etc/passwd", "/etc/nexus/../passwd"]),
    ],
)  # fmt: skip
def test_arguments_are_checked(name: str, argument: str, good: list[str], bad: list[str]) -> None:
    """Choices and plain whole numbers in their range pass, nothing else."""
    for value in good:
        assert arguments(FAULTS[name], {argument: value})[argument] == value
    for value in bad:
        with pytest.raises(InputError, match=rf"^{argument}: "):
            arguments(FAULTS[name], {argument: value})


@given(st.sampled_from([a for f in FAULTS.values() for a in f.arguments]), st.text(max_size=12))
def test_what_passes_is_safe_for_the_hosts_door(argument: Argument, value: str) -> None:
    """Whatever an argument takes, the script's own door takes."""
    assert not argument.takes(value) or re.fullmatch(r"[A-Za-z0-9._:/-]+", value)


def test_what_is_due_is_told_in_words() -> None:
    """The refusal says the choices, the range and the unit."""
    due = {a.name: a.due for f in FAULTS.values() for a in f.arguments}
    assert due["percent"] == "a whole number from 1 to 100 (%)"
    assert due["cores"] == "all or a whole number from 1 to 256"
    assert due["seconds"] == "a whole number from -86400 to 86400 (seconds), not 0"


def test_words_unit_and_role_follow_from_the_values() -> None:
    """What the script is told, what is watched, and who can be hit are functions of fault, values and target."""
    service, agent, cut, config = (FAULTS[n] for n in ("kill-service", "kill-agent", "partition", "corrupt-config"))
    assert script_arguments(service, {}, "web") == ("web",)
    assert script_arguments(cut, {"way": "in"}, None, ("10.0.0.1", "10.0.0.2")) == ("in", "10.0.0.1", "10.0.0.2")
    assert script_arguments(cut, {"way": "in"}, "web", ("10.0.0.1",)) == ("in", "10.0.0.1")
    assert unit_of(service, {}, "web") == "nexus-svc-web.service"
    assert unit_of(agent, {"agent": "nexus-balancer"}) == "nexus-balancer.service"
    assert unit_of(cut, {"way": "in"}) is None
    assert role_of(agent, {"agent": "nexus-balancer"}) == "loadbalancer"
    assert role_of(config, {"path": "/etc/consul.d/consul.hcl"}) is None
    assert role_of(config, {"path": "/etc/nexus/orchestrator.json"}) == "manager"
    assert role_of(FAULTS["stop-docker"], {}) == "worker"


def test_the_hosts_answers_are_read() -> None:
    """The last line that is an answer counts; a host that said none has said nothing."""
    assert fault_protocol.answer(b"noise\nrefused it is not so\n") == fault_protocol.Answer("refused", "it is not so")
    assert fault_protocol.answer(b"armed\n") == fault_protocol.Answer("armed")
    assert fault_protocol.answer(b"") == fault_protocol.Answer("nothing", "the host gave no answer")
    assert [fault_protocol.Answer(w).bad for w in ("armed", "failed", "refused", "nothing")] == [False, True, True, True]
    assert fault_protocol.left(b"left a1 partition injected -7\nleft b2 - orphan 0\nleft broken\n") == (
        fault_protocol.LeftoverFault("a1", "partition", "injected", -7),
        fault_protocol.LeftoverFault("b2", "-", "orphan", 0),
    )  # fmt: skip
    assert fault_protocol.argv("list") == ["sh", "-s", "--", "", "list"]
    assert fault_protocol.arm_argv("a1", "partition", 60, ["in"])[3:] == [
        "nexus-fault",
        "",
        "arm",
        "a1",
        "partition",
        "60",
        "in",
    ]
