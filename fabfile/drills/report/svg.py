"""What pictures are made of, in pixels from the top left; how wide words are; lanes, so that labels never overlap. Pure."""

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
    """y: the baseline. kind: the CSS class, which never changes the size."""

    x: float
    y: float
    words: str
    kind: str = ""
    anchor: Literal["start", "middle", "end"] = "start"
    size: int = 12

    @property
    def box(self) -> Box:
        width = text_width(self.words, self.size)
        left = self.x - {"start": 0.0, "middle": width / 2, "end": width}[self.anchor]
        return Box(left, self.y - self.size, left + width, self.y + self.size * 0.3)


@dataclass(frozen=True, slots=True)
class Rect:
    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    x1: float
    y1: float
    x2: float
    y2: float
    kind: str


@dataclass(frozen=True, slots=True)
class Path:
    """d: in SVG's words, made of numbers only."""

    d: str
    kind: str


Shape: TypeAlias = Text | Rect | Line | Path


@dataclass(frozen=True, slots=True)
class Picture:
    """title: what it shows, for those who cannot see it. notes: what a reader must know of how it was drawn."""

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


def text_width(words: str, size: int = 12) -> float:
    """Pixels, rather too many than too few: by DejaVu Sans, the widest of the usual fonts of a screen."""
    return size * sum(_em(c) for c in words)


def _em(letter: str) -> float:
    if letter in _NARROW:
        return 0.4
    if letter.islower() or letter.isdigit():
        return 1.05 if letter in "mw" or letter > "\u024f" else 0.66
    if unicodedata.combining(letter):
        return 0.0
    return 0.8 if letter < "\u0080" and letter not in "MW@%" else 1.05


def clipped(words: str, width: float, size: int = 12) -> str:
    """The words, or as many letters as fit into `width` pixels and an ellipsis."""
    if text_width(words, size) <= width:
        return words
    kept = words
    while kept and text_width(kept + "…", size) > width:
        kept = kept[:-1]
    return kept.rstrip() + "…" if kept else ""


def lanes(labels: Sequence[tuple[float, float]], gap: float = 8) -> list[int]:
    """The lane (0: nearest to what is labelled) of each label, given as (start, width) in pixels.

    No two of one lane overlap, and no label lies between another's start and its lane: from right to left, each takes
    the nearest lane that is free, so whatever its leader passes begins at its right.
    """
    found = [0] * len(labels)
    free: list[float] = []  # of each lane: where its leftmost label begins
    for index in sorted(range(len(labels)), key=lambda i: (labels[i][0], i), reverse=True):
        start, width = labels[index]
        lane = next((n for n, until in enumerate(free) if start + width + gap <= until), len(free))
        free[lane : lane + 1] = [start]
        found[index] = lane
    return found


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The places, moved apart until each two differ by `gap`, in their order, above `low` and, if they fit, below `high`."""
    order = sorted(range(len(places)), key=lambda i: (places[i], i))
    moved = list(places)
    least = low
    for index in order:
        least = moved[index] = max(moved[index], least)
        least += gap
    most = max(high, low + gap * (len(places) - 1))
    for index in reversed(order):
        most = moved[index] = min(moved[index], most)
        most -= gap
    return moved
