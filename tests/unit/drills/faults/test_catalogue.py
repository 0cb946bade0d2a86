"""The catalogue of faults: every entry is whole and agrees with the script; arguments are checked first."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.core.errors import InputError
from fabfile.core.resources import SCRIPTS
from fabfile.core.state.left_faults import LeftoverFault
from fabfile.core.state.scripts import script
from fabfile.drills.course import fault_protocol
from fabfile.drills.faults.catalogue import (
    FAULTS,
    MAX_TTL,
    argument_values,
    fault_named,
    file_of,
    role_of,
    script_arguments,
    unit_of,
)
from fabfile.drills.faults.model import Argument, Fault
from fabfile.drills.faults.promises import PROMISES

# The text of each fault's shell file, found by the line `# faults: NAME WORD...; NAME WORD...` at its top.
CODE_OF = {
    entry.split()[0]: path.read_text()
    for path in (SCRIPTS / "fault").glob("*.sh")
    for line in path.read_text().splitlines() if line.startswith("# faults: ")
    for entry in line.removeprefix("# faults: ").split(";")
}  # fmt: skip
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
    assert PROMISES[fault.promise_key()].text


@pytest.mark.parametrize("fault", EVERY)
def test_each_default_is_allowed(fault: Fault) -> None:
    """What is meant when nothing is said passes the same checks as what is said."""
    assert list(argument_values(fault, {})) == [a.name for a in fault.arguments]
    assert fault.default_target.partition(":")[0] in fault.target_kinds


@pytest.mark.parametrize("fault", EVERY)
def test_the_undo_never_looks_like_a_recovery(fault: Fault) -> None:
    """The host's own undo comes later than the promised recovery, or than the time for which the fault is held."""
    promised = PROMISES[fault.promise_key()].recover_s
    assert promised is not None
    assert (fault.hold if fault.recovery == "steady_after" else promised) * 2 <= fault.ttl <= MAX_TTL


@pytest.mark.parametrize("fault", EVERY)
def test_a_fault_that_stays_by_design_is_never_in_place(fault: Fault) -> None:
    """`in_place` is for what comes back at once: steady by itself, and something to lose."""
    assert not fault.in_place or (fault.recovery == "steady" and fault.losses)
    assert fault.unit is not None or fault.detection != "unit_restarted"


def test_script_and_catalogue_have_the_same_faults() -> None:
    """Each fault is named at the top of one shell file, and no other is; both sides have the same longest time."""
    assert CODE_OF.keys() == FAULTS.keys()
    assert script("fault").count("# faults: ") == len(set(CODE_OF.values()))
    assert f'within seconds "$ttl" 1 {MAX_TTL}' in script("fault")


@pytest.mark.parametrize("fault", EVERY)
def test_the_script_knows_the_fault_and_its_choices(fault: Fault) -> None:
    """Each choice and range stands in the fault's shell file, too: neither side takes what the other refuses."""
    code = CODE_OF[fault.name]
    for argument in fault.arguments:
        assert all(re.search(rf"[ |(']{re.escape(c)}[ |)'\n]", code) for c in argument.choices)
        if argument.low is not None:
            assert re.search(rf"within .*{argument.name}.* {max(argument.low, 1)} {argument.high}\b", code)


def test_an_unknown_fault_names_the_nearest() -> None:
    """A slip of the finger is answered with what was meant."""
    with pytest.raises(InputError, match="did you mean kill-service"):
        fault_named("kill-servce")
    assert fault_named("kill-service").name == "kill-service"


def test_all_wrong_arguments_are_told_at_once() -> None:
    """An unknown name with its nearest, and each value with what is due."""
    with pytest.raises(InputError) as told:
        argument_values(FAULTS["partition"], {"wey": "both", "way": "up"})
    assert told.value.faults == (
        "wey: partition has no such argument; did you mean way?",
        "way: up is not one of both, in, out, udp",
    )
    with pytest.raises(InputError, match="kill-consul has no such argument; it has none"):
        argument_values(FAULTS["kill-consul"], {"x": "1"})


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
        assert argument_values(FAULTS[name], {argument: value})[argument] == value
    for value in bad:
        with pytest.raises(InputError, match=rf"^{argument}: "):
            argument_values(FAULTS[name], {argument: value})


@given(st.sampled_from([a for f in FAULTS.values() for a in f.arguments]), st.text(max_size=12))
def test_what_passes_is_safe_for_the_hosts_door(argument: Argument, value: str) -> None:
    """Whatever an argument takes, the script's own door takes."""
    assert not argument.accepts(value) or re.fullmatch(r"[A-Za-z0-9._:/-]+", value)


def test_what_is_due_is_told_in_words() -> None:
    """The refusal says the choices, the range and the unit."""
    due = {a.name: a.expected for f in FAULTS.values() for a in f.arguments}
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
    assert unit_of(config, {"path": "/etc/consul.d/consul.hcl"}) == "consul.service"
    assert unit_of(config, {"path": "/etc/nexus/balancer.json"}) == "nexus-balancer.service"
    assert file_of(config, {"path": "/etc/nexus/worker.json"}) == "/etc/nexus/worker.json"
    assert file_of(cut, {"way": "in"}) is None
    assert role_of(agent, {"agent": "nexus-balancer"}) == "loadbalancer"
    assert role_of(config, {"path": "/etc/consul.d/consul.hcl"}) is None
    assert role_of(config, {"path": "/etc/nexus/orchestrator.json"}) == "manager"
    assert role_of(FAULTS["stop-docker"], {}) == "worker"


def test_the_hosts_answers_are_read() -> None:
    """The last line that is an answer counts; a host that said none has said nothing."""
    assert fault_protocol.parse_answer(b"noise\nrefused it is not so\n") == fault_protocol.Answer("refused", "it is not so")
    assert fault_protocol.parse_answer(b"armed\n") == fault_protocol.Answer("armed")
    assert fault_protocol.parse_answer(b"") == fault_protocol.Answer("nothing", "the host gave no answer")
    errors = {s: fault_protocol.Answer(s).is_error for s in ("armed", "failed", "refused", "nothing")}
    assert errors == {"armed": False, "failed": True, "refused": True, "nothing": True}
    assert fault_protocol.parse_leftovers(b"left a1 partition injected -7\nleft b2 - orphan 0\nleft broken\n") == (
        LeftoverFault("a1", "partition", "injected", -7),
        LeftoverFault("b2", "-", "orphan", 0),
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
