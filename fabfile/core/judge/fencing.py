"""Was there ever more than one primary? The checker over the recorded history of fenced actions. Pure.

Each act of a primary is one transaction that checks its session and bears its epoch; the Raft index is the one true
order of them. A history begins with an election: of a record whose start was pruned, leave out what stands before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ..errors import InputError

ELECTED, RESIGNED = "elected", "resigned"
_SHAPE: dict[str, type | tuple[type, ...]] = {
    "order": int, "at": (int, float), "epoch": int, "host": str, "session": str, "kind": str}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Act:
    """order: Raft index. at: unix s by the holder's clock. holder: its host. kind: elected, resigned, or what was done."""

    order: int
    at: float
    epoch: int
    holder: str
    session: str
    kind: str

    def __str__(self) -> str:
        return f"{self.kind} by {self.holder} (epoch {self.epoch}, index {self.order})"


def read_acts(events: Iterable[Mapping[str, Any]]) -> tuple[Act, ...]:
    """From the KV store's events, {"order", "at", "epoch", "host", "session", "kind", ...}, by their true order.

    InputError names all that are not such: a history with holes proves nothing.
    """
    found, faults = [], []
    for number, event in enumerate(events):
        bad = [key for key, kind in _SHAPE.items() if not isinstance(event.get(key), kind)]
        faults += [f"events[{number}].{key}: {event.get(key)!r} is not what an event has there" for key in bad]
        if not bad:
            order, at, epoch, holder, session, kind = (event[key] for key in _SHAPE)
            found.append(Act(order, float(at), epoch, holder, session, kind))
    if faults:
        raise InputError(faults)
    return _in_order(found)


def since_an_election(acts: Sequence[Act]) -> tuple[Act, ...]:
    """From the first election on: the record keeps the newest events only, and may begin amid an epoch."""
    history = _in_order(acts)
    first = next((n for n, act in enumerate(history) if act.kind == ELECTED), len(history))
    return history[first:]


def check_history(acts: Sequence[Act], clock_error: float = 0.5) -> tuple[str, ...]:
    """What is wrong, a sentence with its evidence each; empty: never two primaries.

    `clock_error`: seconds by which two hosts' clocks may differ.
    """
    history = _in_order(acts)
    epochs: dict[int, list[Act]] = {}
    for act in history:
        epochs.setdefault(act.epoch, []).append(act)
    elections = [a for a in history if a.kind == ELECTED]
    return (
        *(f for _, own in sorted(epochs.items()) for f in _within(own)),
        *_backward(elections),
        *(f for act in history for f in _late(act, elections, clock_error)),
    )


def _in_order(acts: Iterable[Act]) -> tuple[Act, ...]:
    """Acts of one transaction share an index: the election is its first, the resignation its last."""
    return tuple(sorted(acts, key=lambda a: (a.order, a.kind != ELECTED, a.kind == RESIGNED, a.epoch, a.at)))


def _within(own: Sequence[Act]) -> Iterator[str]:
    """One epoch, its acts in order: one holder with one session, begun by its one election, over when it resigned."""
    first = own[0]
    for act in own[1:]:
        if act.holder != first.holder:
            yield f"two holders in epoch {first.epoch}: {first} and {act}"
            break
    for act in own[1:]:
        if act.holder == first.holder and act.session != first.session:
            yield f"two sessions in epoch {first.epoch}: {first.session} of {first}, {act.session} of {act}"
            break
    elected = [a for a in own if a.kind == ELECTED]
    if first.kind != ELECTED:
        yield f"epoch {first.epoch} does not begin with an election but with: {first}"
    if len(elected) > 1:
        yield f"epoch {first.epoch} has {len(elected)} elections: {', '.join(map(str, elected))}"
    left: dict[str, Act] = {}
    for act in own:
        if act.holder in left:
            yield f"an act after its holder resigned: {act} after {left[act.holder]}"
        elif act.kind == RESIGNED:
            left[act.holder] = act


def _backward(elections: Sequence[Act]) -> Iterator[str]:
    for before, after in pairwise(elections):
        if after.epoch <= before.epoch:
            yield f"the epoch does not grow: {after} follows {before}"


def _late(act: Act, elections: Sequence[Act], clock_error: float) -> Iterator[str]:
    """An act of an epoch that was over: by the order, or by the clocks. The earliest newer election is the evidence."""
    newer = [e for e in elections if e.epoch > act.epoch]
    if not newer:
        return
    by_order = min(newer, key=lambda e: e.order)
    if act.order >= by_order.order:
        yield f"an act of an older epoch: {act} after {by_order}"
    by_clock = min(newer, key=lambda e: e.at)
    overlap = act.at - by_clock.at
    if overlap > clock_error:
        yield f"two primaries at a time: {act} at {act.at:.3f}, {overlap:.3f} s later than {by_clock} at {by_clock.at:.3f}"
