"""Which error lines of the units' logs say that something is wrong. Pure.

A program's word "error" is no verdict: what is known to be harmless stands in HARMLESS, with its reason.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..text import visible

TOKEN_TTL = 30.0  # seconds for which a Consul agent may cache that a token is unknown (acl_token_ttl)
_SHOWN = 300  # characters of a line


@dataclass(frozen=True, slots=True)
class LogLine:
    unit: str
    text: str


@dataclass(frozen=True, slots=True)
class Harmless:
    """Lines of a unit (None: of any) that hold the pattern. at_first: only in the first TOKEN_TTL after a deploy."""

    unit: str | None
    pattern: str
    reason: str
    at_first: bool = False

    def fits(self, line: LogLine) -> bool:
        return self.unit in (None, line.unit) and re.search(self.pattern, line.text) is not None


HARMLESS = (
    # Caddy's App.Stop cancels the context of its servers' shutdown as it returns; open connections go on to their end
    Harmless("caddy.service", "(server|listener) shutdown.*context canceled", "a reload does not wait for old connections"),
    Harmless(None, "ACL not found", "an agent may not know a new token yet", at_first=True),
)


def read_log_lines(output: bytes) -> list[LogLine]:
    """From `journalctl -o json`: a line each, with the fields MESSAGE and _SYSTEMD_UNIT, or UNIT where systemd speaks."""
    return [_read(text) for text in output.decode("utf-8", "replace").split("\n") if text.strip()]


def _read(text: str) -> LogLine:
    """What is none of journalctl's lines is shown as it is."""
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        entry = None
    if not isinstance(entry, dict):
        return LogLine("?", visible(text.strip()))
    unit = entry.get("UNIT") or entry.get("_SYSTEMD_UNIT") or "?"
    return LogLine(str(unit), visible(_message(entry.get("MESSAGE")).strip()))


def _message(value: Any) -> str:
    """journalctl gives what is no UTF-8 as a list of bytes."""
    if isinstance(value, list) and all(isinstance(n, int) and 0 <= n < 256 for n in value):
        return bytes(value).decode("utf-8", "replace")
    return value if isinstance(value, str) else ""


def split(lines: Sequence[LogLine], late: Sequence[LogLine]) -> tuple[list[LogLine], list[Harmless]]:
    """(the lines that tell of a fault, the rule of each other one). late: those that came after the first TOKEN_TTL."""
    bad, known = [], []
    for line in lines:
        rule = next((h for h in HARMLESS if h.fits(line) and not (h.at_first and line in late)), None)
        if rule is None:
            bad.append(line)
        else:
            known.append(rule)
    return bad, known


def summary(bad: Sequence[tuple[str, LogLine]], known: Sequence[Harmless]) -> str:
    """`3 lines (m1 caddy.service 2, …), the last: …`; or what is harmless with its reason. bad: (host, line)."""
    if bad:
        counts = Counter(f"{host} {line.unit}" for host, line in bad)
        host, last = bad[-1]
        each = ", ".join(f"{where} {count}" for where, count in counts.items())
        lines = "1 line" if len(bad) == 1 else f"{len(bad)} lines"
        return f"{lines} ({each}), the last: {host} {last.unit}: {last.text[:_SHOWN]}"
    if known:
        reasons = Counter(rule.reason for rule in known)
        return "none, besides harmless ones: " + "; ".join(f"{count}, for {reason}" for reason, count in reasons.items())
    return "none"
