"""The picture of a drill: marks, requests, failures, phases and primaries above and below one axis of seconds. Pure.

From above: a lane for each mark, drawn from the fault to what was seen; each request's time; failures in each second;
the axis; and under it, where no mark's line crosses their words, the strips of phases and primaries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .axis import Axis
from .plots import plots
from .record import Record
from .shapes import Line, Path, Picture, Rect, Shape, Text, clipped
from .strips import strips
from .words import given, seconds

WIDTH, LEFT, GUTTER = 960, 70, 190  # the gutter on the right holds what belongs to the end of a line
RIGHT = WIDTH - GUTTER
_ROW = 19
_CLOSE = 0.35  # a close-up is worth its place when it shows less than this share of the whole


@dataclass(frozen=True, slots=True)
class Mark:
    """From the fault until `until_s` (seconds since `began`); None: it never came."""

    kind: str
    until_s: float | None
    words: str


def pictures(record: Record) -> tuple[Picture, ...]:
    """The whole drill and, where that squeezes what matters, a close-up around the fault."""
    whole = (0.0, max(record.ended_s, 1.0))
    close = window(record)
    narrow = close is not None and close[1] - close[0] < _CLOSE * (whole[1] - whole[0])
    return (picture(record, *whole), *([picture(record, *close)] if close and narrow else []))


def window(record: Record) -> tuple[float, float] | None:
    """From a little before the fault to a little after the last of detection and recovery; None: there is no such."""
    seen = [s for s in (record.detected_s, record.recovered_s) if s is not None]
    if record.fault_at_s is None or not seen:
        return None
    length = max(*seen, 2.0)
    return max(0.0, record.fault_at_s - length * 0.25), record.fault_at_s + length * 1.5


def picture(record: Record, start_s: float, end_s: float) -> Picture:
    """What happened from `start_s` to `end_s`, 960 pixels wide."""
    axis = Axis(start_s, end_s, LEFT, RIGHT)
    marks = sorted(marks_of(record), key=lambda m: (m.until_s is None, m.until_s or 0))
    top = _ROW * (len(marks) + 1) + 6
    drawn, bottom, notes = plots(record, axis, top)
    shapes: list[Shape] = [*_band(record, axis, bottom), *drawn]
    shapes += _fault(record, axis, bottom)
    for row, mark in enumerate(marks, start=1):
        shapes += _lane(mark, record.fault_at_s or 0.0, axis, row * _ROW, bottom)
    shapes += _scale(axis, bottom)
    below, height, unnamed = strips(record, axis, bottom + 34)
    return Picture(WIDTH, int(height), _title(record, axis), (*shapes, *below), (*notes, *unnamed))


def _title(record: Record, axis: Axis) -> str:
    marks = "; ".join(m.words for m in marks_of(record))
    return f"{record.drill}, {seconds(axis.start)} to {seconds(axis.end)}: {marks or 'no fault was injected'}"


def marks_of(record: Record) -> Iterator[Mark]:
    """Each with a time of its own, or the words that it never came. The numbers in the words are since the fault."""
    began, promise = record.fault_at_s, record.promise
    aborts = [m.at_s for m in record.timeline if m.kind == "abort"]
    if aborts:
        yield Mark("abort", aborts[0], f"aborted at {seconds(aborts[0])}")
    if began is None:
        return
    if record.detected_s is not None or promise.detect_s is not None:
        yield _seen("detected", "detection", record, record.detected_s)
    if record.recovered_s is not None or promise.recover_s is not None:
        yield _seen("recovered", "recovery", record, record.recovered_s)
    if promise.recover_s is not None:
        yield Mark("promised", record.at(promise.recover_s), f"promised within {given(promise.recover_s)}")
    healed = record.healed_at_s
    yield Mark("healed", healed, "no heal recorded" if healed is None else f"healed after {seconds(healed - began)}")


def _seen(word: str, noun: str, record: Record, since_fault: float | None) -> Mark:
    if since_fault is None:
        return Mark("never", None, f"{noun} never seen")
    return Mark(word, record.at(since_fault), f"{word} after {seconds(since_fault)}")


def _band(record: Record, axis: Axis, bottom: float) -> Iterator[Rect]:
    """While the fault was in force, or until the end when nobody recorded its heal."""
    if record.fault_at_s is None or record.fault_at_s > axis.end:
        return
    left = axis.px(record.fault_at_s)
    right = axis.px(axis.end if record.healed_at_s is None else record.healed_at_s)
    yield Rect(left, _ROW / 2, max(right - left, 1), bottom - _ROW / 2, "band")


def _fault(record: Record, axis: Axis, bottom: float) -> Iterator[Shape]:
    if record.fault_at_s is None:
        yield Text(LEFT, _ROW - 6, "no fault was injected", "dim")
        return
    x = axis.px(record.fault_at_s)
    yield Line(x, _ROW / 2, x, bottom, "fault")
    yield Path(f"M{x - 5:.1f} 3h10l-5 8z", "cap fault")
    yield Text(x + 9, _ROW - 6, f"fault at {seconds(record.fault_at_s)}", "fault strong")


def _lane(mark: Mark, from_s: float, axis: Axis, y: float, bottom: float) -> Iterator[Shape]:
    """A line from the fault to the mark, its words behind it; an arrow where it goes on, a cross where it never came."""
    middle, start = y + _ROW / 2, axis.px(from_s)
    inside = mark.until_s is not None and axis.holds(mark.until_s)
    end = axis.px(axis.end if mark.until_s is None else mark.until_s)
    yield Line(min(start, end), middle, end, middle, f"lane {mark.kind}")
    if inside:
        yield Line(end, middle, end, bottom, mark.kind)
        yield Path(f"M{end - 3.5:.1f} {middle:.1f}a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z", f"cap {mark.kind}")
    elif mark.until_s is None:
        yield Path(f"M{end - 4:.1f} {middle - 4:.1f}l8 8m0 -8l-8 8", f"cross {mark.kind}")
    else:
        yield Path(f"M{end - 3:.1f} {middle - 4:.1f}l7 4l-7 4z", f"cap {mark.kind}")
    yield Text(end + 9, middle + 4, clipped(mark.words, WIDTH - end - 12), mark.kind)


def _scale(axis: Axis, y: float) -> Iterator[Shape]:
    yield Line(LEFT, y, RIGHT, y, "axis")
    for x, words in axis.ticks(70):
        yield Line(x, y, x, y + 4, "axis")
        yield Text(x, y + 16, words, "tick", "middle", 11)
    yield Text(RIGHT + 18, y + 16, "s since the drill began", "tick", size=11)
