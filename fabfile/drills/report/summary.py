"""A drill on one screen, and many in one table: 80 columns, 24 lines, and complete without colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from ...core.text import count, exact_seconds, milliseconds, plural, seconds, utc, visible
from ..verdict.measures import Measure, comparison, latencies, measures_of
from ..verdict.record import Record, Verdict, earlier_runs, totals
from .html import SIGNS

_MAX_WIDTH = 100  # columns used of a wider screen: longer lines are hard to read
_NAME_WIDTH = 11
_STYLES: dict[Verdict, str] = {
    "PASS": "bold green", "FAIL": "bold red", "UNKNOWN": "bold yellow", "ABORTED": "bold magenta", "SKIPPED": "dim",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """A name and its text, in at most `max_lines`; None: the whole text, in as many lines as it takes."""

    name: str
    text: str
    max_lines: int | None = 1
    style: str = ""


@dataclass(frozen=True, slots=True)
class Screen:
    """Rows, wrapped to the width of the console, each cut at its number of lines."""

    verdict: Verdict
    rows: tuple[Row, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(min(options.max_width, _MAX_WIDTH) - _NAME_WIDTH, 20)
        for row in self.rows:
            lines = _wrapped(console, Text(row.text, row.style), width, row.max_lines)
            for number, line in enumerate(lines):
                yield Text.assemble((f"{'' if number else row.name:<{_NAME_WIDTH}}", "dim"), line)


def summary(record: Record, kept: Sequence[Record], page: Path | None) -> RenderableType:
    """One screen. `kept`: the records so far, of any drill; `page`: the path of the report, never cut short."""
    rows = tuple(Row(row.name, visible(row.text), row.max_lines, row.style) for row in _rows(record, kept, page))
    return Screen(record.verdict, rows)


def runs_table(records: Sequence[Record]) -> RenderableType:
    """One line per record, in the order given, and the number of each verdict."""
    if not records:
        return Text("no drill has been run")
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("verdict", no_wrap=True, min_width=9)
    table.add_column("drill", no_wrap=True, max_width=14)
    table.add_column("on", overflow="fold", ratio=1)
    table.add_column("UTC", no_wrap=True, min_width=11)
    for name in ("recovered", "promised", "failed"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    for record in records:
        table.add_row(*_cells(record))
    return Group(table, Text(_totals(records), "bold"))


def _totals(records: Sequence[Record]) -> str:
    return ", ".join(f"{number} {verdict}" for verdict, number in totals(records).items())


def _cells(r: Record) -> Iterator[Text]:
    measures = {row.name: row for row in measures_of(r)}
    yield Text(f"{SIGNS[r.verdict]} {r.verdict}", _STYLES[r.verdict])
    yield Text(visible(r.drill))
    yield Text(visible(", ".join(r.hosts) or r.target))
    yield Text(utc(r.began)[5:16])
    yield _cell(seconds(r.recovered_s, "never"), measures.get("recovered"))
    yield Text(exact_seconds(r.promise.recover_s, "–"))
    yield _cell(count(r.requests.failed) if r.requests.sent else "–", measures.get("failed requests"))


def _cell(text: str, row: Measure | None) -> Text:
    """A dash where nothing was promised and nothing seen, or where the drill has no verdict."""
    if row is None or (text == "never" and row.judgement == "void"):
        return Text("–")
    return Text(text, "bold red" if _is_broken(row) else "")


def _is_broken(row: Measure) -> bool:
    return row.judgement in ("broken", "never")


def _rows(record: Record, kept: Sequence[Record], page: Path | None) -> Iterator[Row]:
    """24 lines of 80 columns at most, if the report's path takes one or two."""
    verdict = f"{SIGNS[record.verdict]} {record.verdict}"
    yield Row(verdict, record.why or "no reason is recorded", 3, _STYLES[record.verdict])
    yield Row("drill", f"{record.drill} in {record.cluster or 'this cluster'}, {utc(record.began)}")
    yield Row("target", record.target or ", ".join(record.hosts) or "none", 2)
    yield Row("fault", _fault(record))
    if record.forced:
        yield Row("forced", record.forced)
    if record.promise.text:
        yield Row("promise", record.promise.text, 2)
    measures = {row.name: row for row in measures_of(record)}
    yield from (_measure(name, measures[name]) for name in ("detected", "recovered") if name in measures)
    yield from _requests(record, measures.get("failed requests"))
    yield from _primaries(record)
    yield Row("before", _earlier(record, earlier_runs(record, kept)), 2)
    if page is not None:
        yield Row("report", str(page), None)


def _fault(record: Record) -> str:
    if record.fault_at_s is None:
        return "none was injected"
    healed = record.healed_at_s
    undone = "its undo is not recorded" if healed is None else f"undone {seconds(healed - record.fault_at_s)} later"
    return f"{seconds(record.fault_at_s)} after the start, {undone}"


def _measure(name: str, row: Measure) -> Row:
    promised = row.promised if row.promised == "not promised" else f"promised {row.promised}"
    label = row.label.upper() if _is_broken(row) else row.label
    text = f"{row.measured}, {promised}" + (f": {label}" if label else "")
    return Row(name, text, 1, "red" if _is_broken(row) else "")


def _requests(record: Record, row: Measure | None) -> Iterator[Row]:
    requests = record.requests
    if not requests.sent:
        yield Row("requests", "no load was run")
        return
    judged = f", promised {row.promised}: {row.label}" if row is not None and row.label else ""
    style = "red" if row is not None and row.judgement == "broken" else ""
    yield Row("requests", f"{count(requests.sent)} sent, {count(requests.failed)} failed{judged}", 1, style)
    slow = "" if requests.slow_ms is None else f"; {count(requests.slow)} over {milliseconds(requests.slow_ms)}"
    times = ", ".join(f"{name} {value}" for name, value in latencies(requests)[:4])
    yield Row("", f"{times}{slow}" if times else "none was answered")


def _primaries(record: Record) -> Iterator[Row]:
    """The primary of each epoch and its begin, counted from the fault; and the checker's findings."""
    zero = record.fault_at_s or 0.0
    primaries = [
        f"{p.host} epoch {p.epoch}" + ("" if p.at_s <= zero else f" ({seconds(p.at_s - zero)} after the fault)")
        for p in record.primaries
    ]
    if primaries:
        yield Row("primary", " → ".join(primaries), 2)
    findings = record.two_primaries
    if findings:
        yield Row("history", f"{plural(len(findings), 'finding')}: {'; '.join(findings)}", 2, "bold red")
    elif findings is not None:
        yield Row("history", "sound: never two primaries at a time")


def _earlier(record: Record, earlier: Sequence[Record]) -> str:
    verdicts = _totals(earlier)
    return f"{comparison(record, earlier)} {f'Before: {verdicts}.' if verdicts else ''}".rstrip()


def _wrapped(console: Console, text: Text, width: int, max_lines: int | None) -> list[Text]:
    """At most so many lines; the last one ends with an ellipsis if there was more."""
    if max_lines is None:
        return [text]  # a path: the terminal wraps it, so that it can be copied as one word
    lines = list(text.wrap(console, width, no_wrap=False))
    if len(lines) <= max_lines:
        return lines
    last = lines[max_lines - 1].copy()
    last.rstrip()
    last.truncate(width - 1)
    last.append("…")
    return [*lines[: max_lines - 1], last]
