"""How a running cluster becomes secure: which levels a deploy applies, in which order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.core.errors import Refused
from fabfile.core.state.consul import FULL_LEVEL, LEVELS
from fabfile.core.state.security_levels import level_of, levels_to_apply

names = st.sampled_from(["a", "b", "c", "d", "e"])
any_levels = st.dictionaries(names, st.integers(0, FULL_LEVEL))
# As an interrupted change leaves a cluster: some hosts are at the next level, some are not.
interrupted = st.integers(0, FULL_LEVEL - 1).flatmap(
    lambda low: st.dictionaries(names, st.integers(low, low + 1), min_size=1)
)


def test_the_levels_have_no_gap() -> None:
    """The rendered levels follow each other without a gap and end with the full one."""
    assert list(LEVELS) == [n + 1 for n in range(FULL_LEVEL)]


def test_a_new_cluster_is_secure_in_one_pass() -> None:
    """Where nothing was deployed before, only the full level is applied."""
    assert levels_to_apply({}, ["a"]) == (FULL_LEVEL,)
    assert level_of("a", {}, FULL_LEVEL) == FULL_LEVEL


def test_a_secure_cluster_takes_one_pass_of_any_hosts() -> None:
    """Once all hosts are secure, a deploy may select any of them, and new ones, and applies only the full level."""
    assert levels_to_apply({"a": FULL_LEVEL, "b": FULL_LEVEL}, ["b", "new"]) == (FULL_LEVEL,)
    assert levels_to_apply({"a": FULL_LEVEL}, []) == (FULL_LEVEL,)


@pytest.mark.parametrize(("lowest", "steps"), [(0, (1, 2, 3)), (1, (2, 3)), (2, (3,)), (3, (3,))])
def test_each_step_is_taken_from_the_lowest_on(lowest: int, steps: tuple[int, ...]) -> None:
    """The levels begin right above that of the lowest host and leave none out."""
    assert levels_to_apply({"a": lowest, "b": lowest}, ["a", "b"]) == steps


@given(any_levels, st.sets(names))
def test_steps_are_neighbours_and_end_secure(deployed: dict[str, int], selected: set[str]) -> None:
    """Whatever was deployed: levels rise by one each and end with the full one, or are refused for hosts left out."""
    left_out = {n for n, level in deployed.items() if level < FULL_LEVEL} - selected
    if left_out:
        with pytest.raises(Refused) as caught:
            levels_to_apply(deployed, selected)
        assert all(name in caught.value.message for name in left_out)
    else:
        steps = levels_to_apply(deployed, selected)
        assert steps[-1] == FULL_LEVEL
        assert list(steps) == list(range(steps[0], FULL_LEVEL + 1))


@given(names, any_levels, st.integers(0, FULL_LEVEL))
def test_no_host_is_ever_lowered(host: str, deployed: dict[str, int], step: int) -> None:
    """A host's level in a step is the step's, or its own where that is higher."""
    level = level_of(host, deployed, step)
    assert level >= deployed.get(host, 0)
    assert level in (step, deployed.get(host))


@given(interrupted, st.data())
def test_hosts_are_never_more_than_one_level_apart(deployed: dict[str, int], data: st.DataObject) -> None:
    """Wherever a change was interrupted, in any order of hosts: no two hosts are ever more than one level apart."""
    now = dict(deployed)
    for step in levels_to_apply(deployed, deployed):
        for host in data.draw(st.permutations(sorted(now))):
            now[host] = level_of(host, now, step)
            assert max(now.values()) - min(now.values()) <= 1
    assert set(now.values()) == {FULL_LEVEL}


@given(interrupted, st.data())
def test_an_interrupted_change_goes_on(deployed: dict[str, int], data: st.DataObject) -> None:
    """After an interruption at any host the next deploy continues, and repeats no level that all hosts have reached."""
    steps = levels_to_apply(deployed, deployed)
    done = data.draw(st.sets(st.sampled_from(sorted(deployed))))
    after = {name: level_of(name, deployed, steps[0]) if name in done else level for name, level in deployed.items()}
    assert levels_to_apply(after, after) in (steps, steps[1:] or steps)


def test_a_deploy_of_some_is_refused_while_others_are_not_secured() -> None:
    """A host that is not secured and not selected stops the deploy; the error names it, the hint the remedy."""
    with pytest.raises(Refused) as caught:
        levels_to_apply({"a": 1, "b": 2, "c": FULL_LEVEL}, ["a"])
    assert "(b)" in caught.value.message
    assert caught.value.hint == "inv deploy --hosts all"


def test_a_secured_host_may_be_left_out() -> None:
    """After an interruption, hosts at the full level need not be selected."""
    assert levels_to_apply({"a": 2, "c": FULL_LEVEL}, ["a"]) == (FULL_LEVEL,)
