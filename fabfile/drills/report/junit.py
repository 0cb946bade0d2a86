"""Records as JUnit XML, for CI. Pure.

FAIL is a failure. UNKNOWN and ABORTED are errors: they say nothing about the cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from xml.etree import ElementTree as Xml  # only writes; nothing foreign is parsed

from ...core.text import exact_seconds, seconds, visible
from ..verdict.measures import latencies, measures_of
from ..verdict.record import Record, Verdict

_OUTCOMES: dict[Verdict, str] = {"FAIL": "failure", "UNKNOWN": "error", "ABORTED": "error", "SKIPPED": "skipped"}


def junit_xml(records: Sequence[Record]) -> str:
    """One test suite, a test case per record with its measures and timeline. Replaces characters that XML forbids."""
    suite = Xml.Element("testsuite", {"name": "nexus-ops drills", **_counts(records)})
    if records:
        suite.set("timestamp", _timestamp(min(r.began for r in records)))
    suite.extend(_case(record) for record in records)
    root = Xml.Element("testsuites", {"name": "nexus-ops drills", **_counts(records)})
    root.append(suite)
    Xml.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(root, encoding="unicode") + "\n"


def _counts(records: Sequence[Record]) -> dict[str, str]:
    outcomes = [_OUTCOMES.get(r.verdict) for r in records]
    return {
        "tests": str(len(records)),
        "failures": str(outcomes.count("failure")),
        "errors": str(outcomes.count("error")),
        "skipped": str(outcomes.count("skipped")),
        "time": f"{sum(r.ended_s for r in records):.3f}",
    }


def _case(record: Record) -> Xml.Element:
    target = f" on {record.target}" if record.target else ""
    case = Xml.Element("testcase", {
        "name": visible(record.drill + target), "classname": visible(f"drills.{record.cluster or 'cluster'}"),
        "time": f"{record.ended_s:.3f}",
    })  # fmt: skip
    properties = Xml.SubElement(case, "properties")
    for name, value in _properties(record):
        Xml.SubElement(properties, "property", {"name": visible(name), "value": visible(value)})
    if record.verdict in _OUTCOMES:
        outcome = Xml.SubElement(case, _OUTCOMES[record.verdict], {"message": visible(record.why or record.verdict)})
        if record.verdict != "SKIPPED":
            outcome.set("type", record.verdict)
            outcome.text = _lines([record.why, *(record.two_primaries or ())])
    if record.timeline:
        Xml.SubElement(case, "system-out").text = _lines(
            [f"{seconds(m.at_s):>9}  {m.kind:<9}  {m.text}" for m in record.timeline]
        )
    return case


def _properties(record: Record) -> list[tuple[str, str]]:
    """The measures for people; the two times once more as plain numbers for programs."""
    rows = [(m.name, f"{m.measured}; promised: {m.promised}") for m in measures_of(record)]
    numbers = (("detected_s", record.detected_s), ("recovered_s", record.recovered_s))
    rows += [(name, repr(value)) for name, value in numbers if value is not None]
    rows += [("error bar", exact_seconds(record.error_s)), *latencies(record.requests)]
    return [("promise", record.promise.text), *rows] if record.promise.text else rows


def _lines(texts: Sequence[str]) -> str:
    return "\n".join(visible(t) for t in texts if t)


def _timestamp(began: float) -> str:
    try:
        return datetime.fromtimestamp(began, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "1970-01-01T00:00:00"  # the attribute must be a time, and a damaged one must not prevent the report
