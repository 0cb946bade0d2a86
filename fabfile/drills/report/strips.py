"""Strips under the axis: the phases, and which host was primary in which epoch. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..verdict.record import Record
from .axis import Axis
from .svg import Line, Rect, Shape, Text, assign_lanes, clipped, text_width

_STRIP_HEIGHT, _LANE_HEIGHT, _GAP, _FONT_SIZE = 18, 15, 16, 11
_MAX_LANES = 6  # under one strip; more could not be read
_MAX_LABEL = 170  # pixels: the gutter at the right holds a label that starts at the very end


@dataclass(frozen=True, slots=True)
class Segment:
    """Of a strip, from `start` to `end` pixels."""

    start: float
    end: float
    label: str

    @property
    def label_fits(self) -> bool:
        return text_width(self.label, _FONT_SIZE) + 8 <= self.end - self.start


def strips(record: Record, axis: Axis, top: float) -> tuple[list[Shape], float, tuple[str, ...]]:
    """Shapes, the pixel under the last strip, and a note on labels that were left out."""
    phases = [(m.at_s, m.text) for m in record.timeline if m.kind == "phase"]
    primaries = [(p.at_s, f"{p.host} · epoch {p.epoch}") for p in record.primaries]
    shapes: list[Shape] = []
    notes: tuple[str, ...] = ()
    for name, plural, entries in (("phase", "phases", phases), ("primary", "primaries", primaries)):
        if entries:
            strip_shapes, top, unnamed = strip(name, segments(entries, axis), axis, top)
            shapes += strip_shapes
            note = f"{unnamed} of the {plural} could not be named in the picture; the table has all."
            notes += (note,) if unnamed else ()
    return shapes, top, notes


def segments(entries: Sequence[tuple[float, str]], axis: Axis) -> list[Segment]:
    """Of (at_s, label), each lasting until the next; clipped to the axis, without those outside it."""
    ordered = sorted(entries, key=lambda e: e[0])
    ends = [at_s for at_s, _ in ordered[1:]] + [axis.end]
    return [
        Segment(axis.px(at_s), axis.px(end), clipped(label, _MAX_LABEL, _FONT_SIZE))
        for (at_s, label), end in zip(ordered, ends, strict=True)
        if at_s <= axis.end and (end > axis.start or at_s == end == axis.start)
    ]


def strip(name: str, parts: Sequence[Segment], axis: Axis, top: float) -> tuple[list[Shape], float, int]:
    """Each segment with its label in it or, where it does not fit, in a lane below with a leader line."""
    shapes: list[Shape] = [Text(axis.left - 8, top + 13, name, "tick", "end", _FONT_SIZE)]
    outside = [p for p in parts if not p.label_fits]
    lanes = assign_lanes([(p.start, text_width(p.label, _FONT_SIZE) + 4) for p in outside])
    shown = [(p, lane) for p, lane in zip(outside, lanes, strict=True) if lane < _MAX_LANES]
    for number, part in enumerate(parts):
        css_class = f"part {name} {'odd' if number % 2 else 'even'}"
        shapes.append(Rect(part.start, top, max(part.end - part.start, 1), _STRIP_HEIGHT, css_class))
        if part.label_fits:
            shapes.append(Text(part.start + 5, top + 13, part.label, "part", size=_FONT_SIZE))
    for part, lane in shown:
        y = top + _STRIP_HEIGHT + (lane + 1) * _LANE_HEIGHT
        shapes.append(Line(part.start + 0.5, top + _STRIP_HEIGHT, part.start + 0.5, y, "leader"))
        shapes.append(Text(part.start + 4, y, part.label, "part", size=_FONT_SIZE))
    lane_count = max((lane for _, lane in shown), default=-1) + 1
    return shapes, top + _STRIP_HEIGHT + lane_count * _LANE_HEIGHT + _GAP, len(outside) - len(shown)
