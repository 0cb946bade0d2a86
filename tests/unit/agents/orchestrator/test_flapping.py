"""Workers that die again and again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_agents.nexus_agents.orchestrator.flapping import DEATHS, KEPT_DEATHS, QUIET, WINDOW, flapping

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
def test_the_whole_list_gives_the_same_as_each_death_in_turn(deaths: list[float], now: float) -> None:
    """The answer from the whole list equals that of a state machine that gets each death as it happens."""
    flaps, last, earlier = False, 0.0, list[float]()
    for at in sorted(d for d in deaths if d <= now):
        flaps = flaps and at - last < QUIET
        earlier.append(at)
        last = at
        flaps = flaps or sum(at - s <= WINDOW for s in earlier) >= DEATHS
    assert flapping(deaths, now) is (flaps and now - last < QUIET)


@given(times, st.integers(0, 4000).map(float))
def test_older_deaths_do_not_matter(deaths: list[float], now: float) -> None:
    """The last four deaths give the same answer as all of them."""
    now = max([now, *deaths])
    assert flapping(sorted(deaths)[-KEPT_DEATHS:], now) is flapping(deaths, now)
