"""Hosts that get another address: who lets which one in, and when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fabfile.core.state.desired import ClusterContext
from fabfile.core.state.firewall import RULES
from fabfile.core.state.manifest import Manifest
from fabfile.core.state.moves import Step, deployed_addresses, former_addresses, let_in_besides, rules_only
from fabfile.core.state.plan import Verb, diff
from fabfile.core.state.topology import Address
from tests.support.samples import ADDRESSES, CLUSTER, CONTEXT, active, bare_facts, facts_of, wanted

NEW = Address("10.9.9.9", "10.9.9.9")
MOVED = replace(CONTEXT, addresses={**ADDRESSES, "w1": NEW})


def rules(manifest: Manifest) -> str:
    (content,) = (f.content for f in manifest.files if f.path == RULES)
    return (content or b"").decode()


def test_the_deployed_addresses_are_read_back() -> None:
    """What a deploy wrote for Consul is found on the host, of every host; a new host has none."""
    for name, address in ADDRESSES.items():
        assert deployed_addresses(facts_of(wanted(name))) == {address.bind, address.advertise}
    assert deployed_addresses(bare_facts()) == frozenset()


def test_a_host_with_other_addresses_than_deployed_moves() -> None:
    """Only hosts whose addresses change are named, with what they lose; a new host and one that stays are not."""
    facts = {name: facts_of(wanted(name)) for name in ("m1", "w1", "lb1")} | {"mw1": bare_facts()}
    assert former_addresses(ADDRESSES, facts, {}) == {}
    assert former_addresses({**ADDRESSES, "w1": NEW}, facts, {}) == {"w1": ("10.0.0.2",)}
    assert former_addresses({**ADDRESSES, "mw1": NEW}, facts, {"mw1": ADDRESSES["mw1"]}) == {}
    translated = {**ADDRESSES, "w1": Address("10.0.0.2", "203.0.113.9")}
    assert former_addresses(translated, facts, {}) == {"w1": ()}


def test_of_a_silent_host_the_remembered_address_counts() -> None:
    """A host that does not answer is where it was when it last did."""
    moved = {**ADDRESSES, "w1": NEW}
    assert former_addresses(moved, {}, ADDRESSES) == {"w1": ("10.0.0.2",)}
    assert former_addresses(moved, {}, {}) == {}


@pytest.mark.parametrize(
    ("step", "due"),
    [(Step.LET_IN, ("10.0.0.2", "10.0.0.4")), (Step.MOVE, ("10.0.0.2", "10.0.0.4")), (Step.SETTLE, ("10.0.0.4",))],
)
def test_who_does_not_move_now_stays_let_in(step: Step, due: tuple[str, ...]) -> None:
    """At the end the old address of a moved host goes, and that of a host which is left out of this deploy stays."""
    former = {"w1": ("10.0.0.2",), "mw1": ("10.0.0.4",)}
    assert let_in_besides(former, {"w1"}, step) == due


@pytest.mark.parametrize("name", [h.name for h in CLUSTER.hosts])
def test_first_only_the_rules_change(name: str) -> None:
    """The first step adds the addresses to the rules of every host, and touches nothing else, whatever else is due."""
    before, after = wanted(name, "1.17.0"), wanted(name, context=replace(MOVED, former=("10.0.0.2",)))
    stopped = {**facts_of(before).units, "consul.service": replace(active(), active="failed")}
    plan = rules_only(name, after, facts_of(before, units=stopped))
    assert plan is not None
    assert [c.path for c in plan.files] == [RULES]
    assert [(u.name, u.verb) for u in plan.units] == [("nexus-firewall.service", Verb.RELOAD)]
    assert "10.0.0.2, " in rules(plan.wanted)
    assert "10.9.9.9" in rules(plan.wanted)
    assert {f.path: f.sha256 for f in plan.wanted.files if f.path != RULES} == {
        f.path: f.sha256 for f in before.files if f.path != RULES
    }
    assert [u.name for u in plan.wanted.units] == [u.name for u in before.units]


def test_after_the_first_step_it_has_nothing_to_do() -> None:
    """A host whose rules let both in already is left alone; so is one that has no firewall of ours yet."""
    after = wanted("m1", context=replace(MOVED, former=("10.0.0.2",)))
    plan = rules_only("m1", after, facts_of(wanted("m1")))
    assert plan is not None
    again = rules_only("m1", after, facts_of(plan.wanted))
    assert again is not None
    assert again.empty
    assert rules_only("m1", after, bare_facts()) is None
    closed = replace(MOVED, cluster=replace(CLUSTER, firewall=False))
    assert rules_only("m1", wanted("m1", context=closed), facts_of(wanted("m1"))) is None


def test_in_the_end_the_old_address_is_shut_out() -> None:
    """Let in, moved, settled: each step leads to the next, and after the last one nothing is left to do."""
    context: ClusterContext = replace(MOVED, former=("10.0.0.2",))
    moved, settled = wanted("m1", context=context), wanted("m1", context=MOVED)
    assert "10.0.0.2" in rules(moved)
    assert "10.0.0.2" not in rules(settled)
    assert [c.path for c in diff("m1", settled, facts_of(moved)).files] == [RULES]
