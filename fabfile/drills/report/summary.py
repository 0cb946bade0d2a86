"""A drill on one screen, and many in one table: 80 columns, 24 lines, and all of it in words, for there may be no colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from ...core.text import count, given, milliseconds, plural, seconds, utc, visible
from ..verdict.measures import Measure, compared, latencies, measures_of
from ..verdict.record import Record, Verdict, earlier, totals
from .html import SIGNS

_WIDE = 100  # columns that are used of a wider screen: longer lines are hard to read
_NAME = 11  # columns of the names
_STYLES: dict[Verdict, str] = {"PASS": "bold green", "FAIL": "bold red", "UNKNOWN": "bold yellow", "ABORTED": "bold magenta",
                               "SKIPPED": "dim"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """A name and what is to be said of it, in `most` lines; None: all of it, in as many as it takes."""

    name: str
    words: str
    most: int | None = 1
    style: str = ""


@dataclass(frozen=True, slots=True)
class Screen:
    """Rows that fold to the width of the console, each cut at its number of lines."""

    verdict: Verdict
    rows: tuple[Row, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(min(options.max_width, _WIDE) - _NAME, 20)
        for row in self.rows:
            lines = _folded(console, Text(row.words, row.style), width, row.most)
            for number, line in enumerate(lines):
                yield Text.assemble((f"{'' if number else row.name:<{_NAME}}", "dim"), line)


def show(record: Record, before: Sequence[Record], html: Path | None) -> RenderableType:
    """One screen. `before`: records kept so far, of any drill; `html`: where the report is, never cut short."""
    rows = tuple(Row(row.name, visible(row.words), row.most, row.style) for row in _rows(record, before, html))
    return Screen(record.verdict, rows)


def table(records: Sequence[Record]) -> RenderableType:
    """One line a record, in the order given, and how many of each verdict."""
    if not records:
        return Text("no drill has been run")
    made = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    made.add_column("verdict", no_wrap=True, min_width=9)
    made.add_column("drill", no_wrap=True, max_width=14)
    made.add_column("on", overflow="fold", ratio=1)
    made.add_column("UTC", no_wrap=True, min_width=11)
    for name in ("recovered", "promised", "failed"):
        made.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    for record in records:
        made.add_row(*_cells(record))
    return Group(made, Text(", ".join(f"{number} {verdict}" for verdict, number in totals(records).items()), "bold"))


def _cells(r: Record) -> Iterator[Text]:
    kept = {row.name: row for row in measures_of(r)}
    yield Text(f"{SIGNS[r.verdict]} {r.verdict}", _STYLES[r.verdict])
    yield Text(visible(r.drill))
    yield Text(visible(", ".join(r.hosts) or r.target))
    yield Text(utc(r.began)[5:16])
    yield _cell(seconds(r.recovered_s, "never"), kept.get("recovered"))
    yield Text(given(r.promise.recover_s, "–"))
    yield _cell(count(r.requests.failed) if r.requests.sent else "–", kept.get("failed requests"))


def _cell(words: str, row: Measure | None) -> Text:
    """A dash where there is nothing to say: nothing was promised and nothing seen, or the drill gave no answer."""
    if row is None or (words == "never" and row.word == "void"):
        return Text("–")
    return Text(words, "bold red" if row.word in ("broken", "never") else "")


def _rows(record: Record, before: Sequence[Record], html: Path | None) -> Iterator[Row]:
    """24 lines of 80 columns at the most, if the report's path has one or two."""
    yield Row(f"{SIGNS[record.verdict]} {record.verdict}", record.why or "no reason is recorded", 3, _STYLES[record.verdict])
    yield Row("drill", f"{record.drill} in {record.cluster or 'this cluster'}, {utc(record.began)}")
    yield Row("target", record.target or ", ".join(record.hosts) or "none", 2)
    yield Row("fault", _fault(record))
    if record.forced:
        yield Row("forced", record.forced)
    if record.promise.text:
        yield Row("promise", record.promise.text, 2)
    found = {row.name: row for row in measures_of(record)}
    yield from (_measure(name, found[name]) for name in ("detected", "recovered") if name in found)
    yield from _requests(record, found.get("failed requests"))
    yield from _primaries(record)
    yield Row("before", _before(record, earlier(record, before)), 2)
    if html is not None:
        yield Row("report", str(html), None)


def _fault(record: Record) -> str:
    if record.fault_at_s is None:
        return "none was injected"
    healed = record.healed_at_s
    undone = "its undo is not recorded" if healed is None else f"undone {seconds(healed - record.fault_at_s)} later"
    return f"{seconds(record.fault_at_s)} after the start, {undone}"


def _measure(name: str, row: Measure) -> Row:
    said = f": {row.said.upper() if row.word in ('broken', 'never') else row.said}" if row.said else ""
    return Row(name, f"{row.measured}, {_promised(row)}{said}", 1, "red" if row.word in ("broken", "never") else "")


def _promised(row: Measure) -> str:
    return row.promised if row.promised == "not promised" else f"promised {row.promised}"


def _requests(record: Record, row: Measure | None) -> Iterator[Row]:
    made = record.requests
    if not made.sent:
        yield Row("requests", "no load was run")
        return
    judged = f", promised {row.promised}: {row.said}" if row is not None and row.said else ""
    style = "red" if row is not None and row.word == "broken" else ""
    yield Row("requests", f"{count(made.sent)} sent, {count(made.failed)} failed{judged}", 1, style)
    slow = "" if made.slow_ms is None else f"; {count(made.slow)} over {milliseconds(made.slow_ms)}"
    times = ", ".join(f"{name} {value}" for name, value in latencies(made)[:4])
    yield Row("", f"{times}{slow}" if times else "none was answered")


def _primaries(record: Record) -> Iterator[Row]:
    """Who was primary in which epoch, from when on, counted from the fault; and what the checker found."""
    zero = record.fault_at_s or 0.0
    told = [
        f"{p.host} epoch {p.epoch}" + ("" if p.at_s <= zero else f" ({seconds(p.at_s - zero)} after the fault)")
        for p in record.primaries
    ]
    if told:
        yield Row("primary", " → ".join(told), 2)
    findings = record.two_primaries
    if findings:
        yield Row("history", f"{plural(len(findings), 'finding')}: {'; '.join(findings)}", 2, "bold red")
    elif findings is not None:
        yield Row("history", "sound: never two primaries at a time")


def _before(record: Record, last: Sequence[Record]) -> str:
    counts = ", ".join(f"{number} {verdict}" for verdict, number in totals(last).items())
    return f"{compared(record, last)} {f'Before: {counts}.' if counts else ''}".rstrip()


def _folded(console: Console, words: Text, width: int, most: int | None) -> list[Text]:
    """At most so many lines, the last with an ellipsis if there was more."""
    if most is None:
        return [words]  # a path: the terminal folds it, so that it can be copied as one word
    lines = list(words.wrap(console, width, no_wrap=False))
    if len(lines) <= most:
        return lines
    last = lines[most - 1].copy()
    last.rstrip()
    last.truncate(width - 1)
    last.append("…")
    return [*lines[: most - 1], last]
