"""The picture of a drill: marks, requests, failures, phases and primaries above and below one axis of seconds. Pure.

From above: a lane for each mark, drawn from the fault to what was seen; each request's time; failures in each second;
the axis; and under it, where no mark's line crosses their words, the strips of phases and primaries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...core.text import given, seconds
from ..verdict.record import Record
from .axis import Axis
from .plots import plots
from .strips import strips
from .svg import Line, Path, Picture, Rect, Shape, Text, clipped

WIDTH, LEFT, GUTTER = 960, 70, 190  # the gutter on the right holds what belongs to the end of a line
RIGHT = WIDTH - GUTTER
_ROW = 19
_BELOW = 19  # from the axis to its numbers: clear of the lowest number at its left
_CLOSE = 0.35  # a close-up is worth its place when it shows less than this share of the whole
_FELT = 6.0  # seconds after the fault in which the requests show what it did to users


@dataclass(frozen=True, slots=True)
class Mark:
    """`from_s` (the fault, or its undo) until `until_s`, in seconds since `began`; None: it never came."""

    kind: str
    from_s: float
    until_s: float | None
    words: str


def pictures(record: Record) -> tuple[tuple[str, Picture], ...]:
    """(caption, picture): the whole drill and, where that squeezes what matters, close-ups; none of what never began."""
    length = record.ended_s
    if not length:
        return ()
    close = [w for w in windows(record) if w[2] - w[1] < _CLOSE * length]
    return (
        ("What happened", picture(record, 0.0, length)),
        *((f"Close-up around the {what}", picture(record, start, end)) for what, start, end in close),
    )


def windows(record: Record) -> Iterator[tuple[str, float, float]]:
    """(of what, start, end): from a little before the fault, and the undo, to a little after what followed from it."""
    from_fault = [record.detected_s, None if record.since_undo else record.recovered_s]
    if record.since_undo and record.samples:
        from_fault.append(_FELT)
    after = {"fault": (record.fault_at_s, from_fault)}
    if record.since_undo:
        after["undo"] = (record.healed_at_s, [record.recovered_s])
    for what, (at, times) in after.items():
        seen = [t for t in times if t is not None]
        if at is not None and seen:
            length = max(*seen, 2.0)
            yield what, max(0.0, at - length * 0.25), at + length * 1.5


def picture(record: Record, start_s: float, end_s: float) -> Picture:
    """What happened from `start_s` to `end_s`, 960 pixels wide."""
    axis = Axis(start_s, end_s, LEFT, RIGHT)
    there = [m for m in marks_of(record) if m.from_s <= end_s and (m.until_s is None or m.until_s >= start_s)]
    marks = sorted(there, key=lambda m: (m.until_s is None, m.until_s or 0))
    top = _ROW * (len(marks) + 1) + 6
    drawn, bottom, notes = plots(record, axis, top)
    shapes: list[Shape] = [*_band(record, axis, bottom), *drawn]
    shapes += _fault(record, axis, bottom)
    for row, mark in enumerate(marks, start=1):
        shapes += _lane(mark, axis, row * _ROW, bottom)
    shapes += _scale(axis, bottom)
    below, height, unnamed = strips(record, axis, bottom + 37)
    return Picture(WIDTH, int(height), _title(record, axis), (*shapes, *below), (*notes, *unnamed))


def _title(record: Record, axis: Axis) -> str:
    marks = "; ".join(m.words for m in marks_of(record))
    return f"{record.drill}, {seconds(axis.start)} to {seconds(axis.end)}: {marks or 'no fault was injected'}"


def marks_of(record: Record) -> Iterator[Mark]:
    """Each with a time of its own, or the words that it never came. The numbers in the words are since `from_s`."""
    began, promise = record.fault_at_s, record.promise
    aborts = [m.at_s for m in record.timeline if m.kind == "abort"]
    if aborts:
        yield Mark("abort", began or 0.0, aborts[0], f"aborted at {seconds(aborts[0])}")
    if began is None:
        return
    zero = began if record.zero_s is None else record.zero_s
    if record.detected_s is not None or promise.detect_s is not None:
        yield _seen(record, "detected", began, record.detected_s, record.detected_at_s)
    if record.recovered_s is not None or promise.recover_s is not None:
        yield _seen(record, "recovered", zero, record.recovered_s, record.recovered_at_s)
    if record.promised_at_s is not None:
        yield Mark("promised", zero, record.promised_at_s, f"promised within {given(promise.recover_s)}")
    healed = record.healed_at_s
    words = "no undo recorded" if healed is None else f"undone after {seconds(healed - began)}"
    yield Mark("healed", began, healed, words)


def _seen(record: Record, word: str, from_s: float, after_s: float | None, at_s: float | None) -> Mark:
    if after_s is not None and at_s is not None:
        return Mark(word, from_s, at_s, f"{word} after {seconds(after_s)}")
    return Mark("never" if record.judged else "void", from_s, None, f"{word}: {'never' if record.judged else 'not'} seen")


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
    if record.fault_at_s < axis.start:
        yield Text(LEFT, _ROW - 6, f"◂ fault at {seconds(record.fault_at_s)}", "fault strong")
        return
    x = axis.px(record.fault_at_s)
    yield Line(x, _ROW / 2, x, bottom, "fault")
    yield Path(f"M{x - 5:.1f} 3h10l-5 8z", "cap fault")
    yield Text(x + 9, _ROW - 6, f"fault at {seconds(record.fault_at_s)}", "fault strong")


def _lane(mark: Mark, axis: Axis, y: float, bottom: float) -> Iterator[Shape]:
    """A line from the fault or the undo to the mark, its words behind; an arrow: it goes on, a cross: it never came."""
    middle, start = y + _ROW / 2, axis.px(mark.from_s)
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
        yield Text(x, y + _BELOW, words, "tick", "middle", 11)
    yield Text(RIGHT + 18, y + _BELOW, "s since the drill began", "tick", size=11)
