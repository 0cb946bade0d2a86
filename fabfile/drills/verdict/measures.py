"""The measured beside the promised, in words: the same rows in the terminal, in HTML and in JUnit. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from ...core.text import count, given, milliseconds, plural, seconds
from .record import Record, Requests
from .verdict import Word, judged

SAID: Mapping[Word, str] = {
    "kept": "kept", "close": "kept, within the error bar", "broken": "broken", "never": "broken", "free": "",
    "void": "not judged",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measure:
    """value, limit: the measured and the promised seconds, of a row that has such."""

    name: str
    measured: str
    promised: str
    word: Word
    value: float | None = None
    limit: float | None = None

    @property
    def said(self) -> str:
        return SAID[self.word]


def measures_of(record: Record) -> tuple[Measure, ...]:
    """Detection, recovery, failed requests, primaries; a row of which nothing is known or promised is left out.

    Where the drill has no verdict on the cluster, UNKNOWN and ABORTED, no number is held against a promise.
    """
    promise, since = record.promise, " of the undo" if record.since_undo else ""
    rows = (
        _timed("detected", record.detected_s, promise.detect_s, record.error_s),
        _timed("recovered", record.recovered_s, promise.recover_s, record.error_s, since),
        _failures(record.requests, promise.failed_requests),
        _primaries(record.two_primaries),
    )
    found = tuple(row for row in rows if row is not None)
    if record.judged:
        return found
    return tuple(row if row.word == "free" or row.name == "primaries" else replace(row, word="void") for row in found)


def _timed(name: str, value: float | None, limit: float | None, error_s: float, since: str = "") -> Measure | None:
    """since: from when it counts, where that is not the fault."""
    if value is None and limit is None:
        return None
    measured = seconds(value) if value is None else f"{seconds(value)} ± {given(error_s)}"
    promised = "not promised" if limit is None else f"within {given(limit)}{since}"
    return Measure(name, measured, promised, judged(value, limit, error_s), value, limit)


def _failures(requests: Requests, limit: int | None) -> Measure | None:
    if not requests.sent and limit is None:
        return None
    measured = f"{count(requests.failed)} of {count(requests.sent)}" if requests.sent else "no load was run"
    if limit is None:
        return Measure("failed requests", measured, "not promised", "free")
    promised = f"at most {count(limit)}" if limit else "none"
    word: Word = "broken" if requests.failed > limit else "kept" if requests.sent else "free"
    return Measure("failed requests", measured, promised, word)


def _primaries(findings: Sequence[str] | None) -> Measure | None:
    """None: this drill's history of primaries was not checked."""
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


def compared(record: Record, before: Sequence[Record]) -> str:
    """One sentence: this recovery beside the median of the earlier runs that recovered; only judged runs count."""
    judged_ones = [r for r in before if r.judged]
    known = [r.recovered_s for r in judged_ones if r.recovered_s is not None]
    if not before:
        return "No earlier run of this drill is kept."
    if not judged_ones:
        return f"None of the last {plural(len(before), 'run')} came to a verdict."
    if not known:
        return f"None of the last {plural(len(judged_ones), 'judged run')} recovered."
    usual, runs = median(known), plural(len(known), "earlier run")
    if not record.judged or record.recovered_s is None:
        this = "Never recovered" if record.judged else "This run has no verdict"
        return f"{this}; the median of {runs} that recovered is {seconds(usual)}."
    apart = record.recovered_s - usual
    if abs(apart) <= max(record.error_s, 0.005):
        return f"As fast as the median of {runs}, {seconds(usual)}, within the error bar."
    return f"{seconds(abs(apart))} {'slower' if apart > 0 else 'faster'} than the median of {runs}, {seconds(usual)}."
