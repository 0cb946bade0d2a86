"""The requests of a drill: each one's time as a point, and how many failed in each second as bars. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ...core.text import count, milliseconds, plural, seconds
from ..verdict.record import Record, Sample
from .axis import Axis, LogAxis, log_axis
from .svg import Line, Path, Rect, Shape, Text

POINTS = 3000  # more would make the file heavy, and add nothing that an eye could see
_TOLD = 0.9  # of the requests drawn as points of their own; with fewer the reader is told
_TALL, _LOW, _GAP = 170, 52, 18
_LEGEND = 14  # pixels from the plot to its words


def plots(record: Record, axis: Axis, top: float) -> tuple[list[Shape], float, tuple[str, ...]]:
    """Shapes, the pixel where the axis goes, and what must be said of the drawing."""
    samples = [s for s in record.samples if axis.holds(s.at_s)]
    if not samples:
        words = "no request was sent" if record.samples else "no load was run"
        return [Text(axis.right + _LEGEND, top + 26, words, "dim")], top + 42, ()
    bottom = top + _TALL
    times = [s.ms for s in samples]
    scale = log_axis(min(times), max(times), top + 6, bottom)
    drawn, notes = _points(samples, axis, scale)
    shapes: list[Shape] = [*_frame(axis, scale), *drawn, *_legend(record, samples, axis, scale, top)]
    low, bottom = _bars(samples, axis, record.fault_at_s or 0.0, bottom + _GAP)
    return [*shapes, *low], bottom, notes


def thinned(samples: Sequence[Sample], axis: Axis, scale: LogAxis, most: int = POINTS) -> list[tuple[float, float, bool]]:
    """(x, y, ok) in pixels, one for all that fall into one cell; cells grow until `most` points or fewer are left.

    No outlier is lost: a cell that holds any request keeps a point.
    """
    cell = 1.0
    while True:
        found = {(round(axis.px(s.at_s) / cell), round(scale.px(s.ms) / cell), s.ok) for s in samples}
        if len(found) <= most or cell >= 64:
            return [(x * cell, y * cell, ok) for x, y, ok in sorted(found)]
        cell *= 2


def _points(samples: Sequence[Sample], axis: Axis, scale: LogAxis) -> tuple[list[Path], tuple[str, ...]]:
    points = thinned(samples, axis, scale)
    good = "".join(f"M{x:g} {y:g}h0" for x, y, ok in points if ok)
    bad = "".join(f"M{x - 3.5:g} {y - 3.5:g}l7 7m0 -7l-7 7" for x, y, ok in points if not ok)
    paths = [Path(d, kind) for d, kind in ((good, "answered"), (bad, "failed")) if d]
    if len(points) >= _TOLD * len(samples):
        return paths, ()
    drawn = f"{plural(len(samples), 'request')}, drawn as {plural(len(points), 'point')}"
    return paths, (f"{drawn}: those that fall on one spot share one.",)


def _frame(axis: Axis, scale: LogAxis) -> Iterator[Shape]:
    for y, words in scale.ticks(18):
        yield Line(axis.left, y, axis.right, y, "grid")
        yield Text(axis.left - 8, y + 4, words, "tick", "end", 11)


def _legend(record: Record, samples: Sequence[Sample], axis: Axis, scale: LogAxis, top: float) -> Iterator[Shape]:
    """Beside the plot, each with its own sign; the shapes tell the two apart without colour."""
    x, failed = axis.right + _LEGEND, sum(not s.ok for s in samples)
    yield Text(x, top + 14, "time of each request", "strong")
    yield Path(f"M{x + 4:g} {top + 29:g}h0", "answered key")
    yield Text(x + 14, top + 33, f"{count(len(samples) - failed)} answered")
    yield Path(f"M{x + 0.5:g} {top + 43.5:g}l7 7m0 -7l-7 7", "failed")
    yield Text(x + 14, top + 51, f"{count(failed)} failed", "failed" if failed else "")
    slow = record.requests.slow_ms
    if slow is not None and 10.0**scale.low <= slow <= 10.0**scale.high:
        yield Line(axis.left, scale.px(slow), axis.right, scale.px(slow), "slow")
        yield Line(x, top + 65, x + 9, top + 65, "slow")
        yield Text(x + 14, top + 69, f"slow: over {milliseconds(slow)}")


def _bars(samples: Sequence[Sample], axis: Axis, zero_s: float, top: float) -> tuple[list[Shape], float]:
    """Failures in each second, or in each 2, 5, 10, … s where a second is too narrow to be seen; counted from `zero_s`,
    the fault, so that no bar is of both before and after it.
    """
    failed = [s.at_s for s in samples if not s.ok]
    if not failed:
        return [], top - _GAP
    each = max(1.0, axis.step(3))
    found = Counter(int((at - zero_s) // each) for at in failed)
    most, bottom = max(found.values()), top + _LOW
    shapes: list[Shape] = []
    for index, number in sorted(found.items()):
        start = zero_s + index * each
        left, right = axis.px(start), axis.px(start + each)
        height = max(number / most * _LOW, 2)
        words = f"{plural(number, 'request')} failed from {seconds(start)} to {seconds(start + each)}"
        shapes.append(Rect(left + 0.5, bottom - height, max(right - left - 1, 1), height, "failures", words))
    x, unit = axis.right + _LEGEND, "second" if each == 1 else f"{each:g} s"
    shapes += [
        Text(axis.left - 8, top + 9, count(most), "tick", "end", 11),
        Text(axis.left - 8, bottom, "0", "tick", "end", 11),
        Text(x, top + 14, f"failed in each {unit}", "strong"),
        Text(x, top + 32, f"at most {count(most)}", ""),
    ]
    return shapes, bottom
