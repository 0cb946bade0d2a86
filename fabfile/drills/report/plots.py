"""Plots of a drill's requests: each response time as a point, and failures per second as bars. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ...core.text import count, milliseconds, plural, seconds
from ..verdict.record import Record, Sample
from .axis import Axis, LogAxis, log_axis
from .svg import Line, Path, Rect, Shape, Text

MAX_POINTS = 3000  # more would make the file heavy, and show nothing more to the eye
_DISTINCT_SHARE = 0.9  # with a smaller share of requests drawn as points of their own, a note says so
_PLOT_HEIGHT, _BARS_HEIGHT, _GAP = 170, 52, 18
_LEGEND = 14  # pixels from the plot to its legend


def plots(record: Record, axis: Axis, top: float) -> tuple[list[Shape], float, tuple[str, ...]]:
    """Shapes, the pixel where the axis goes, and notes on the drawing."""
    samples = [s for s in record.samples if axis.contains(s.at_s)]
    if not samples:
        text = "no request was sent" if record.samples else "no load was run"
        return [Text(axis.right + _LEGEND, top + 26, text, "dim")], top + 42, ()
    bottom = top + _PLOT_HEIGHT
    times = [s.ms for s in samples]
    scale = log_axis(min(times), max(times), top + 6, bottom)
    points, notes = _points(samples, axis, scale)
    shapes: list[Shape] = [*_frame(axis, scale), *points, *_legend(record, samples, axis, scale, top)]
    bars, bottom = _bars(samples, axis, record.fault_at_s or 0.0, bottom + _GAP)
    return [*shapes, *bars], bottom, notes


def thinned(
    samples: Sequence[Sample], axis: Axis, scale: LogAxis, limit: int = MAX_POINTS
) -> list[tuple[float, float, bool]]:
    """(x, y, ok) in pixels, one for all samples in one cell; cells grow until at most `limit` points are left.

    No outlier is lost: a cell with any request in it keeps a point.
    """
    cell = 1.0
    while True:
        points = {(round(axis.px(s.at_s) / cell), round(scale.px(s.ms) / cell), s.ok) for s in samples}
        if len(points) <= limit or cell >= 64:
            return [(x * cell, y * cell, ok) for x, y, ok in sorted(points)]
        cell *= 2


def _points(samples: Sequence[Sample], axis: Axis, scale: LogAxis) -> tuple[list[Path], tuple[str, ...]]:
    points = thinned(samples, axis, scale)
    good = "".join(f"M{x:g} {y:g}h0" for x, y, ok in points if ok)
    bad = "".join(f"M{x - 3.5:g} {y - 3.5:g}l7 7m0 -7l-7 7" for x, y, ok in points if not ok)
    paths = [Path(d, css_class) for d, css_class in ((good, "answered"), (bad, "failed")) if d]
    if len(points) >= _DISTINCT_SHARE * len(samples):
        return paths, ()
    numbers = f"{plural(len(samples), 'request')}, drawn as {plural(len(points), 'point')}"
    return paths, (f"{numbers}: those that fall on one spot share one.",)


def _frame(axis: Axis, scale: LogAxis) -> Iterator[Shape]:
    for y, label in scale.ticks(18):
        yield Line(axis.left, y, axis.right, y, "grid")
        yield Text(axis.left - 8, y + 4, label, "tick", "end", 11)


def _legend(record: Record, samples: Sequence[Sample], axis: Axis, scale: LogAxis, top: float) -> Iterator[Shape]:
    """Beside the plot, with the sign of each kind: the shapes tell them apart without colour."""
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
    """Failures in each second, or in each 2, 5, 10, … s where a second is too narrow to see. Counted from the fault,
    `zero_s`, so that no bar mixes before and after.
    """
    failed = [s.at_s for s in samples if not s.ok]
    if not failed:
        return [], top - _GAP
    bucket_s = max(1.0, axis.step(3))
    buckets = Counter(int((at_s - zero_s) // bucket_s) for at_s in failed)
    most, bottom = max(buckets.values()), top + _BARS_HEIGHT
    shapes: list[Shape] = []
    for index, number in sorted(buckets.items()):
        start = zero_s + index * bucket_s
        left, right = axis.px(start), axis.px(start + bucket_s)
        height = max(number / most * _BARS_HEIGHT, 2)
        title = f"{plural(number, 'request')} failed from {seconds(start)} to {seconds(start + bucket_s)}"
        shapes.append(Rect(left + 0.5, bottom - height, max(right - left - 1, 1), height, "failures", title))
    x, unit = axis.right + _LEGEND, "second" if bucket_s == 1 else f"{bucket_s:g} s"
    shapes += [
        Text(axis.left - 8, top + 9, count(most), "tick", "end", 11),
        Text(axis.left - 8, bottom, "0", "tick", "end", 11),
        Text(x, top + 14, f"failed in each {unit}", "strong"),
        Text(x, top + 32, f"at most {count(most)}", ""),
    ]
    return shapes, bottom
