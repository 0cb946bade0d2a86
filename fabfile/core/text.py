"""Numbers, times and foreign text for people to read; the terminal, HTML and JUnit share them. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timezone

# Controls (a terminal obeys them, XML forbids them), marks that turn the direction of the text around them or are not seen,
# halves of surrogate pairs and the two non-characters that XML forbids.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\U000e0000-\U000e007f]"
)
_SPACES = "\t\n\r\x0b\x0c\x85\u2028\u2029"


def harmless(text: str) -> str:
    """The text as a terminal may have it, lines and tabs as they are: any other invisible character as `\\x1b`."""
    return text if text.isprintable() else _INVISIBLE.sub(lambda m: m[0] if m[0] in "\t\n" else _escaped(m[0]), text)


def visible(text: str) -> str:
    """One line of harmless text: white space becomes a space, any other invisible character is shown as `\\x1b`."""
    return _INVISIBLE.sub(lambda match: " " if match[0] in _SPACES else _escaped(match[0]), text)


def _escaped(char: str) -> str:
    """`\\x1b`, `\\u202e`, `\\U000e0041`"""
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


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


def local_time(at: float, pattern: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Unix s -> `2026-11-23 21:15:04` where the operator is; a time outside the calendar, as the number."""
    return _formatted(at, pattern, None)


def _formatted(began: float, pattern: str, zone: timezone | None = timezone.utc) -> str:
    try:
        return datetime.fromtimestamp(began, zone).strftime(pattern)
    except (ValueError, OverflowError, OSError):
        return f"{began:.0f}"
