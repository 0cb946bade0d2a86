"""The checker of the recorded history: it finds two primaries, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.core.errors import InputError
from fabfile.core.judge.fencing import ELECTED, RESIGNED, Act, check_history, read_acts


def history(*lines: str) -> list[Act]:
    """Each line: `epoch holder kind at`, in their true order; the session is the holder's and epoch's own."""
    found = []
    for number, line in enumerate(lines):
        epoch, holder, kind, at = line.split()
        found.append(Act(100 + number, float(at), int(epoch), holder, f"s-{holder}-{epoch}", kind))
    return found


SOUND = history(
    "1 m1 elected 10", "1 m1 place 11", "1 m1 place 11.2", "1 m1 resigned 20",
    "2 m2 elected 20.1", "2 m2 remove 25",
    "5 m1 elected 40", "5 m1 place 41", "5 m1 resigned 50",
    "6 m1 elected 60",
    "7 m3 elected 59.7", "7 m3 place 70", "7 m3 replace 71",
)  # fmt: skip


def test_nothing_and_many_takeovers_are_sound() -> None:
    """Clean stops, crashes, a holder that comes back, skipped epochs, clocks a little apart: no finding."""
    assert check_history([]) == ()
    assert check_history(SOUND) == ()


def test_the_order_is_read_from_the_index_not_from_the_list() -> None:
    """A sound history is sound in any order of its list."""
    assert check_history(SOUND[::-1]) == ()


def test_acts_of_one_transaction_share_an_index() -> None:
    """An election that is written together with its first act, and a last act with its resignation, are sound."""
    acts = [replace(a, order=1 if a.order < 102 else 2, at=10.0) for a in SOUND[:4]]
    assert check_history(acts) == ()
    assert check_history(acts[::-1]) == ()


BAD = {
    "two holders": (
        history("1 m1 elected 10", "1 m1 place 11", "1 m2 place 12"),
        ["two holders in epoch 1: elected by m1 (epoch 1, index 100) and place by m2 (epoch 1, index 102)"],
    ),
    "a stale act": (
        history("1 m1 elected 10", "2 m2 elected 20", "1 m1 place 19", "2 m2 place 21"),
        ["an act of an older epoch: place by m1 (epoch 1, index 102) after elected by m2 (epoch 2, index 101)"],
    ),
    "begun by an act": (
        history("1 m1 elected 10", "2 m2 place 20", "2 m2 elected 21"),
        ["epoch 2 does not begin with an election but with: place by m2 (epoch 2, index 101)"],
    ),
    "never elected": (
        history("1 m1 elected 10", "2 m2 place 20"),
        ["epoch 2 does not begin with an election but with: place by m2 (epoch 2, index 101)"],
    ),
    "elected twice": (
        history("1 m1 elected 10", "1 m1 elected 11"),
        ["epoch 1 has 2 elections: elected by m1 (epoch 1, index 100), elected by m1 (epoch 1, index 101)",
         "the epoch does not grow: elected by m1 (epoch 1, index 101) follows elected by m1 (epoch 1, index 100)"],
    ),
    "back in epochs": (
        history("4 m1 elected 10", "3 m2 elected 20"),
        ["the epoch does not grow: elected by m2 (epoch 3, index 101) follows elected by m1 (epoch 4, index 100)",
         "an act of an older epoch: elected by m2 (epoch 3, index 101) after elected by m1 (epoch 4, index 100)",
         "two primaries at a time: elected by m2 (epoch 3, index 101) at 20.000, 10.000 s later than "
         "elected by m1 (epoch 4, index 100) at 10.000"],
    ),
    "after its resignation": (
        history("1 m1 elected 10", "1 m1 resigned 11", "1 m1 place 12"),
        ["an act after its holder resigned: "
         "place by m1 (epoch 1, index 102) after resigned by m1 (epoch 1, index 101)"],
    ),
    "resigned twice": (
        history("1 m1 elected 10", "1 m1 resigned 11", "1 m1 resigned 12"),
        ["an act after its holder resigned: "
         "resigned by m1 (epoch 1, index 102) after resigned by m1 (epoch 1, index 101)"],
    ),
    "overlap by the clock": (
        history("1 m1 elected 10", "1 m1 place 20.6", "2 m2 elected 20"),
        ["two primaries at a time: place by m1 (epoch 1, index 101) at 20.600, 0.600 s later than "
         "elected by m2 (epoch 2, index 102) at 20.000"],
    ),
    "overlap two epochs on": (
        history("1 m1 elected 10", "1 m1 place 31", "2 m2 elected 40", "3 m3 elected 30"),
        ["two primaries at a time: place by m1 (epoch 1, index 101) at 31.000, 1.000 s later than "
         "elected by m3 (epoch 3, index 103) at 30.000",
         "two primaries at a time: elected by m2 (epoch 2, index 102) at 40.000, 10.000 s later than "
         "elected by m3 (epoch 3, index 103) at 30.000"],
    ),
    "a session that changed": (
        [*history("1 m1 elected 10"), Act(101, 11.0, 1, "m1", "other", "place")],
        ["two sessions in epoch 1: "
         "s-m1-1 of elected by m1 (epoch 1, index 100), other of place by m1 (epoch 1, index 101)"],
    ),
    "two epochs in one transaction": (
        [Act(7, 10.0, 1, "m1", "a", ELECTED), Act(7, 10.0, 2, "m2", "b", ELECTED)],
        ["an act of an older epoch: elected by m1 (epoch 1, index 7) after elected by m2 (epoch 2, index 7)"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_each_fault_is_found_with_its_evidence(name: str) -> None:
    """Every kind of broken history gives its own findings, word for word, and no others."""
    acts, findings = BAD[name]
    assert list(check_history(acts)) == findings
    assert list(check_history(acts[::-1])) == findings


def test_clocks_may_differ_by_the_error_that_is_allowed() -> None:
    """An overlap is one only beyond the tolerance, which the caller may widen."""
    acts = history("1 m1 elected 10", "1 m1 place 20.5", "2 m2 elected 20")
    assert check_history(acts) == ()
    assert len(check_history(acts, clock_error=0.4)) == 1
    assert check_history(BAD["overlap by the clock"][0], clock_error=1.0) == ()


def test_events_become_acts_in_their_true_order() -> None:
    """Events of the KV store become acts; other fields of an event are ignored."""
    event = {"order": 9, "at": 5, "epoch": 2, "host": "m1", "session": "s", "kind": "place", "text": "x", "target": "w"}
    found = read_acts([event, {**event, "order": 4, "kind": ELECTED}])
    assert found == (Act(4, 5.0, 2, "m1", "s", ELECTED), Act(9, 5.0, 2, "m1", "s", "place"))
    assert read_acts([]) == ()


def test_malformed_events_are_named() -> None:
    """A field that is missing or of another type is an error with its path: a history with holes proves nothing."""
    event = {"order": 9, "at": 5.0, "epoch": 2, "host": "m1", "session": "s", "kind": "place"}
    with pytest.raises(InputError) as caught:
        read_acts([event, {**event, "epoch": "2"}, {k: v for k, v in event.items() if k != "session"}])
    assert [f.partition(":")[0] for f in caught.value.faults] == ["events[1].epoch", "events[2].session"]


@st.composite
def sound(draw: st.DrawFn) -> list[Act]:
    """Primaries one after the other: each is elected, acts, and goes with or without a resignation."""
    acts: list[Act] = []
    order, at, epoch = draw(st.integers(0, 50)), draw(st.floats(1e9, 2e9)), draw(st.integers(0, 5))
    for number in range(draw(st.integers(1, 6))):
        epoch += draw(st.integers(1, 3))
        holder = draw(st.sampled_from(["m1", "m2", "m3"]))
        kinds = [ELECTED, *draw(st.lists(st.sampled_from(["place", "remove", "scale"]), max_size=4))]
        for kind in [*kinds, *([RESIGNED] if draw(st.booleans()) else [])]:
            order += draw(st.integers(1, 9))
            at += draw(st.floats(0.01, 5))
            acts.append(Act(order, at + draw(st.floats(-0.2, 0.2)), epoch, holder, f"s{number}", kind))
    return acts


@given(sound(), st.randoms())
def test_every_sound_history_passes(acts: list[Act], rng: Random) -> None:
    """Primaries that follow each other properly are sound, in whatever order their acts are read."""
    assert check_history(acts) == ()
    rng.shuffle(acts)
    assert check_history(acts) == ()


MUTATIONS = ["holder", "session", "late", "drop election", "elected twice", "same epoch", "after resigning", "clock"]


@given(sound(), st.data())
def test_every_mutated_history_fails(acts: list[Act], data: st.DataObject) -> None:
    """One fault anywhere in a sound history, of any kind, is found."""
    how = data.draw(st.sampled_from(MUTATIONS))
    index = data.draw(st.integers(0, len(acts) - 1))
    act, end = acts[index], acts[-1]
    if how == "holder":
        acts.insert(index + 1, replace(act, kind="place", holder="intruder"))
    elif how == "session":
        acts.insert(index + 1, replace(act, kind="place", session="other"))
    elif how == "late":
        acts += [replace(end, order=end.order + 1, epoch=end.epoch + 1, kind=ELECTED),
                 replace(act, order=end.order + 2, kind="place")]  # fmt: skip
    elif how == "drop election":
        acts = [*acts, replace(end, order=end.order + 1, epoch=end.epoch + 1, kind="place")]
    elif how == "elected twice":
        acts.append(replace(act, order=end.order + 1, kind=ELECTED))
    elif how == "same epoch":
        acts.append(replace(end, order=end.order + 1, holder="other", kind=ELECTED))
    elif how == "after resigning":
        acts += [replace(end, order=end.order + 1, kind=RESIGNED), replace(end, order=end.order + 2, kind="place")]
    else:
        acts += [replace(end, order=end.order + 1, epoch=end.epoch + 1, kind=ELECTED, at=act.at - 1.0)]
    assert check_history(acts) != ()
