"""Shapes of a picture, in pixels from the top left; the width of text; the placing of labels without overlap. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

_NARROW = frozenset(" iljtfI.,:;'|!()[]/-·")


@dataclass(frozen=True, slots=True)
class Box:
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        return (self.left < other.right and other.left < self.right
                and self.top < other.bottom and other.top < self.bottom)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Text:
    """y: the baseline. css_class: never changes the size."""

    x: float
    y: float
    text: str
    css_class: str = ""
    anchor: Literal["start", "middle", "end"] = "start"
    size: int = 12

    @property
    def box(self) -> Box:
        width = text_width(self.text, self.size)
        left = self.x - {"start": 0.0, "middle": width / 2, "end": width}[self.anchor]
        return Box(left, self.y - self.size, left + width, self.y + self.size * 0.3)


@dataclass(frozen=True, slots=True)
class Rect:
    x: float
    y: float
    width: float
    height: float
    css_class: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    x1: float
    y1: float
    x2: float
    y2: float
    css_class: str


@dataclass(frozen=True, slots=True)
class Path:
    """d: path data in SVG's syntax, built from numbers only."""

    d: str
    css_class: str


Shape: TypeAlias = Text | Rect | Line | Path


@dataclass(frozen=True, slots=True)
class Picture:
    """title: the content in words, for those who cannot see it. notes: what a reader must know about the drawing."""

    width: int
    height: int
    title: str
    shapes: tuple[Shape, ...]
    notes: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[Text, ...]:
        return tuple(s for s in self.shapes if isinstance(s, Text))

    @property
    def rects(self) -> tuple[Rect, ...]:
        return tuple(s for s in self.shapes if isinstance(s, Rect))

    @property
    def lines(self) -> tuple[Line, ...]:
        return tuple(s for s in self.shapes if isinstance(s, Line))

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(s for s in self.shapes if isinstance(s, Path))


def text_width(text: str, size: int = 12) -> float:
    """Pixels, rather too many than too few: by DejaVu Sans, the widest of the usual screen fonts."""
    return size * sum(_em(c) for c in text)


def _em(letter: str) -> float:
    if letter in _NARROW:
        return 0.4
    if letter.islower() or letter.isdigit():
        return 1.05 if letter in "mw" or letter > "\u024f" else 0.66
    if unicodedata.combining(letter):
        return 0.0
    return 0.8 if letter < "\u0080" and letter not in "MW@%" else 1.05


def clipped(text: str, width: float, size: int = 12) -> str:
    """The text, or as many letters as fit into `width` pixels with an ellipsis."""
    if text_width(text, size) <= width:
        return text
    kept = text
    while kept and text_width(kept + "…", size) > width:
        kept = kept[:-1]
    return kept.rstrip() + "…" if kept else ""


def assign_lanes(labels: Sequence[tuple[float, float]], gap: float = 8) -> list[int]:
    """The lane of each label (0: the nearest to its object). A label is (start, width) in pixels.

    Labels in one lane do not overlap, and no label lies between another's start and its lane. From right to left, each
    label takes the nearest free lane, so every label that its leader line passes begins to its right.
    """
    lanes = [0] * len(labels)
    leftmost: list[float] = []  # of each lane: the start of its leftmost label
    for index in sorted(range(len(labels)), key=lambda i: (labels[i][0], i), reverse=True):
        start, width = labels[index]
        lane = next((n for n, limit in enumerate(leftmost) if start + width + gap <= limit), len(leftmost))
        leftmost[lane : lane + 1] = [start]
        lanes[index] = lane
    return lanes


def spread_apart(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The positions in the same order, at least `gap` apart, above `low` and, if they fit, below `high`."""
    order = sorted(range(len(positions)), key=lambda i: (positions[i], i))
    moved = list(positions)
    minimum = low
    for index in order:
        minimum = moved[index] = max(moved[index], minimum)
        minimum += gap
    maximum = max(high, low + gap * (len(positions) - 1))
    for index in reversed(order):
        maximum = moved[index] = min(moved[index], maximum)
        maximum -= gap
    return moved
