"""JUnit XML: what CI counts, and that no text of a record can break it."""

from __future__ import annotations

from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabfile.drills.report.junit import junit_xml
from fabfile.drills.verdict.record import Record
from tests.support import drill_records as drilled
from tests.support.any_record import records


def parsed(made: list[Record]) -> Xml.Element:
    """Through bytes, as CI reads it."""
    return Xml.fromstring(junit_xml(made).encode())  # noqa: S314  our own output


@pytest.mark.parametrize(("make", "end", "kind"), [
    (drilled.passed, None, None), (drilled.failed, "failure", "FAIL"), (drilled.split, "failure", "FAIL"),
    (drilled.unknown, "error", "UNKNOWN"), (drilled.aborted, "error", "ABORTED"), (drilled.skipped, "skipped", None),
])  # fmt: skip
def test_each_verdict_has_its_end(make, end: str | None, kind: str | None) -> None:
    """A drill that says nothing of the cluster is an error, and never a pass."""
    case = parsed([make()])[0][0]
    ends = [child for child in case if child.tag in ("failure", "error", "skipped")]
    assert [e.tag for e in ends] == ([] if end is None else [end])
    for found in ends:
        assert found.get("message") == make().why
        assert found.get("type") == kind


def test_the_counts_add_up() -> None:
    """Of the suite and of the whole."""
    root = parsed([make() for make in drilled.EVERY])
    for element in (root, root[0]):
        assert [element.get(k) for k in ("tests", "failures", "errors", "skipped")] == ["10", "2", "2", "1"]
    assert root[0].get("timestamp") == "2026-11-23T20:15:04"
    assert len(root[0].findall("testcase")) == 10


def test_a_case_has_measures_and_timeline() -> None:
    """As properties that a program reads, and as text for people."""
    case = parsed([drilled.passed()])[0][0]
    assert case.get("name") == "kill-service on api on w1, one of 3 instances that pass"
    assert case.get("classname") == "drills.shop"
    found = {p.get("name"): p.get("value") for p in case.iter("property")}
    assert (found["recovered"], found["recovered_s"]) == ("1.84 s ± 0.5 s; promised: within 10 s", "1.84")
    assert "6.10 s  fault      kill-service on api on w1" in (case.findtext("system-out") or "")


def test_never_seen_has_no_number() -> None:
    """No property of 0 seconds."""
    found = {p.get("name"): p.get("value") for p in parsed([drilled.failed()]).iter("property")}
    assert "recovered_s" not in found
    assert found["recovered"] == "never seen; promised: within 30 s"


def test_findings_are_all_in_the_failure() -> None:
    """The sentence why names the first only."""
    failure = next(parsed([drilled.split()]).iter("failure"))
    assert (failure.text or "").count("two primaries at a time") == 3


def test_hostile_texts_are_only_texts() -> None:
    """Markup is escaped; what XML forbids even escaped is replaced."""
    text = junit_xml([drilled.hostile()])
    assert "<script" not in text
    assert "\x1b" not in text
    assert "</text><script>alert(1)</script>&\"' \\x1b[31m" in (parsed([drilled.hostile()])[0][0].get("name") or "")


@settings(max_examples=100, deadline=None)
@given(st.lists(records(), max_size=3))
def test_any_record_is_well_formed(made: list[Record]) -> None:
    """And is one case."""
    assert len(parsed(made).findall("testsuite/testcase")) == len(made)
