"""One HTML file for one drill, or for a gameday: nothing outside it is loaded, and nothing in it runs.

Every word of a record is foreign: the template escapes all it prints, `visible` takes what a browser would obey
unseen, and the page's own policy forbids scripts and requests should both fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core import text as words
from ..verdict.measures import Measure, compared, latencies, measures_of
from ..verdict.record import Record, Verdict, earlier, totals
from .sparklines import bullet, sparkline
from .svg import Picture
from .timeline import pictures

if TYPE_CHECKING:
    from jinja2 import Environment

# beside the word and the colour
SIGNS: dict[Verdict, str] = {"PASS": "✓", "FAIL": "✕", "UNKNOWN": "?", "ABORTED": "■", "SKIPPED": "–"}


@dataclass(frozen=True, slots=True)
class Drill:
    """All that the page says of one record. id: of its place in the page. runs: newest first, this one among them."""

    id: str
    record: Record
    measures: tuple[tuple[Measure, Picture | None], ...]
    latencies: tuple[tuple[str, str], ...]
    pictures: tuple[tuple[str, Picture], ...]
    runs: tuple[Record, ...]
    sparkline: Picture | None
    compared: str

    @property
    def bullet(self) -> Picture | None:
        """That of the recovery, for the table of a gameday."""
        return next((picture for row, picture in self.measures if row.name == "recovered"), None)


@dataclass(frozen=True, slots=True)
class Page:
    title: str
    drills: tuple[Drill, ...]

    @property
    def counts(self) -> str:
        """`11 PASS, 2 FAIL, 1 UNKNOWN`"""
        return ", ".join(f"{count} {verdict}" for verdict, count in totals([d.record for d in self.drills]).items())

    @property
    def gameday(self) -> bool:
        return len(self.drills) != 1


def report(records: Sequence[Record], before: Sequence[Record] = ()) -> str:
    """The page of one record; of several (or none): of a gameday. `before`: records kept so far, of any drill."""
    drills = tuple(_drill(number, record, before) for number, record in enumerate(records, start=1))
    made: str = _environment().get_template("report.html.j2").render(v=Page(title(records), drills), signs=SIGNS)
    return made


def title(records: Sequence[Record]) -> str:
    """`PASS: kill-primary on m1`, `Gameday: 12 of 14 drills passed`; skipped ones are not counted."""
    if len(records) == 1:
        where = f" on {records[0].target}" if records[0].target else ""
        return f"{records[0].verdict}: {records[0].drill}{where}"
    counts = totals(records)
    run = len(records) - counts.get("SKIPPED", 0)
    return f"Gameday: {counts.get('PASS', 0)} of {words.plural(run, 'drill')} passed"


def _drill(number: int, record: Record, before: Sequence[Record]) -> Drill:
    last = earlier(record, before)
    judged = [r for r in last if r.judged]
    return Drill(
        id=f"drill-{number}",
        record=record,
        measures=tuple((m, _bullet(m, record.error_s)) for m in measures_of(record)),
        latencies=latencies(record.requests),
        pictures=pictures(record),
        runs=(record, *reversed(last)) if last else (),
        sparkline=sparkline([*judged, record]) if judged and record.judged else None,
        compared=compared(record, last),
    )


def _bullet(row: Measure, error_s: float) -> Picture | None:
    return None if row.limit is None else bullet(row.value, row.limit, error_s, row.word)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    env = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, autoescape=True,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, finalize=_finalize,
    )  # fmt: skip
    for name in ("seconds", "given", "milliseconds", "count", "plural", "utc"):
        env.filters[name] = getattr(words, name)
    return env


def _finalize(value: Any) -> Any:
    """What a template prints last: text, not markup that the template itself has made, is freed of control characters."""
    return words.visible(value) if type(value) is str else value
