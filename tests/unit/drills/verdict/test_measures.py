"""The rows that terminal, page and JUnit share: measured beside promised, and this run beside the last ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fabfile.drills.verdict.measures import Measure, comparison, latencies, measures_of
from fabfile.drills.verdict.record import Promise, Record, Requests
from tests.support import drill_records as drilled

BASE = Record("kill-service", "PASS", 1000.0, cluster="shop", promise=Promise("", 10), recovered_s=2.0, error_s=0.5)


def row(record: Record, name: str) -> Measure:
    return next(m for m in measures_of(record) if m.name == name)


def test_a_time_bears_its_error_bar() -> None:
    """And the promise beside it, with the word for how they stand."""
    found = row(BASE, "recovered")
    assert (found.measured, found.promised, found.label) == ("2.00 s ± 0.5 s", "within 10 s", "kept")
    assert row(replace(BASE, since_undo=True), "recovered").promised == "within 10 s of the undo"


def test_never_seen_is_broken_and_no_number() -> None:
    """No 0 stands where nothing was seen."""
    found = row(replace(BASE, verdict="FAIL", recovered_s=None), "recovered")
    assert (found.measured, found.value, found.label) == ("never seen", None, "broken")


def test_in_doubt_is_said() -> None:
    """Beyond the promise, but only within the error bar."""
    assert row(replace(BASE, recovered_s=10.3), "recovered").label == "kept, within the error bar"


@pytest.mark.parametrize("verdict", ["UNKNOWN", "ABORTED"])
def test_without_a_verdict_no_number_is_judged(verdict: str) -> None:
    """Neither kept nor broken; what the history of the primaries shows stays true."""
    record = replace(drilled.aborted(), verdict=verdict, two_primaries=("two",), recovered_s=None)
    assert row(record, "recovered").label == "not judged"
    assert row(record, "primaries").label == "broken"


def test_what_is_neither_known_nor_promised_has_no_row() -> None:
    """No row of dashes; and a history that was not checked is not called sound."""
    assert [m.name for m in measures_of(BASE)] == ["recovered"]
    assert [m.name for m in measures_of(replace(BASE, two_primaries=()))] == ["recovered", "primaries"]
    assert row(replace(BASE, two_primaries=()), "primaries").measured == "a sound history"
    assert row(replace(BASE, two_primaries=("a", "b")), "primaries").measured == "2 findings"


@pytest.mark.parametrize(("requests", "limit", "measured", "promised", "judgement"), [
    (Requests(1000, 3), 0, "3 of 1,000", "none", "broken"),
    (Requests(1000, 0), 0, "0 of 1,000", "none", "kept"),
    (Requests(1000, 3), 3, "3 of 1,000", "at most 3", "kept"),
    (Requests(1000, 3), None, "3 of 1,000", "not promised", "free"),
    (Requests(), 0, "no load was run", "none", "free"),
])  # fmt: skip
def test_failed_requests(requests: Requests, limit: int | None, measured: str, promised: str, judgement: str) -> None:
    """Without load nothing is kept, for nothing was tried."""
    found = row(replace(BASE, requests=requests, promise=Promise("", failed_requests=limit)), "failed requests")
    assert (found.measured, found.promised, found.judgement) == (measured, promised, judgement)


def test_times_of_requests_are_told_only_where_one_was_answered() -> None:
    """p50, p95, p99, max and the slow ones."""
    assert latencies(Requests(5, 5)) == ()
    made = latencies(Requests(10, 0, 2, 12.3, 40.0, 980.0, 1500.0, 1000.0))
    assert made == (("p50", "12 ms"), ("p95", "40 ms"), ("p99", "980 ms"), ("max", "1.50 s"), ("slow (over 1.00 s)", "2"))


def ran(*times: float | None) -> list[Record]:
    ends = ["FAIL" if t is None else "PASS" for t in times]
    return [replace(BASE, began=float(n), recovered_s=t, verdict=ends[n]) for n, t in enumerate(times)]


def test_a_run_is_compared_with_the_median_of_those_that_recovered() -> None:
    """One bad day among them does not move it; the error bar is no difference."""
    assert comparison(BASE, []) == "No earlier run of this drill is kept."
    assert comparison(BASE, ran(None, None)) == "None of the last 2 judged runs recovered."
    assert comparison(BASE, ran(1, 1.2, None, 90)) == "0.80 s slower than the median of 3 earlier runs, 1.20 s."
    assert comparison(BASE, ran(5)) == "3.00 s faster than the median of 1 earlier run, 5.00 s."
    assert comparison(BASE, ran(1.6, 1.6)) == "As fast as the median of 2 earlier runs, 1.60 s, within the error bar."
    never = replace(BASE, recovered_s=None, verdict="FAIL")
    assert comparison(never, ran(1.6)) == "Never recovered; the median of 1 earlier run that recovered is 1.60 s."


def test_runs_without_a_verdict_prove_nothing() -> None:
    """An aborted run that did not recover is not held against the cluster, and one that did is no measure."""
    aborted = [replace(r, verdict="ABORTED") for r in ran(None, 1.0)]
    assert comparison(BASE, aborted) == "None of the last 2 runs came to a verdict."
    assert "1 earlier run," in comparison(BASE, [*aborted, *ran(3)])
    assert comparison(replace(BASE, verdict="UNKNOWN"), ran(3)).startswith("This run has no verdict;")
