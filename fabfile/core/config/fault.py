"""A fault of an input file: where it is, what is wrong; and how values are shown on one line of a terminal."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

Path = tuple[str | int, ...]
_BARE = re.compile(r"[A-Za-z0-9._:/@~+-]{1,80}")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong: where (path, 1-based line) and what, in words that follow `path: `."""

    path: Path
    message: str
    line: int | None = None

    def render(self, source: str) -> str:
        """`hosts.yml:7: hosts.w1.port: 70000 is not …`; what is not known is left out."""
        place = f"{source}:{self.line}: " if self.line else f"{source}: "
        return place + (f"{dotted(self.path)}: " if self.path else "") + self.message


def dotted(path: Path) -> str:
    """`hosts.w1.roles[0]`; odd keys are quoted."""
    parts = (f"[{p}]" if isinstance(p, int) else f".{shown(p)}" for p in path)
    return "".join(parts).removeprefix(".")


def shown(value: object) -> str:
    """The value for one line on a terminal: odd text quoted and escaped, long text cut at 60 characters."""
    text = value if isinstance(value, str) else str(value)
    if _BARE.fullmatch(text):
        return text
    cut = text if len(text) <= 60 else text[:60] + "…"
    return json.dumps(cut, ensure_ascii=not cut.isprintable())
