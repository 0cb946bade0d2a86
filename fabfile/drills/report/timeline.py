"""The timeline picture of a drill: marks, requests, failures, phases and primaries around one axis of seconds. Pure.

From the top: a lane for each mark, from the fault to what was seen; the response time of each request; failures in each
second; the axis. Below it, where no mark's line crosses their labels: the strips of phases and primaries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...core.text import exact_seconds, seconds
from ..verdict.record import Record
from .axis import Axis
from .plots import plots
from .strips import strips
from .svg import Line, Path, Picture, Rect, Shape, Text, clipped

WIDTH, LEFT, GUTTER = 960, 70, 190  # the gutter at the right holds the labels at the ends of lines
RIGHT = WIDTH - GUTTER
_LANE_HEIGHT = 19
_BELOW = 19  # from the axis to its numbers: clear of the lowest number at its left
_CLOSE_UP_SHARE = 0.35  # a close-up is drawn only if it shows less than this share of the whole
_USER_IMPACT_S = 6.0  # seconds after the fault in which the requests show its effect on users


@dataclass(frozen=True, slots=True)
class Mark:
    """From `from_s` (the fault, or its undo) until `until_s`, in seconds since `began`; None: it never came.

    kind: the CSS class too.
    """

    kind: str
    from_s: float
    until_s: float | None
    label: str


def pictures(record: Record) -> tuple[tuple[str, Picture], ...]:
    """(caption, picture): the whole drill, and close-ups of what is too small in it; none if the drill never began."""
    length = record.ended_s
    if not length:
        return ()
    close_ups = [w for w in windows(record) if w[2] - w[1] < _CLOSE_UP_SHARE * length]
    return (
        ("What happened", picture(record, 0.0, length)),
        *((f"Close-up around the {event}", picture(record, start, end)) for event, start, end in close_ups),
    )


def windows(record: Record) -> Iterator[tuple[str, float, float]]:
    """(event, start, end): from a little before the fault, or the undo, to a little after its effects."""
    after_fault = [record.detected_s, None if record.since_undo else record.recovered_s]
    if record.since_undo and record.samples:
        after_fault.append(_USER_IMPACT_S)
    events = {"fault": (record.fault_at_s, after_fault)}
    if record.since_undo:
        events["undo"] = (record.healed_at_s, [record.recovered_s])
    for event, (at_s, effects) in events.items():
        seen = [t for t in effects if t is not None]
        if at_s is not None and seen:
            length = max(*seen, 2.0)
            yield event, max(0.0, at_s - length * 0.25), at_s + length * 1.5


def picture(record: Record, start_s: float, end_s: float) -> Picture:
    """What happened from `start_s` to `end_s`, 960 pixels wide."""
    axis = Axis(start_s, end_s, LEFT, RIGHT)
    visible = [m for m in marks_of(record) if m.from_s <= end_s and (m.until_s is None or m.until_s >= start_s)]
    marks = sorted(visible, key=lambda m: (m.until_s is None, m.until_s or 0))
    top = _LANE_HEIGHT * (len(marks) + 1) + 6
    plot_shapes, bottom, notes = plots(record, axis, top)
    shapes: list[Shape] = [*_fault_band(record, axis, bottom), *plot_shapes]
    shapes += _fault(record, axis, bottom)
    for row, mark in enumerate(marks, start=1):
        shapes += _lane(mark, axis, row * _LANE_HEIGHT, bottom)
    shapes += _scale(axis, bottom)
    strip_shapes, height, strip_notes = strips(record, axis, bottom + 37)
    return Picture(WIDTH, int(height), _title(record, axis), (*shapes, *strip_shapes), (*notes, *strip_notes))


def _title(record: Record, axis: Axis) -> str:
    marks = "; ".join(m.label for m in marks_of(record))
    return f"{record.drill}, {seconds(axis.start)} to {seconds(axis.end)}: {marks or 'no fault was injected'}"


def marks_of(record: Record) -> Iterator[Mark]:
    """Each with a time of its own, or a label that says it never came. Numbers in labels count from `from_s`."""
    fault_s, promise = record.fault_at_s, record.promise
    aborts = [m.at_s for m in record.timeline if m.kind == "abort"]
    if aborts:
        yield Mark("abort", fault_s or 0.0, aborts[0], f"aborted at {seconds(aborts[0])}")
    if fault_s is None:
        return
    recovery_from_s = fault_s if record.recovery_from_s is None else record.recovery_from_s
    if record.detected_s is not None or promise.detect_s is not None:
        yield _measured(record, "detected", fault_s, record.detected_s, record.detected_at_s)
    if record.recovered_s is not None or promise.recover_s is not None:
        yield _measured(record, "recovered", recovery_from_s, record.recovered_s, record.recovered_at_s)
    if record.deadline_at_s is not None:
        label = f"promised within {exact_seconds(promise.recover_s)}"
        yield Mark("promised", recovery_from_s, record.deadline_at_s, label)
    healed_s = record.healed_at_s
    yield Mark("healed", fault_s, healed_s,
               "no undo recorded" if healed_s is None else f"undone after {seconds(healed_s - fault_s)}")  # fmt: skip


def _measured(record: Record, event: str, from_s: float, after_s: float | None, at_s: float | None) -> Mark:
    if after_s is not None and at_s is not None:
        return Mark(event, from_s, at_s, f"{event} after {seconds(after_s)}")
    if record.judged:
        return Mark("never", from_s, None, f"{event}: never seen")
    return Mark("void", from_s, None, f"{event}: not seen")


def _fault_band(record: Record, axis: Axis, bottom: float) -> Iterator[Rect]:
    """While the fault was in force; until the end of the picture when no undo is recorded."""
    if record.fault_at_s is None or record.fault_at_s > axis.end:
        return
    left = axis.px(record.fault_at_s)
    right = axis.px(axis.end if record.healed_at_s is None else record.healed_at_s)
    yield Rect(left, _LANE_HEIGHT / 2, max(right - left, 1), bottom - _LANE_HEIGHT / 2, "band")


def _fault(record: Record, axis: Axis, bottom: float) -> Iterator[Shape]:
    if record.fault_at_s is None:
        yield Text(LEFT, _LANE_HEIGHT - 6, "no fault was injected", "dim")
        return
    if record.fault_at_s < axis.start:
        yield Text(LEFT, _LANE_HEIGHT - 6, f"◂ fault at {seconds(record.fault_at_s)}", "fault strong")
        return
    x = axis.px(record.fault_at_s)
    yield Line(x, _LANE_HEIGHT / 2, x, bottom, "fault")
    yield Path(f"M{x - 5:.1f} 3h10l-5 8z", "cap fault")
    yield Text(x + 9, _LANE_HEIGHT - 6, f"fault at {seconds(record.fault_at_s)}", "fault strong")


def _lane(mark: Mark, axis: Axis, y: float, bottom: float) -> Iterator[Shape]:
    """A line from the fault or its undo to the mark, then the label. Arrow: beyond the picture; cross: never came."""
    middle, start = y + _LANE_HEIGHT / 2, axis.px(mark.from_s)
    inside = mark.until_s is not None and axis.contains(mark.until_s)
    end = axis.px(axis.end if mark.until_s is None else mark.until_s)
    yield Line(min(start, end), middle, end, middle, f"lane {mark.kind}")
    if inside:
        yield Line(end, middle, end, bottom, mark.kind)
        yield Path(f"M{end - 3.5:.1f} {middle:.1f}a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z", f"cap {mark.kind}")
    elif mark.until_s is None:
        yield Path(f"M{end - 4:.1f} {middle - 4:.1f}l8 8m0 -8l-8 8", f"cross {mark.kind}")
    else:
        yield Path(f"M{end - 3:.1f} {middle - 4:.1f}l7 4l-7 4z", f"cap {mark.kind}")
    yield Text(end + 9, middle + 4, clipped(mark.label, WIDTH - end - 12), mark.kind)


def _scale(axis: Axis, y: float) -> Iterator[Shape]:
    yield Line(LEFT, y, RIGHT, y, "axis")
    for x, label in axis.ticks(70):
        yield Line(x, y, x, y + 4, "axis")
        yield Text(x, y + _BELOW, label, "tick", "middle", 11)
    yield Text(RIGHT + 18, y + _BELOW, "s since the drill began", "tick", size=11)
