"""The summary: one screen of 80 columns and 24 lines, complete without colour, and deaf to what foreign text commands."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from rich.cells import cell_len
from rich.console import Console, RenderableType

from fabfile.drills.report.summary import runs_table, summary
from fabfile.drills.verdict.record import Record, Requests
from tests.support import drill_records as drilled
from tests.support.any_record import records

PAGE = Path("/home/operator/shop/.nexus/shop/drills/20261123T201504Z-kill-service.html")


def printed(what: RenderableType, width: int = 80, colour: bool = False) -> str:
    out = io.StringIO()
    system = "truecolor" if colour else None
    Console(file=out, width=width, force_terminal=colour, color_system=system, legacy_windows=False).print(what)
    return out.getvalue()


def plain(text: str) -> str:
    """The words, wherever a line was broken."""
    return " ".join(text.split())


@pytest.mark.parametrize("make", drilled.EVERY, ids=lambda f: f.__name__)
def test_it_fits_one_screen(make) -> None:
    """80 columns and 24 lines with the prompt, and the verdict is the first word of all."""
    text = printed(summary(make(), [replace(make(), began=float(n)) for n in range(20)], PAGE))
    lines = text.splitlines()
    assert len(lines) < 24
    assert max(cell_len(line) for line in lines) <= 80
    assert make().verdict in lines[0]
    assert str(PAGE) in text


@settings(max_examples=100, deadline=None)
@given(records())
def test_any_record_fits_one_screen(record: Record) -> None:
    """However odd; and nothing in it moves the cursor or changes the direction of writing."""
    for what, most in ((summary(record, [replace(record, began=-2e12)], PAGE), 24), (runs_table([record] * 3), 10_000)):
        text = printed(what)
        assert text.count("\n") < most
        assert not [c for c in text if (c < " " and c != "\n") or "\x7f" <= c <= "\x9f" or c in "\u202e\u2066"]


def test_foreign_text_is_only_text() -> None:
    """Neither escape sequences nor rich's own markup are obeyed."""
    record = replace(drilled.hostile(), target="[red]x[/red] \x1b[2J")
    text = printed(summary(record, [], None))
    assert "[red]x[/red] \\x1b[2J" in text
    assert "\x1b" not in text


def test_it_says_all_that_was_asked() -> None:
    """Verdict and why, target, fault, both times with error bar, requests, percentiles, promise, primaries, history."""
    before = [replace(drilled.twice(), began=float(n), recovered_s=t) for n, t in enumerate((3.0, 2.9, 99.0))]
    text = plain(printed(summary(drilled.twice(), before, PAGE)))
    for words in (
        "✓ PASS Recovered after 1.92 s, promised within 5 s.",
        "drill kill-primary in shop, 2026-11-23 20:18:24 UTC",
        "target manager-1, the primary",
        "fault 6.10 s after the start, undone 6.90 s later",
        "promise a primary acts again in 5 s",
        "detected 1.21 s ± 0.2 s, not promised",
        "recovered 1.92 s ± 0.2 s, promised within 5 s: kept",
        "requests 440 sent, 0 failed p50 12 ms, p95 22 ms, p99 27 ms, max 44 ms; 0 over 1.00 s",
        "primary manager-1 epoch 4 → manager-2 epoch 5 (1.21 s after the fault) → manager-3 epoch 6 (1.42 s",
        "history sound: never two primaries at a time",
        "before 1.08 s faster than the median of 3 earlier runs, 3.00 s. Before: 3 PASS.",
        f"report {PAGE}",
    ):
        assert words in text


def test_never_seen_is_no_number() -> None:
    """And BROKEN is a word, for there may be no colour."""
    text = printed(summary(drilled.failed(), [], None))
    assert "recovered  never seen, promised within 30 s: BROKEN" in text
    assert "forced     the only instance, and we want to see it" in text


def test_two_primaries_are_found_on_the_screen() -> None:
    """The finding itself, and how many."""
    text = plain(printed(summary(drilled.split(), [], None)))
    assert text.startswith("✕ FAIL The history of the primaries is not sound: two primaries at a time: place by m1")
    assert "history 2 findings: two primaries at a time" in text


def test_an_unchecked_history_is_not_called_sound() -> None:
    """A drill that touches no manager says nothing of primaries at a time."""
    assert "history" not in printed(summary(drilled.passed(), [], None))


def test_without_load_or_answers_the_line_says_so() -> None:
    """No row of dashes."""
    assert "requests   no load was run" in printed(summary(drilled.unloaded(), [], None))
    assert "none was answered" in printed(summary(replace(drilled.passed(), requests=Requests(5, 5)), [], None))


def test_a_long_path_is_whole() -> None:
    """It may take more lines, but none of it is lost."""
    path = Path("/") / ("deep/" * 40) / "report.html"
    assert str(path) in "".join(line.strip() for line in printed(summary(drilled.passed(), [], path)).splitlines())


def test_colour_only_adds() -> None:
    """The same words with it and without it."""
    coloured = printed(summary(drilled.failed(), [], PAGE), colour=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured).split() == printed(summary(drilled.failed(), [], PAGE)).split()


def test_the_table_has_a_line_for_each_record() -> None:
    """80 columns; never and no verdict are told apart; all counted below."""
    made = [make() for make in drilled.EVERY[:-1]]
    lines = printed(runs_table(made)).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) == len(made) + 2
    assert lines[2].split() == ["✕", "FAIL", "hang-service", "w2", "11-23", "20:16", "never", "30", "s", "760"]
    assert lines[4].split() == ["■", "ABORTED", "partition", "m2", "11-23", "20:20", "–", "30", "s", "206"]
    assert lines[-1].strip() == "4 PASS, 2 FAIL, 1 UNKNOWN, 1 ABORTED, 1 SKIPPED"


def test_an_empty_table_says_so() -> None:
    """No header over nothing."""
    assert printed(runs_table([])).strip() == "no drill has been run"
