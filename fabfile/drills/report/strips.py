"""Strips under the axis: the phases, and who was primary in which epoch. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..verdict.record import Record
from .axis import Axis
from .svg import Line, Rect, Shape, Text, clipped, lanes, text_width

_TALL, _LANE, _GAP, _SIZE = 18, 15, 16, 11
_LANES = 6  # under one strip; more would be a ladder, not a picture
_LONGEST = 170  # pixels of a label: the gutter at the right holds one that starts at the very end


@dataclass(frozen=True, slots=True)
class Part:
    """From `start` to `end` pixels."""

    start: float
    end: float
    words: str

    @property
    def inside(self) -> bool:
        return text_width(self.words, _SIZE) + 8 <= self.end - self.start


def strips(record: Record, axis: Axis, top: float) -> tuple[list[Shape], float, tuple[str, ...]]:
    """Shapes, the pixel under the last strip, and what could not be named."""
    phases = [(m.at_s, m.text) for m in record.timeline if m.kind == "phase"]
    primaries = [(p.at_s, f"{p.host} · epoch {p.epoch}") for p in record.primaries]
    shapes: list[Shape] = []
    notes: tuple[str, ...] = ()
    for name, all_of_them, entries in (("phase", "phases", phases), ("primary", "primaries", primaries)):
        if entries:
            made, top, unnamed = strip(name, parts(entries, axis), axis, top)
            shapes += made
            left = f"{unnamed} of the {all_of_them} could not be named in the picture; the table has all."
            notes += (left,) if unnamed else ()
    return shapes, top, notes


def parts(entries: Sequence[tuple[float, str]], axis: Axis) -> list[Part]:
    """(at_s, words), each lasting until the next; what lies outside the axis is left out, what reaches in is cut."""
    ordered = sorted(entries, key=lambda e: e[0])
    ends = [at for at, _ in ordered[1:]] + [axis.end]
    return [
        Part(axis.px(at), axis.px(end), clipped(words, _LONGEST, _SIZE))
        for (at, words), end in zip(ordered, ends, strict=True)
        if at <= axis.end and (end > axis.start or at == end == axis.start)
    ]


def strip(name: str, found: Sequence[Part], axis: Axis, top: float) -> tuple[list[Shape], float, int]:
    """Each part with its words in it or, where they do not fit, in a lane below with a leader."""
    shapes: list[Shape] = [Text(axis.left - 8, top + 13, name, "tick", "end", _SIZE)]
    outside = [p for p in found if not p.inside]
    placed = lanes([(p.start, text_width(p.words, _SIZE) + 4) for p in outside])
    shown = [(p, lane) for p, lane in zip(outside, placed, strict=True) if lane < _LANES]
    for number, part in enumerate(found):
        kind = f"part {name} {'odd' if number % 2 else 'even'}"
        shapes.append(Rect(part.start, top, max(part.end - part.start, 1), _TALL, kind))
        if part.inside:
            shapes.append(Text(part.start + 5, top + 13, part.words, "part", size=_SIZE))
    for part, lane in shown:
        y = top + _TALL + (lane + 1) * _LANE
        shapes.append(Line(part.start + 0.5, top + _TALL, part.start + 0.5, y, "leader"))
        shapes.append(Text(part.start + 4, y, part.words, "part", size=_SIZE))
    deepest = max((lane for _, lane in shown), default=-1) + 1
    return shapes, top + _TALL + deepest * _LANE + _GAP, len(outside) - len(shown)
