"""The picture of a drill: no two words overlap, none leaves it, and each mark stands where it was measured."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fabfile.drills.report.axis import Axis
from fabfile.drills.report.html import render_page
from fabfile.drills.report.sparklines import bullet, sparkline
from fabfile.drills.report.svg import Picture
from fabfile.drills.report.timeline import LEFT, RIGHT, marks_of, picture, pictures, windows
from fabfile.drills.verdict.record import Moment, Primary, Promise, Record
from tests.support import drill_records as drilled
from tests.support.any_record import SHORT, records


def legible(made: Picture) -> None:
    """By the widest of the usual fonts: no overlap, all inside."""
    for one, other in combinations(made.texts, 2):
        assert not one.box.overlaps(other.box), (one, other)
    for text in made.texts:
        box = text.box
        assert 0 <= box.left <= box.right <= made.width, text
        assert -1 <= box.top <= box.bottom <= made.height, text


@pytest.mark.parametrize("make", drilled.EVERY, ids=lambda f: f.__name__)
def test_no_words_overlap(make) -> None:
    """In the whole and in each close-up."""
    for _, made in pictures(make()):
        legible(made)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(records(number=SHORT, sample=SHORT))
def test_no_words_overlap_whatever_happened(record: Record) -> None:
    """Many phases and primaries at one moment, late marks, early ends."""
    for _, made in pictures(record):
        legible(made)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 20), st.text(max_size=80)), min_size=1, max_size=12))
def test_crowded_strips_stay_legible(entries: list[tuple[float, str]]) -> None:
    """Primaries that follow each other within a moment each have a place for their name, or are said to have none."""
    record = replace(drilled.unloaded(), primaries=tuple(Primary(w, n, at) for n, (at, w) in enumerate(entries)),
                     timeline=tuple(Moment(at, "phase", w) for at, w in entries))  # fmt: skip
    for _, made in pictures(record):
        legible(made)


def test_two_primaries_close_together_are_both_named() -> None:
    """0.2 s apart in a drill of 22 s."""
    words = [t.text for t in pictures(drilled.twice())[0][1].texts]
    assert [w for w in words if "epoch" in w] == ["manager-1 · epoch 4", "manager-3 · epoch 6", "manager-2 · epoch 5"]


def lines(made: Picture, css_class: str) -> list[float]:
    """Where the upright lines of that class stand."""
    return [line.x1 for line in made.lines if line.css_class == css_class and line.x1 == line.x2]


def test_marks_stand_where_they_were_measured() -> None:
    """Fault, detection and recovery, in pixels of the axis."""
    record = drilled.passed()
    made = picture(record, 0.0, 14.0)
    axis = Axis(0.0, 14.0, LEFT, RIGHT)
    assert lines(made, "fault") == [axis.px(6.1)]
    assert lines(made, "detected") == [pytest.approx(axis.px(6.51))]
    assert lines(made, "recovered") == [pytest.approx(axis.px(7.94))]
    assert lines(made, "healed") == [axis.px(8.9)]


def test_recovery_after_the_undo_is_drawn_after_the_undo() -> None:
    """Not 6.2 s after the fault, where nothing had recovered."""
    marks = {m.kind: m for m in marks_of(drilled.long())}
    assert marks["recovered"].until_s == pytest.approx(576.2)
    assert (marks["recovered"].from_s, marks["promised"].until_s) == (570.0, 600.0)
    assert [what for what, *_ in windows(drilled.long())] == ["fault", "undo"]


def test_what_never_came_has_a_cross_and_no_line() -> None:
    """The lane goes to the edge, and says so; where there is no verdict it says less."""
    made = pictures(drilled.failed())[0][1]
    assert lines(made, "recovered") == []
    assert "recovered: never seen" in [t.text for t in made.texts]
    assert "cross never" in [p.css_class for p in made.paths]
    assert "recovered: not seen" in [t.text for t in pictures(drilled.unknown())[0][1].texts]


def test_without_load_the_picture_says_so() -> None:
    """No empty frame that could be read as: nothing failed."""
    words = [t.text for t in pictures(drilled.unloaded())[0][1].texts]
    assert "no load was run" in words
    assert not [w for w in words if "answered" in w]


def test_what_never_began_has_no_picture() -> None:
    """A skipped drill is a line and a reason."""
    assert pictures(drilled.skipped()) == ()
    assert "no worker of this cluster runs Docker" in render_page([drilled.skipped()])


def test_failures_are_counted_in_their_second() -> None:
    """The bars add up to all failed requests, none before the fault is in one of after it."""
    record = drilled.failed()
    bars = [r for r in pictures(record)[0][1].rects if r.css_class == "failures"]
    assert sum(int(bar.title.split(" ")[0]) for bar in bars) == record.requests.failed
    assert min(bar.x for bar in bars) >= Axis(0.0, record.ended_s, LEFT, RIGHT).px(6.0)


@pytest.mark.parametrize("last", [1.84, None, 9.9, 40.0])
def test_the_line_of_runs_is_legible(last: float | None) -> None:
    """Also where this run lies on the promise, or never recovered."""
    runs = [replace(drilled.passed(), recovered_s=t) for t in (1.0, None, 2.0, last)]
    made = sparkline(runs)
    legible(made)
    assert len([p for p in made.paths if "cross" in p.css_class]) == [1.0, None, 2.0, last].count(None)


def test_a_bullet_shows_what_is_beyond_the_promise() -> None:
    """The bar of a broken promise goes past its tick, that of a kept one ends before it; never seen has no bar."""
    ends = {}
    for value, judgement in ((5.0, "kept"), (15.0, "broken")):
        made = bullet(value, 10.0, 0.5, judgement)  # type: ignore[arg-type]
        bar = next(r for r in made.rects if r.css_class.startswith("bar"))
        tick = next(line for line in made.lines if line.css_class == "promise")
        ends[judgement] = bar.x + bar.width > tick.x1
    assert ends == {"kept": False, "broken": True}
    assert not [r for r in bullet(None, 10.0, 0.5, "never").rects if r.css_class.startswith("bar")]


def test_an_unpromised_recovery_has_no_mark_of_a_promise() -> None:
    """Nothing is drawn that nobody said."""
    assert "promised" not in [m.kind for m in marks_of(replace(drilled.passed(), promise=Promise()))]


def test_what_cannot_be_named_is_said() -> None:
    """Twenty elections within a moment: some names, no ladder, and a word on the rest."""
    many = tuple(Primary(f"manager-{n}", n, 7.0 + n / 1000) for n in range(20))
    made = pictures(replace(drilled.unloaded(), primaries=many))[0][1]
    shown = [t for t in made.texts if "epoch" in t.text]
    assert 1 < len(shown) < 10
    assert made.notes == (f"{20 - len(shown)} of the primaries could not be named in the picture; the table has all.",)
