"""One HTML file for one drill, or for a gameday. It loads nothing and runs nothing.

All text of a record is untrusted: the template escapes all that it prints, `visible` replaces invisible characters
that a browser would obey, and the page's own policy forbids scripts and requests in case both fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core import text
from ..verdict.measures import Measure, comparison, latencies, measures_of
from ..verdict.record import Record, Verdict, earlier_runs, totals
from .sparklines import bullet, sparkline
from .svg import Picture
from .timeline import pictures

if TYPE_CHECKING:
    from jinja2 import Environment

# beside the verdict's name and colour
SIGNS: dict[Verdict, str] = {"PASS": "✓", "FAIL": "✕", "UNKNOWN": "?", "ABORTED": "■", "SKIPPED": "–"}
_FILTERS = ("seconds", "exact_seconds", "milliseconds", "count", "plural", "utc")


@dataclass(frozen=True, slots=True)
class DrillSection:
    """One record on the page. id: of its section. runs: newest first, this one included."""

    id: str
    record: Record
    measures: tuple[tuple[Measure, Picture | None], ...]
    latencies: tuple[tuple[str, str], ...]
    pictures: tuple[tuple[str, Picture], ...]
    runs: tuple[Record, ...]
    sparkline: Picture | None
    comparison: str

    @property
    def recovery_bullet(self) -> Picture | None:
        """For the table of a gameday."""
        return next((picture for row, picture in self.measures if row.name == "recovered"), None)


@dataclass(frozen=True, slots=True)
class Page:
    title: str
    drills: tuple[DrillSection, ...]

    @property
    def counts(self) -> str:
        """`11 PASS, 2 FAIL, 1 UNKNOWN`"""
        return ", ".join(f"{count} {verdict}" for verdict, count in totals([d.record for d in self.drills]).items())

    @property
    def is_gameday(self) -> bool:
        return len(self.drills) != 1


def render_page(records: Sequence[Record], kept: Sequence[Record] = ()) -> str:
    """The page of one record; of several, or none: of a gameday. `kept`: the records so far, of any drill."""
    drills = tuple(_section(number, record, kept) for number, record in enumerate(records, start=1))
    template = _environment().get_template("report.html.j2")
    html: str = template.render(page=Page(page_title(records), drills), signs=SIGNS)
    return html


def page_title(records: Sequence[Record]) -> str:
    """`PASS: kill-primary on m1`, `Gameday: 12 of 14 drills passed`; skipped drills do not count."""
    if len(records) == 1:
        target = f" on {records[0].target}" if records[0].target else ""
        return f"{records[0].verdict}: {records[0].drill}{target}"
    counts = totals(records)
    run = len(records) - counts.get("SKIPPED", 0)
    return f"Gameday: {counts.get('PASS', 0)} of {text.plural(run, 'drill')} passed"


def _section(number: int, record: Record, kept: Sequence[Record]) -> DrillSection:
    earlier = earlier_runs(record, kept)
    judged = [r for r in earlier if r.judged]
    return DrillSection(
        id=f"drill-{number}",
        record=record,
        measures=tuple((m, _bullet(m, record.error_s)) for m in measures_of(record)),
        latencies=latencies(record.requests),
        pictures=pictures(record),
        runs=(record, *reversed(earlier)) if earlier else (),
        sparkline=sparkline([*judged, record]) if judged and record.judged else None,
        comparison=comparison(record, earlier),
    )


def _bullet(row: Measure, error_s: float) -> Picture | None:
    return None if row.limit is None else bullet(row.value, row.limit, error_s, row.judgement)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    env = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, autoescape=True,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, finalize=_finalize,
    )  # fmt: skip
    env.filters |= {name: getattr(text, name) for name in _FILTERS}
    return env


def _finalize(value: Any) -> Any:
    """The template's last step for each value: text loses its control characters; the template's own markup stays."""
    return text.visible(value) if type(value) is str else value
