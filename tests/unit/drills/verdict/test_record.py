"""The record of a drill: what it keeps, and that its JSON gives back the same."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabfile.core.errors import InputError
from fabfile.drills.verdict.record import Promise, Record, earlier_runs, nearest_rank, requests_of, totals
from fabfile.drills.verdict.record_schema import read_record
from tests.support import drill_records as drilled
from tests.support.any_record import records

LEAST = {"drill": "kill-service", "verdict": "PASS", "began": 0}


@settings(max_examples=150, deadline=None)
@given(records())
def test_a_record_is_the_same_after_its_json(record: Record) -> None:
    """Whatever a drill was, its JSON gives back an equal value, and the same JSON again."""
    text = json.dumps(record.to_json(), allow_nan=False)
    again = read_record(json.loads(text))
    assert again == record
    assert json.dumps(again.to_json()) == text


@pytest.mark.parametrize("make", drilled.EVERY, ids=lambda f: f.__name__)
def test_each_kind_of_end_is_the_same_after_its_json(make) -> None:
    """Halves of surrogate pairs and control characters are no reason to lose a record."""
    assert read_record(json.loads(json.dumps(make().to_json()))) == make()


def test_the_json_has_the_keys_that_were_promised() -> None:
    """Scripts read these names; what was never seen is null, and never 0."""
    made = drilled.failed().to_json()
    named = "drill target verdict detected_s recovered_s error_s requests promise primaries timeline"
    assert set(named.split()) <= set(made)
    assert {"sent", "failed", "p50_ms", "p99_ms"} <= set(made["requests"])
    assert made["recovered_s"] is None
    assert made["timeline"][0] == {"at_s": 0.0, "kind": "phase", "text": "steady state"}
    assert made["primaries"] == [{"host": "m1", "epoch": 4, "at_s": -3600}]
    assert made["samples"][0] == [0.0, drilled.failed().samples[0].ms, 1]


def test_a_record_of_another_version_is_read() -> None:
    """Missing keys have their defaults, unknown ones are left out, a new kind of moment is a note."""
    made = read_record({**LEAST, "invented": 1, "timeline": [{"at_s": 1, "kind": "invented", "text": "x", "more": 2}]})
    assert (made.detected_s, made.two_primaries, made.since_undo) == (None, None, False)
    assert made.timeline[0].kind == "note"


@pytest.mark.parametrize(("change", "path"), [
    ({"verdict": "FINE"}, "record.verdict"),
    ({"detected_s": "0"}, "record.detected_s"),
    ({"recovered_s": float("nan")}, "record.recovered_s"),
    ({"recovered_s": True}, "record.recovered_s"),
    ({"began": float("inf")}, "record.began"),
    ({"since_undo": 1}, "record.since_undo"),
    ({"requests": {"sent": -1}}, "record.requests.sent"),
    ({"promise": []}, "record.promise"),
    ({"timeline": [{"at_s": 1, "kind": "note", "text": "x"}, {"at_s": None, "kind": "note", "text": ""}]},
     "record.timeline[1].at_s"),
    ({"samples": [[0, 1, 1], [0, 1, 2]]}, "record.samples[1]"),
    ({"two_primaries": "none"}, "record.two_primaries"),
])  # fmt: skip
def test_a_damaged_record_is_refused_with_the_path(change: dict[str, object], path: str) -> None:
    """A number that is none must not become a time that somebody believes."""
    with pytest.raises(InputError) as error:
        read_record({**LEAST, **change})
    assert [fault.split(": ")[0] for fault in error.value.faults] == [path]


def test_what_is_no_record_at_all_is_told_briefly() -> None:
    """A file of anything else is refused in a few lines."""
    for value in (None, [], 3, {"samples": [None] * 1000}):
        with pytest.raises(InputError) as error:
            read_record(value)
        assert len(error.value.faults) <= 11


def test_recovery_counts_from_the_fault_or_from_its_undo() -> None:
    """A fault that is meant to last is recovered from after its undo; the promise counts from there as well."""
    record = replace(drilled.passed(), fault_at_s=10.0, healed_at_s=40.0, recovered_s=2.0, promise=Promise("", 5.0))
    assert (record.recovered_at_s, record.deadline_at_s) == (12.0, 15.0)
    held = replace(record, since_undo=True)
    assert (held.recovered_at_s, held.deadline_at_s) == (42.0, 45.0)
    assert replace(held, healed_at_s=None).recovered_at_s is None
    assert replace(record, recovered_s=None).recovered_at_s is None


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300), st.integers(1, 100))
def test_a_percentile_is_one_that_was_measured(values: list[float], percent: int) -> None:
    """The nearest rank: at least so many percent are not above it, and no smaller one would do."""
    ordered = sorted(values)
    found = nearest_rank(ordered, percent)
    assert found in ordered
    assert sum(v <= found for v in ordered) * 100 >= percent * len(ordered)
    assert sum(v < found for v in ordered) * 100 < percent * len(ordered)


def test_failed_requests_do_not_flatter_the_percentiles() -> None:
    """A refused connection comes back in no time: it is counted, and has no share in the times."""
    samples = [(0.0, 100.0, True), (0.1, 300.0, True), (0.2, 0.1, False), (0.3, 0.1, False)]
    made = requests_of(samples, slow_ms=200)
    assert (made.sent, made.failed, made.slow) == (4, 2, 1)
    assert (made.p50_ms, made.p99_ms, made.max_ms) == (100.0, 300.0, 300.0)
    none = requests_of([(0.0, 5.0, False)], slow_ms=200)
    assert (none.p50_ms, none.p99_ms, none.max_ms) == (None, None, None)


def test_earlier_runs_are_of_the_same_drill_and_cluster() -> None:
    """Of others, of later ones and of those that were skipped nothing is learnt."""
    this = drilled.passed()
    runs = [replace(this, began=this.began - n) for n in range(14)]
    others = [replace(runs[2], drill="kill-agent"), replace(runs[2], cluster="other"), replace(runs[2], verdict="SKIPPED"),
              replace(this, began=this.began + 1)]  # fmt: skip
    found = earlier_runs(this, [*others, *runs])
    assert [this.began - r.began for r in found] == list(range(10, 0, -1))
    assert set(found) <= set(runs)


def test_totals_name_only_what_occurs() -> None:
    """Zero of a verdict is not worth a word."""
    assert totals([drilled.passed(), drilled.failed(), drilled.twice()]) == {"PASS": 2, "FAIL": 1}
