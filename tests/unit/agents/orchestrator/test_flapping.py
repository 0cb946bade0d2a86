"""Workers that die again and again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_agents.nexus_agents.orchestrator.flapping import DEATHS, KEPT, SUSPECT_AFTER, WITHIN, Flaps, flapping

times = st.lists(st.integers(0, 3000).map(float), max_size=8)


@pytest.mark.parametrize(
    ("deaths", "now", "expected"),
    [
        ([], 0, False),
        ([0, 10], 11, False),
        ([0, 10, 20], 20, True),
        ([0, 10, 20], 319.9, True),
        ([0, 10, 20], 320, False),
        ([0, 300, 600], 601, True),
        ([0, 300, 600.1], 601, False),
        ([0, 10, 20, 310, 600], 899, True),
        ([0, 10, 20, 330], 331, True),
        ([20, 0, 10], 21, True),
        ([0, 0, 302, 601], 700, True),
        ([0, 10, 20], 15, False),
    ],
    ids=["never died", "two deaths", "the third", "still not quiet", "quiet", "just within ten minutes",
         "just not within", "each death asks for quiet anew", "once more after the quiet", "any order", "it goes on",
         "not yet died"],
)  # fmt: skip
def test_three_deaths_in_ten_minutes_until_five_are_quiet(deaths: list[float], now: float, expected: bool) -> None:
    """A worker flaps from its third death in ten minutes until five minutes have passed without another."""
    assert flapping(deaths, now) is expected


@given(times, st.integers(0, 4000).map(float))
def test_it_is_as_if_every_death_had_been_watched(deaths: list[float], now: float) -> None:
    """The answer from the whole list equals that of a machine that is told of each death as it happens."""
    begun, last, seen = False, 0.0, list[float]()
    for at in sorted(d for d in deaths if d <= now):
        begun = begun and at - last < SUSPECT_AFTER
        seen.append(at)
        last = at
        begun = begun or sum(at - s <= WITHIN for s in seen) >= DEATHS
    assert flapping(deaths, now) is (begun and now - last < SUSPECT_AFTER)


@given(times, st.integers(0, 4000).map(float))
def test_what_the_history_forgets_does_not_matter(deaths: list[float], now: float) -> None:
    """The last four deaths give the same answer as all of them."""
    now = max([now, *deaths])
    assert flapping(sorted(deaths)[-KEPT:], now) is flapping(deaths, now)


def test_the_history_counts_deaths_not_looks() -> None:
    """A worker that stays dead has died once; three times alive and dead again make it flap, and it alone."""
    history = Flaps()
    for at, lives in enumerate([True, False, False, False, True, False, True]):
        history = history.seen({"w1": lives, "w2": True}, float(at))
    assert history.deaths == {"w1": (1.0, 5.0)}
    history = history.seen({"w1": False, "w2": True}, 7.0)
    assert history.flapping("w1", 7.0)
    assert not history.flapping("w2", 7.0)
    assert not history.flapping("w1", 7.0 + SUSPECT_AFTER)


def test_a_worker_that_was_dead_at_first_sight_has_not_died() -> None:
    """A new primary finds dead workers; when they died it does not know, and counts nothing."""
    assert Flaps().seen({"w1": False}, 0.0).seen({"w1": False}, 1.0).deaths == {}


def test_a_worker_that_left_is_forgotten() -> None:
    """A worker that is no longer in the cluster leaves no history, nor does leaving count as a death."""
    history = Flaps().seen({"w1": True}, 0.0).seen({"w1": False}, 1.0)
    assert history.seen({}, 2.0) == Flaps()
    assert Flaps().seen({"w1": True}, 0.0).seen({}, 1.0) == Flaps()


def test_the_history_keeps_no_more_than_it_needs() -> None:
    """However often a worker dies, four deaths are kept, the newest."""
    history = Flaps()
    for at in range(20):
        history = history.seen({"w1": at % 2 == 0}, float(at))
    assert history.deaths["w1"] == (13.0, 15.0, 17.0, 19.0)
