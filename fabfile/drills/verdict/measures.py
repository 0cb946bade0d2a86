"""Measured beside promised, as rows of text: the same rows in the terminal, in HTML and in JUnit. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from ...core.text import count, exact_seconds, milliseconds, plural, seconds
from .record import Record, Requests
from .verdict import Judgement, judge_time

LABELS: Mapping[Judgement, str] = {
    "kept": "kept", "close": "kept, within the error bar", "broken": "broken", "never": "broken", "free": "",
    "void": "not judged",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measure:
    """value, limit: measured and promised seconds, in the rows that have them."""

    name: str
    measured: str
    promised: str
    judgement: Judgement
    value: float | None = None
    limit: float | None = None

    @property
    def label(self) -> str:
        return LABELS[self.judgement]


def measures_of(record: Record) -> tuple[Measure, ...]:
    """Detection, recovery, failed requests, primaries; a row with nothing known and nothing promised is left out.

    UNKNOWN and ABORTED drills say nothing about the cluster, so no number of theirs is judged.
    """
    promise, since = record.promise, " of the undo" if record.since_undo else ""
    candidates = (
        _time("detected", record.detected_s, promise.detect_s, record.error_s),
        _time("recovered", record.recovered_s, promise.recover_s, record.error_s, since),
        _failed_requests(record.requests, promise.failed_requests),
        _primaries(record.two_primaries),
    )
    rows = tuple(row for row in candidates if row is not None)
    if record.judged:
        return rows
    return tuple(
        row if row.judgement == "free" or row.name == "primaries" else replace(row, judgement="void") for row in rows
    )


def _time(name: str, value: float | None, limit: float | None, error_s: float, since: str = "") -> Measure | None:
    """since: from when the promise counts, if not from the fault."""
    if value is None and limit is None:
        return None
    measured = seconds(value) if value is None else f"{seconds(value)} ± {exact_seconds(error_s)}"
    promised = "not promised" if limit is None else f"within {exact_seconds(limit)}{since}"
    return Measure(name, measured, promised, judge_time(value, limit, error_s), value, limit)


def _failed_requests(requests: Requests, limit: int | None) -> Measure | None:
    if not requests.sent and limit is None:
        return None
    measured = f"{count(requests.failed)} of {count(requests.sent)}" if requests.sent else "no load was run"
    if limit is None:
        return Measure("failed requests", measured, "not promised", "free")
    promised = f"at most {count(limit)}" if limit else "none"
    judgement: Judgement = "broken" if requests.failed > limit else "kept" if requests.sent else "free"
    return Measure("failed requests", measured, promised, judgement)


def _primaries(findings: Sequence[str] | None) -> Measure | None:
    """None: this drill did not check the primaries' history."""
    if findings is None:
        return None
    measured = plural(len(findings), "finding") if findings else "a sound history"
    return Measure("primaries", measured, "never two at a time", "broken" if findings else "kept")


def latencies(requests: Requests) -> tuple[tuple[str, str], ...]:
    """(name, value) of the answered requests' times; empty when none was answered."""
    if requests.p50_ms is None:
        return ()
    over = "" if requests.slow_ms is None else f" (over {milliseconds(requests.slow_ms)})"
    return (
        ("p50", milliseconds(requests.p50_ms)),
        ("p95", milliseconds(requests.p95_ms)),
        ("p99", milliseconds(requests.p99_ms)),
        ("max", milliseconds(requests.max_ms)),
        (f"slow{over}", count(requests.slow)),
    )


def comparison(record: Record, earlier: Sequence[Record]) -> str:
    """One sentence: this recovery beside the median of the earlier judged runs that recovered."""
    judged_runs = [r for r in earlier if r.judged]
    recoveries = [r.recovered_s for r in judged_runs if r.recovered_s is not None]
    if not earlier:
        return "No earlier run of this drill is kept."
    if not judged_runs:
        return f"None of the last {plural(len(earlier), 'run')} came to a verdict."
    if not recoveries:
        return f"None of the last {plural(len(judged_runs), 'judged run')} recovered."
    usual, runs = median(recoveries), plural(len(recoveries), "earlier run")
    if not record.judged or record.recovered_s is None:
        this = "Never recovered" if record.judged else "This run has no verdict"
        return f"{this}; the median of {runs} that recovered is {seconds(usual)}."
    difference = record.recovered_s - usual
    if abs(difference) <= max(record.error_s, 0.005):
        return f"As fast as the median of {runs}, {seconds(usual)}, within the error bar."
    change = "slower" if difference > 0 else "faster"
    return f"{seconds(abs(difference))} {change} than the median of {runs}, {seconds(usual)}."
