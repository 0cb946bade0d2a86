"""Numbers, times and foreign text for people to read; the terminal, HTML and JUnit share them. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timezone

# Controls (a terminal obeys them, XML forbids them), marks that turn the direction of the text around them,
# halves of surrogate pairs and the two non-characters that XML forbids.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)
_SPACES = "\t\n\r\x0b\x0c\x85\u2028\u2029"


def visible(text: str) -> str:
    """One line of harmless text: white space becomes a space, any other invisible character U+FFFD."""
    return _INVISIBLE.sub(lambda match: " " if match[0] in _SPACES else "\ufffd", text)


def seconds(value: float | None, if_none: str = "never seen") -> str:
    """A measured time, to three figures or so: 0.04 s, 2.31 s, 12.3 s, 123 s."""
    if value is None:
        return if_none
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:,.{digits}f} s"


def exact_seconds(value: float | None, if_none: str = "not promised") -> str:
    """A time that people chose, as they wrote it: 5 s, 0.5 s, 7.25 s."""
    return if_none if value is None else f"{value:,.9g} s"


def milliseconds(value: float | None, if_none: str = "–") -> str:
    """0.4 ms, 41 ms, 812 ms, 1.24 s."""
    if value is None:
        return if_none
    if value >= 999.5:
        return seconds(value / 1000)
    return f"{value:.{1 if value < 9.95 else 0}f} ms"


def count(value: int) -> str:
    """12,345"""
    return f"{value:,}"


def plural(number: int, noun: str) -> str:
    """`1 request`, `2 requests`."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def utc(began: float) -> str:
    """Unix s -> `2026-11-23 20:15:04 UTC`; a time outside the calendar, as the number."""
    return _formatted(began, "%Y-%m-%d %H:%M:%S UTC")


def file_timestamp(began: float) -> str:
    """Unix s -> `20261123T201504Z`: sorts by time, and is a valid file name everywhere."""
    return _formatted(began, "%Y%m%dT%H%M%SZ")


def _formatted(began: float, pattern: str) -> str:
    try:
        return datetime.fromtimestamp(began, timezone.utc).strftime(pattern)
    except (ValueError, OverflowError, OSError):
        return f"{began:.0f}"
