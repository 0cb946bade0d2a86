"""Small pictures for tables: a measured value against its promise, and the last runs side by side. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from ...core.text import exact_seconds, seconds
from ..verdict.record import Record
from ..verdict.verdict import Judgement
from .axis import Axis
from .svg import Line, Path, Picture, Rect, Shape, Text, spread_apart

_PROMISE_SHARE = 0.6  # of a bullet's width: the promise's tick stands at the same place in every row


def bullet(measured: float | None, promised: float, error_s: float, judgement: Judgement, width: int = 240) -> Picture:
    """A bar as long as the value, a tick at the promise, a whisker for the error bar. Never seen: a hatched bar."""
    maximum = max(promised / _PROMISE_SHARE, (measured or 0) * 1.08, error_s * 2, 1e-3)
    axis = Axis(0, maximum, 1, width - 1)
    shapes: list[Shape] = [Rect(1, 10, width - 2, 4, "track")]
    if measured is not None:
        shapes.append(Rect(1, 7, max(axis.px(measured) - 1, 1), 10, f"bar {judgement}"))
        shapes.append(Line(axis.px(measured - error_s), 12, axis.px(measured + error_s), 12, "whisker"))
    else:
        shapes.append(Rect(1, 7, width - 2, 10, f"open {judgement}"))
        shapes.append(Path("".join(f"M{x} 17l8 -10" for x in range(4, width - 10, 9)), f"hatch {judgement}"))
    shapes.append(Line(axis.px(promised), 2, axis.px(promised), 22, "promise"))
    return Picture(width, 24, f"{seconds(measured)}, {exact_seconds(promised)}", tuple(shapes))


def sparkline(runs: Sequence[Record], width: int = 620, height: int = 96) -> Picture:
    """recovered_s of the runs, oldest first, the last one larger; a cross: never. The promise is the last run's."""
    promised, right = runs[-1].promise.recover_s, width - 220
    values = [r.recovered_s for r in runs]
    maximum = max([v for v in values if v is not None] + [promised or 0, 1e-3]) * 1.15
    x_axis, y_axis = Axis(0, max(len(runs) - 1, 1), 14, right), Axis(0, maximum, height - 8, 14)
    shapes: list[Shape] = [Line(8, y_axis.px(0), right + 6, y_axis.px(0), "axis")]
    if promised is not None:
        shapes.append(Line(8, y_axis.px(promised), right + 6, y_axis.px(promised), "promised"))
    points = [(x_axis.px(i), None if v is None else y_axis.px(v)) for i, v in enumerate(values)]
    shapes += _links(points)
    shapes += [_point(x, y, x == points[-1][0]) for x, y in points]
    this_run = seconds(values[-1], "never recovered")
    labels = [(points[-1][1] or 10.0, f"this run: {this_run}", "strong")]
    labels += [(y_axis.px(promised), f"promised: {exact_seconds(promised)}", "dim")] if promised is not None else []
    title = "time to recovery, oldest run first: " + ", ".join(map(seconds, values))
    return Picture(width, height, title, (*shapes, *_end_labels(labels, right + 14, height)))


def _links(points: Sequence[tuple[float, float | None]]) -> Iterator[Line]:
    """From run to run; none to or from a run that never recovered."""
    for (x1, y1), (x2, y2) in pairwise(points):
        if y1 is not None and y2 is not None:
            yield Line(x1, y1, x2, y2, "spark")


def _point(x: float, y: float | None, last: bool) -> Path:
    if y is None:
        return Path(f"M{x - 4:.1f} 6l8 8m0 -8l-8 8", "cross recovered")
    size = 4.5 if last else 3
    return Path(f"M{x - size:.1f} {y:.1f}a{size} {size} 0 1 0 {2 * size} 0a{size} {size} 0 1 0 {-2 * size} 0z",
                "dot last" if last else "dot")  # fmt: skip


def _end_labels(labels: Sequence[tuple[float, str, str]], x: float, height: float) -> Iterator[Text]:
    """Labels (y, text, css_class) at the ends of lines, moved apart where they would overlap."""
    positions = spread_apart([y for y, _, _ in labels], 16, 10, height - 8)
    for y, (_, text, css_class) in zip(positions, labels, strict=True):
        yield Text(x, y + 4, text, css_class)
