"""How many replicas the load asks for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_agents.nexus_agents.orchestrator.autoscale import COOLDOWN, Limits, Scale, step

LIMITS = Limits(min=2, max=10, cpu=50.0)


def run(scale: Scale, load: Sequence[tuple[float, float]], limits: Limits = LIMITS) -> tuple[Scale, list[str]]:
    """`load`: (seconds, average CPU) phases from second 0 on, one step a second, each instance at the average."""
    reasons, now = [], 0.0
    for seconds, average in load:
        until = now + seconds
        while now < until:
            scale, why = step(scale, limits, [average] * scale.count, now)
            reasons += [f"{now:.0f}: {why}"] if why else []
            now += 1.0
    return scale, reasons


def test_it_grows_to_what_the_load_needs_after_15_seconds() -> None:
    """An average above the desired CPU grows the service in one step to as many as bring it down, after just 15 s."""
    assert run(Scale(2), [(15, 120.0)])[1] == []
    scale, reasons = run(Scale(2), [(16, 120.0)])
    assert (scale.count, reasons) == (5, ["15: 2 to 5 replicas: CPU 120%, above 50% for 15 s"])
    assert scale == Scale(5, changed_at=15.0)


def test_a_little_too_much_is_one_more() -> None:
    """Just above the threshold one instance is added."""
    assert run(Scale(2), [(16, 56.0)])[0].count == 3


def test_within_the_band_nothing_changes() -> None:
    """Between 0.6 and 1.1 of the desired CPU, edges included, the count stays for ever."""
    for average in (30.0, 40.0, 50.0, 55.0):
        assert run(Scale(4), [(600, average)]) == (Scale(4), [])


def test_an_interruption_starts_the_wait_over() -> None:
    """A peak that ends before 15 s changes nothing; neither does a lull that ends before 60 s."""
    assert run(Scale(2), [(14, 90.0), (1, 50.0), (14, 90.0), (1, 50.0)])[1] == []
    assert run(Scale(4), [(59, 10.0), (1, 40.0), (59, 10.0), (1, 40.0)])[1] == []


def test_it_grows_to_max_and_no_further() -> None:
    """Whatever the load, `max` holds, and at `max` there is no reason."""
    scale, reasons = run(Scale(9), [(300, 400.0)])
    assert scale.count == 10
    assert len(reasons) == 1


def test_it_shrinks_by_one_a_minute() -> None:
    """After a minute far below the desired CPU one is removed, the next a minute later, never below `min`."""
    scale, reasons = run(Scale(4), [(61, 5.0)])
    assert (scale.count, reasons) == (3, ["60: 4 to 3 replicas: CPU 5%, far below 50% for 60 s"])
    assert run(Scale(4), [(121, 5.0)])[0].count == 3
    assert run(Scale(4), [(122, 5.0)])[0].count == 2
    assert run(Scale(4), [(900, 5.0)])[0].count == 2


def test_it_does_not_shrink_into_growing() -> None:
    """An instance stays where the others would reach 0.9 of the desired CPU without it."""
    assert run(Scale(2), [(300, 23.0)], Limits(1, 4, 50.0))[0].count == 2
    assert run(Scale(2), [(300, 22.0)], Limits(1, 4, 50.0))[0].count == 1


def test_it_never_shrinks_to_nothing() -> None:
    """With `min: 0` the last instance stays: without it nothing would be measured again."""
    assert run(Scale(2), [(900, 0.0)], Limits(0, 4, 50.0))[0].count == 1


def test_changes_are_20_seconds_apart() -> None:
    """A load that stays too high leads to the next change after COOLDOWN, although GROW_AFTER is shorter."""
    reasons = run(Scale(2), [(60, 60.0)])[1]
    assert [line.split(":")[0] for line in reasons] == ["15", "35", "55"]


@pytest.mark.parametrize(("count", "held"), [(1, 2), (0, 2), (11, 10), (99, 10)])
def test_a_count_out_of_bounds_is_clamped_at_once(count: int, held: int) -> None:
    """Changed limits hold at once, without a measurement and without the cooldown."""
    scale, why = step(Scale(count, 1.0, None, 99.0), LIMITS, [], 100.0)
    assert scale == Scale(held, changed_at=100.0)
    assert why == f"{count} to {held} replicas: outside of 2 to 10"


@pytest.mark.parametrize("limits", [LIMITS, Limits(2, 10, None)])
def test_without_a_measurement_nothing_changes_and_the_timers_start_over(limits: Limits) -> None:
    """Without a measurement, or without a CPU limit, the count stays and no timer runs."""
    cpus = [] if limits.cpu else [500.0]
    assert step(Scale(4, 1.0, 2.0, 3.0), limits, cpus, 100.0) == (Scale(4, None, None, 3.0), None)


@pytest.mark.parametrize(("measured", "count"), [(1, 4), (2, 4), (3, 6), (4, 8)])
def test_an_instance_that_does_not_run_yet_will_take_its_share(measured: int, count: int) -> None:
    """An unmeasured instance counts neither as idle nor as busy, so no more are added than needed."""
    scale, _ = step(Scale(4, high_since=0.0), LIMITS, [100.0] * measured, 15.0)
    assert scale.count == count


@given(
    st.integers(0, 12), st.integers(0, 5), st.integers(0, 5),
    st.lists(st.tuples(st.sampled_from([1.0, 5.0, 20.0]), st.one_of(st.none(), st.floats(0, 400))), max_size=60),
)  # fmt: skip
def test_whatever_the_load(count: int, low: int, more: int, looks: list[tuple[float, float | None]]) -> None:
    """The count is always within its limits, changes only with a reason, and never twice within COOLDOWN."""
    limits, scale, now, changed = Limits(low, low + more, 50.0), Scale(count), 0.0, float("-inf")
    for pause, average in looks:
        now += pause
        before, (scale, why) = scale, step(scale, limits, [] if average is None else [average], now)
        assert low <= scale.count <= low + more
        assert (why is not None) == (scale.count != before.count)
        if why is not None:
            assert now - changed >= COOLDOWN
            changed = now


@given(st.floats(1, 2000), st.integers(1, 10))
def test_a_steady_load_leads_to_a_steady_count(total: float, count: int) -> None:
    """A constant load, shared by all instances, ends in a count that stays: it never swings."""
    limits, scale, now, counts = Limits(1, 10, 50.0), Scale(count), 0.0, []
    for _ in range(400):
        now += 5.0
        scale, _ = step(scale, limits, [total / scale.count] * scale.count, now)
        counts.append(scale.count)
    assert len(set(counts[-150:])) == 1
    turns = [b - a for a, b in pairwise(counts) if a != b]
    assert all(t > 0 for t in turns) or all(t < 0 for t in turns)
