"""The verdict of a drill, PASS, FAIL or UNKNOWN, and the sentence that explains it: measured against promised. Pure.

A probe sees a change late by up to its period, never early. So for a value `v` with the error bar `e` and the
promise `p`, the truth lies in [v - e, v]:
    v <= p          kept
    v - e > p       broken
    in between      kept, and the sentence says so: the probe is too slow to tell, which is not the cluster's fault
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Literal, TypeAlias

from ...core.text import count, exact_seconds, seconds
from .record import Promise, Requests, Sample, Verdict

Judgement: TypeAlias = Literal["kept", "close", "broken", "never", "free", "void"]
Times: TypeAlias = Iterable[tuple[str, float | None, float | None]]  # what happened, measured and promised seconds


def verdict_of(
    promise: Promise,
    *,
    detected_s: float | None,
    recovered_s: float | None,
    error_s: float,
    requests: Requests,
    two_primaries: Sequence[str] | None = None,
    measurement_errors: Sequence[str] = (),
) -> tuple[Verdict, str]:
    """`measurement_errors`: those of the function of that name, and what the runner knows itself.

    A finding in the primaries' history is FAIL, whatever else went wrong. Next, a broken measurement is UNKNOWN. Then
    None is FAIL wherever the promise has a number: what was never seen did not happen in time.
    """
    if two_primaries:
        more = f"; and {len(two_primaries) - 1} more" if len(two_primaries) > 1 else ""
        return "FAIL", f"The history of the primaries is not sound: {two_primaries[0]}{more}."
    if measurement_errors:
        return "UNKNOWN", f"The measurement broke: {'; '.join(measurement_errors)}."
    times = (("detected", detected_s, promise.detect_s), ("recovered", recovered_s, promise.recover_s))
    broken = [*_broken_times(times, error_s), *_too_many_failures(requests, promise)]
    if broken:
        return "FAIL", f"{_sentence(broken)}."
    kept = [*_kept_times(times, error_s), *_allowed_failures(requests, promise)]
    return "PASS", f"{_sentence(kept or ['nothing was seen that the promise rules out'])}."


def judge_time(measured: float | None, promised: float | None, error_s: float) -> Judgement:
    """close: beyond the promise, but only within the error bar; never: not seen; free: nothing was promised."""
    if promised is None:
        return "free"
    if measured is None:
        return "never"
    if measured <= promised:
        return "kept"
    return "broken" if measured - error_s > promised else "close"


def measurement_errors(
    samples: Sequence[Sample | Sequence[float]],
    probe_times: Sequence[float],
    *,
    began_s: float,
    ended_s: float,
    max_gap_s: float,
    load_asked: bool,
) -> tuple[str, ...]:
    """What makes the numbers worthless, one clause each. Times are in seconds of one clock, in any order.

    probe_times: when the prober asked. From `began_s` (before the fault) until `ended_s`, neither the probes nor a load
    that was asked for may be silent for longer than `max_gap_s`: the load died, the laptop slept.
    """
    errors = list(_silence("the probes were", probe_times, began_s, ended_s, max_gap_s))
    if load_asked and not samples:
        errors.append("load was asked for, and no request was sent")
    elif load_asked:
        errors += _silence("the load was", [at_s for at_s, _, _ in samples], began_s, ended_s, max_gap_s)
    return tuple(errors)


def _silence(source: str, times: Sequence[float], began_s: float, ended_s: float, max_gap_s: float) -> Iterator[str]:
    """The longest silence, if it is too long; silence until the end of the run counts too."""
    marks = [began_s, *sorted(t for t in times if began_s <= t <= ended_s), ended_s]
    length, start = max((b - a, a) for a, b in pairwise(marks))
    if length > max_gap_s:
        yield (
            f"{source} silent for {seconds(length)} from {seconds(start)} on, "
            f"and may be for {exact_seconds(max_gap_s)} at most"
        )


def _broken_times(times: Times, error_s: float) -> Iterator[str]:
    for event, measured, promised in times:
        if promised is not None and measured is None:
            yield f"{event}: never seen, promised within {exact_seconds(promised)}"
        elif promised is not None and measured is not None and judge_time(measured, promised, error_s) == "broken":
            time = f"{seconds(measured)} ± {exact_seconds(error_s)}"
            yield f"{event} after {time}, promised within {exact_seconds(promised)}"


def _kept_times(times: Times, error_s: float) -> Iterator[str]:
    for event, measured, promised in times:
        if measured is not None and promised is not None:
            close = judge_time(measured, promised, error_s) == "close"
            doubt = f", beyond it only within the error bar of {exact_seconds(error_s)}" if close else ""
            yield f"{event} after {seconds(measured)}, promised within {exact_seconds(promised)}{doubt}"


def _too_many_failures(requests: Requests, promise: Promise) -> Iterator[str]:
    if promise.failed_requests is not None and requests.failed > promise.failed_requests:
        limit = f"at most {count(promise.failed_requests)}" if promise.failed_requests else "none"
        yield f"{count(requests.failed)} of {count(requests.sent)} requests failed, promised {limit}"


def _allowed_failures(requests: Requests, promise: Promise) -> Iterator[str]:
    if promise.failed_requests is not None and requests.sent:
        yield f"{count(requests.failed) if requests.failed else 'none'} of {count(requests.sent)} requests failed"


def _sentence(clauses: Sequence[str]) -> str:
    text = "; ".join(clauses)
    return text[:1].upper() + text[1:]
