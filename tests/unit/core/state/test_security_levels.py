"""How a running cluster becomes a secure one: the order of levels, and what guards it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.core.errors import Refused
from fabfile.core.state.consul import FULL, LEVELS
from fabfile.core.state.desired import IDENTITY
from fabfile.core.state.facts import Facts
from fabfile.core.state.guards import Identity, check_admin, check_rollback, check_secrets
from fabfile.core.state.manifest import Manifest, text_file
from fabfile.core.state.security_levels import level_of, passes
from tests.support.samples import CLUSTER, CONTEXT, WHERE, bare_facts, wanted

names = st.sampled_from(["a", "b", "c", "d", "e"])
anyhow = st.dictionaries(names, st.integers(0, FULL))
# as an interrupted change leaves a cluster: some hosts have taken the step, some have not
cut_off = st.integers(0, FULL - 1).flatmap(lambda low: st.dictionaries(names, st.integers(low, low + 1), min_size=1))


def test_the_levels_are_in_a_row() -> None:
    """The levels that are rendered follow each other without a gap and end with the full one."""
    assert list(LEVELS) == [n + 1 for n in range(FULL)]


def test_a_new_cluster_is_secure_in_one_pass() -> None:
    """Where nothing was deployed before, the one pass is that of the full level."""
    assert passes({}, ["a"]) == (FULL,)
    assert level_of("a", {}, FULL) == FULL


def test_a_secure_cluster_takes_one_pass_of_whoever_is_selected() -> None:
    """Once all hosts are secure, a deploy may name any of them, and new ones, and takes one pass."""
    assert passes({"a": FULL, "b": FULL}, ["b", "new"]) == (FULL,)
    assert passes({"a": FULL}, []) == (FULL,)


@pytest.mark.parametrize(("lowest", "steps"), [(0, (1, 2, 3)), (1, (2, 3)), (2, (3,)), (3, (3,))])
def test_each_step_is_taken_from_the_lowest_on(lowest: int, steps: tuple[int, ...]) -> None:
    """The passes begin right above the host that is lowest and leave none out."""
    assert passes({"a": lowest, "b": lowest}, ["a", "b"]) == steps


@given(anyhow, st.sets(names))
def test_steps_are_neighbours_and_end_secure(deployed: dict[str, int], selected: set[str]) -> None:
    """Whatever was deployed: passes rise by one each and end with the full level, or are refused for hosts left out."""
    left_out = {n for n, level in deployed.items() if level < FULL} - selected
    if left_out:
        with pytest.raises(Refused) as caught:
            passes(deployed, selected)
        assert all(name in caught.value.message for name in left_out)
    else:
        steps = passes(deployed, selected)
        assert steps[-1] == FULL
        assert list(steps) == list(range(steps[0], FULL + 1))


@given(names, anyhow, st.integers(0, FULL))
def test_no_host_is_ever_lowered(host: str, deployed: dict[str, int], step: int) -> None:
    """A host's level in a step is the step's, or its own where that is higher."""
    level = level_of(host, deployed, step)
    assert level >= deployed.get(host, 0)
    assert level in (step, deployed.get(host))


@given(cut_off, st.data())
def test_hosts_are_never_more_than_one_level_apart(deployed: dict[str, int], data: st.DataObject) -> None:
    """From wherever a change was cut off, in any order of hosts: at every moment any two understand each other."""
    now = dict(deployed)
    for step in passes(deployed, deployed):
        for host in data.draw(st.permutations(sorted(now))):
            now[host] = level_of(host, now, step)
            assert max(now.values()) - min(now.values()) <= 1
    assert set(now.values()) == {FULL}


@given(cut_off, st.data())
def test_a_change_that_was_cut_off_goes_on(deployed: dict[str, int], data: st.DataObject) -> None:
    """A change may be cut off after any host; the next deploy begins where it was and takes no step twice for all."""
    steps = passes(deployed, deployed)
    done = data.draw(st.sets(st.sampled_from(sorted(deployed))))
    after = {name: level_of(name, deployed, steps[0]) if name in done else level for name, level in deployed.items()}
    assert passes(after, after) in (steps, steps[1:] or steps)


def test_a_deploy_of_some_is_refused_while_others_are_not_secured() -> None:
    """A host that is not secured and not selected stops the deploy, which names it and the way on."""
    with pytest.raises(Refused) as caught:
        passes({"a": 1, "b": 2, "c": FULL}, ["a"])
    assert "(b)" in caught.value.message
    assert caught.value.hint == "inv deploy --hosts all"


def test_a_secured_host_may_be_left_out() -> None:
    """Of a change that was cut off, the hosts that have arrived need not be selected."""
    assert passes({"a": 2, "c": FULL}, ["a"]) == (FULL,)


# guard: the secrets of a secured cluster


def test_new_and_open_clusters_need_no_secrets() -> None:
    """Where no host runs with secrets, none need to be at hand."""
    check_secrets(CLUSTER, {}, serial=None)
    check_secrets(CLUSTER, {"m1": Identity("prod", "a", 0)}, serial=None)


def test_a_secured_cluster_with_its_secrets_may_change() -> None:
    """With the secrets at hand a secured cluster may be deployed."""
    check_secrets(CLUSTER, {"m1": Identity("prod", "a", FULL)}, serial=1)


@pytest.mark.parametrize("level", LEVELS)
def test_lost_secrets_are_never_made_anew(level: int) -> None:
    """One host that runs with secrets, at any level, stops a deploy without them, which names it, the folder, the way."""
    found = {"m1": Identity("prod", "a", level), "w1": Identity("prod", "a", 0)}
    with pytest.raises(Refused) as caught:
        check_secrets(CLUSTER, found, serial=None)
    assert caught.value.message.startswith("m1 run")
    assert str(CLUSTER.state) in caught.value.message
    assert "secrets.import" in caught.value.hint


# guard: the operator's own way in


def seen_from(client: str | None) -> dict[str, Facts]:
    return {"m1": bare_facts(ssh_client=client, addresses=(("eth0", "10.0.0.1"),)),
            "w1": bare_facts(addresses=(("eth0", "10.0.0.2"),))}  # fmt: skip


@pytest.mark.parametrize(
    ("client", "admin_from"),
    [("203.0.113.7", ()), ("203.0.113.7", ("203.0.113.0/24",)), ("203.0.113.7", ("203.0.113.7/32",)),
     ("203.0.113.7", ("2001:db8::/48", "203.0.113.0/24")), ("2001:db8::1", ("203.0.113.0/24", "2001:db8::/48")),
     ("fe80::1%eth0", ("fe80::/10",)), ("10.0.0.2", ("203.0.113.0/24",)), ("10.0.0.1", ("203.0.113.0/24",)),
     (None, ("203.0.113.0/24",))],
)  # fmt: skip
def test_an_operator_who_stays_inside_may_deploy(client: str | None, admin_from: tuple[str, ...]) -> None:
    """From within admin_from (v4, v6, with a zone), from a host of the cluster, or not seen at all: the deploy goes on."""
    check_admin(replace(CLUSTER, admin_from=admin_from), seen_from(client), WHERE)


@pytest.mark.parametrize(
    ("client", "admin_from"),
    [("198.51.100.1", ("203.0.113.0/24",)), ("198.51.100.1", ("2001:db8::/48",)), ("2001:db9::1", ("2001:db8::/48",)),
     ("2001:db8::1", ("0.0.0.0/0",)), ("10.0.0.9", ("203.0.113.0/24",))],
)  # fmt: skip
def test_an_operator_is_not_shut_out(client: str, admin_from: tuple[str, ...]) -> None:
    """A deploy that would shut out the very connection it runs over is refused, and says what to add."""
    with pytest.raises(Refused) as caught:
        check_admin(replace(CLUSTER, admin_from=admin_from), seen_from(client), WHERE)
    assert client in caught.value.message
    assert f"add {client} to admin_from in hosts.yml" in caught.value.hint


def test_a_firewall_that_is_not_ours_shuts_nobody_out() -> None:
    """With `firewall: false` admin_from is nobody's affair."""
    check_admin(replace(CLUSTER, admin_from=("203.0.113.0/24",), firewall=False), seen_from("198.51.100.1"), WHERE)


# guard: back to the generation before


def generation(level: int | None) -> Manifest:
    said = {"cluster": "prod", "id": "a"} | ({} if level is None else {"security": level})
    return Manifest(files=(text_file(IDENTITY, json.dumps(said)),))


@pytest.mark.parametrize(("before", "now"), [(3, 3), (3, 2), (2, 2), (None, 0), (0, 0)])
def test_a_rollback_to_the_same_security_is_fine(before: int | None, now: int) -> None:
    """A generation as secure as the present one, or more, may be gone back to."""
    check_rollback("m1", generation(before), Identity("prod", "a", now))
    check_rollback("m1", generation(before), None)


@pytest.mark.parametrize(("before", "now"), [(2, 3), (1, 2), (0, 3), (None, 1)])
def test_a_rollback_never_lowers_security(before: int | None, now: int) -> None:
    """A less secure generation is refused with the host and both levels."""
    with pytest.raises(Refused, match=rf"^m1: .*level {before or 0}, now {now}\)"):
        check_rollback("m1", generation(before), Identity("prod", "a", now))


def test_a_generation_without_identity_is_of_the_lowest_level() -> None:
    """What does not say how secure it is counts as open."""
    with pytest.raises(Refused):
        check_rollback("m1", Manifest(), Identity("prod", "a", 1))
    check_rollback("m1", Manifest(), Identity("prod", "a", 0))


@pytest.mark.parametrize("level", LEVELS)
def test_a_deployed_generation_says_its_level(level: int) -> None:
    """What a deploy writes at a level is what a rollback is held to."""
    before = wanted("m1", context=replace(CONTEXT, levels={"m1": level}))
    check_rollback("m1", before, Identity("prod", "a", level))
    with pytest.raises(Refused):
        check_rollback("m1", before, Identity("prod", "a", level + 1))


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_identity_in_the_generation_before_is_refused(text: str) -> None:
    """A kept identity that cannot be read counts as open, like one that is missing, and is no crash."""
    with pytest.raises(Refused):
        check_rollback("m1", Manifest(files=(text_file(IDENTITY, text),)), Identity("prod", "a", 3))


def test_outdated_secrets_are_refused() -> None:
    """A host whose secrets are newer than ours is never given the old ones back; the same or older ones may change."""
    found = {"m1": Identity("prod", "a", FULL, 3), "w1": Identity("prod", "a", FULL, 2)}
    with pytest.raises(Refused, match="m1 have newer secrets") as caught:
        check_secrets(CLUSTER, found, serial=2)
    assert "secrets.import" in caught.value.hint
    check_secrets(CLUSTER, found, serial=3)
    check_secrets(CLUSTER, found, serial=4)
