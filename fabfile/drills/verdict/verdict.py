"""PASS, FAIL or UNKNOWN, and the sentence why: the measured beside the promised. Pure.

A probe sees a change late by up to its period, never early. So of a value `v` with the error bar `e`, seen against the
promise `p`, the truth lies in [v - e, v]:
    v <= p          kept
    v - e > p       broken
    in between      kept, with a word: the probe is too slow to tell, and the doubt is not the cluster's fault
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Literal, TypeAlias

from ...core.text import count, given, seconds
from .record import Promise, Requests, Sample, Verdict

Word: TypeAlias = Literal["kept", "close", "broken", "never", "free", "void"]


def verdict_of(
    promise: Promise,
    *,
    detected_s: float | None,
    recovered_s: float | None,
    error_s: float,
    requests: Requests,
    two_primaries: Sequence[str] | None = None,
    broken: Sequence[str] = (),
) -> tuple[Verdict, str]:
    """`broken`: what is wrong with the measurement, of `broken_of` and of the runner's own knowledge.

    A finding in the history of the primaries is FAIL, whatever else broke. Next, a broken measurement is UNKNOWN. Then
    None is FAIL wherever the promise has a number: what was never seen has not happened in time.
    """
    if two_primaries:
        more = f"; and {len(two_primaries) - 1} more" if len(two_primaries) > 1 else ""
        return "FAIL", f"The history of the primaries is not sound: {two_primaries[0]}{more}."
    if broken:
        return "UNKNOWN", f"The measurement broke: {'; '.join(broken)}."
    times = (("detected", detected_s, promise.detect_s), ("recovered", recovered_s, promise.recover_s))
    faults = [*_late(times, error_s), *_too_many(requests, promise)]
    if faults:
        return "FAIL", f"{_sentence(faults)}."
    kept = [*_kept(times, error_s), *_few(requests, promise)]
    return "PASS", f"{_sentence(kept or ['nothing was seen that the promise rules out'])}."


def judged(measured: float | None, promised: float | None, error_s: float) -> Word:
    """close: beyond the promise, but only within the error bar; never: not seen; free: nothing was promised."""
    if promised is None:
        return "free"
    if measured is None:
        return "never"
    if measured <= promised:
        return "kept"
    return "broken" if measured - error_s > promised else "close"


def broken_of(
    samples: Sequence[Sample | Sequence[float]],
    probes: Sequence[float],
    *,
    began_s: float,
    ended_s: float,
    gap_s: float,
    load_asked: bool,
) -> tuple[str, ...]:
    """What makes the numbers worthless, one clause each. Times are in seconds of one clock, in any order.

    probes: when the prober asked. From `began_s` (before the fault) until `ended_s` neither probes nor, where load was
    asked, requests may be silent for longer than `gap_s`: a load that died, a laptop that slept.
    """
    found = list(_silent("the probes were", probes, began_s, ended_s, gap_s))
    if load_asked and not samples:
        found.append("load was asked for, and no request was sent")
    elif load_asked:
        found += _silent("the load was", [at for at, _, _ in samples], began_s, ended_s, gap_s)
    return tuple(found)


def _silent(who: str, times: Sequence[float], began_s: float, ended_s: float, gap_s: float) -> Iterator[str]:
    """The longest silence, if it is too long; a run that ended in silence counts as one."""
    marks = [began_s, *sorted(t for t in times if began_s <= t <= ended_s), ended_s]
    length, start = max((b - a, a) for a, b in pairwise(marks))
    if length > gap_s:
        yield f"{who} silent for {seconds(length)} from {seconds(start)} on, and may be for {given(gap_s)} at most"


def _late(times: Iterable[tuple[str, float | None, float | None]], error_s: float) -> Iterator[str]:
    for word, measured, promised in times:
        if promised is not None and measured is None:
            yield f"{word}: never seen, promised within {given(promised)}"
        elif promised is not None and measured is not None and judged(measured, promised, error_s) == "broken":
            yield f"{word} after {seconds(measured)} ± {given(error_s)}, promised within {given(promised)}"


def _kept(times: Iterable[tuple[str, float | None, float | None]], error_s: float) -> Iterator[str]:
    for word, measured, promised in times:
        if measured is not None and promised is not None:
            close = judged(measured, promised, error_s) == "close"
            doubt = f", beyond it only within the error bar of {given(error_s)}" if close else ""
            yield f"{word} after {seconds(measured)}, promised within {given(promised)}{doubt}"


def _too_many(requests: Requests, promise: Promise) -> Iterator[str]:
    if promise.failed_requests is not None and requests.failed > promise.failed_requests:
        most = f"at most {count(promise.failed_requests)}" if promise.failed_requests else "none"
        yield f"{count(requests.failed)} of {count(requests.sent)} requests failed, promised {most}"


def _few(requests: Requests, promise: Promise) -> Iterator[str]:
    if promise.failed_requests is not None and requests.sent:
        yield f"{count(requests.failed) if requests.failed else 'none'} of {count(requests.sent)} requests failed"


def _sentence(clauses: Sequence[str]) -> str:
    text = "; ".join(clauses)
    return text[:1].upper() + text[1:]
