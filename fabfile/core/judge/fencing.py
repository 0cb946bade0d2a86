"""Was there ever more than one primary? Checks the recorded history of fenced acts. Pure.

Each act of a primary is one transaction that checks its session and carries its epoch; the Raft index is the one true
order of acts. A history starts with an election: when older events were pruned, `since_an_election` drops the rest of
the epoch whose start is missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ..errors import InputError

ELECTED, RESIGNED = "elected", "resigned"
_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "order": int, "at": (int, float), "epoch": int, "host": str, "session": str, "kind": str,
}  # fmt: skip

_BEYOND = 10**18  # no epoch and no time


@dataclass(frozen=True, slots=True)
class Act:
    """One act of a primary.

    order: Raft index; at: unix time in seconds by the holder's clock; holder: the primary's host
    kind: elected, resigned, or what was done
    """

    order: int
    at: float
    epoch: int
    holder: str
    session: str
    kind: str

    def __str__(self) -> str:
        return f"{self.kind} by {self.holder} (epoch {self.epoch}, index {self.order})"


def read_acts(events: Iterable[Mapping[str, Any]]) -> tuple[Act, ...]:
    """From the KV store's events, {"order", "at", "epoch", "host", "session", "kind", ...}, sorted by their true order.

    InputError names every malformed field: a history with holes proves nothing.
    """
    acts, faults = [], []
    for number, event in enumerate(events):
        bad = [key for key, kind in _FIELDS.items() if not isinstance(event.get(key), kind)]
        faults += [f"events[{number}].{key}: {event.get(key)!r} is not what an event has there" for key in bad]
        if not bad:
            order, at, epoch, holder, session, kind = (event[key] for key in _FIELDS)
            acts.append(Act(order, float(at), epoch, holder, session, kind))
    if faults:
        raise InputError(faults)
    return _in_order(acts)


def read_event(order: int, text: str | bytes | None) -> dict[str, Any]:
    """One entry of the KV store as an event: at, epoch, host, session, kind, text and its `order`, each of its own type.

    What is missing or damaged is 0, `?` or says so in `text`: the others must be readable beside it.
    """
    try:
        value = json.loads(text or "")
    except (ValueError, RecursionError):
        value = None
    fields = value if isinstance(value, dict) else {}
    empty = {"at": 0.0, "epoch": 0, "host": "?", "session": "?", "kind": "?", "text": "(this event cannot be read)"}
    kinds: Mapping[str, Any] = {**_FIELDS, "text": str}
    damaged = {key: kept for key, kept in empty.items() if not _is_sound(fields.get(key), kinds[key])}
    return {**fields, **damaged, "order": order}


def _is_sound(value: object, kind: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, kind):
        return False
    return isinstance(value, str) or (isinstance(value, int | float) and -_BEYOND < value < _BEYOND)


def since_an_election(acts: Sequence[Act]) -> tuple[Act, ...]:
    """The acts from the first election on: the record keeps the newest events only, so it may start within an epoch."""
    history = _in_order(acts)
    first = next((n for n, act in enumerate(history) if act.kind == ELECTED), len(history))
    return history[first:]


def check_history(acts: Sequence[Act], clock_error: float = 0.5) -> tuple[str, ...]:
    """What is wrong, one sentence with its evidence each; empty: there were never two primaries.

    `clock_error`: seconds by which two hosts' clocks may differ.
    """
    history = _in_order(acts)
    epochs: dict[int, list[Act]] = {}
    for act in history:
        epochs.setdefault(act.epoch, []).append(act)
    elections = [a for a in history if a.kind == ELECTED]
    return (
        *(fault for _, own in sorted(epochs.items()) for fault in _epoch_faults(own)),
        *_order_faults(elections),
        *(fault for act in history for fault in _overlap_faults(act, elections, clock_error)),
    )


def _in_order(acts: Iterable[Act]) -> tuple[Act, ...]:
    """Acts of one transaction share an index; an election comes first among them, a resignation last."""
    return tuple(sorted(acts, key=lambda a: (a.order, a.kind != ELECTED, a.kind == RESIGNED, a.epoch, a.at)))


def _epoch_faults(own: Sequence[Act]) -> Iterator[str]:
    """`own`: the acts of one epoch, in order. The epoch must have one holder with one session, start with its only
    election, and end with the holder's resignation if there is one."""
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
    resigned: dict[str, Act] = {}
    for act in own:
        if act.holder in resigned:
            yield f"an act after its holder resigned: {act} after {resigned[act.holder]}"
        elif act.kind == RESIGNED:
            resigned[act.holder] = act


def _order_faults(elections: Sequence[Act]) -> Iterator[str]:
    """Each election has a higher epoch than the one before."""
    for before, after in pairwise(elections):
        if after.epoch <= before.epoch:
            yield f"the epoch does not grow: {after} follows {before}"


def _overlap_faults(act: Act, elections: Sequence[Act], clock_error: float) -> Iterator[str]:
    """An act in an epoch that was over, by the true order or by the clocks. Evidence: the earliest newer election."""
    newer = [e for e in elections if e.epoch > act.epoch]
    if not newer:
        return
    first = min(newer, key=lambda e: e.order)
    if act.order >= first.order:
        yield f"an act of an older epoch: {act} after {first}"
    by_clock = min(newer, key=lambda e: e.at)
    overlap = act.at - by_clock.at
    if overlap > clock_error:
        before = f"{by_clock} at {by_clock.at:.3f}"
        yield f"two primaries at a time: {act} at {act.at:.3f}, {overlap:.3f} s later than {before}"
