"""docs/BENCHMARKS.md on disk: one section a benchmark, replaced by the next run of that one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.report import placed, section
from bench.tools import ROOT
from fabfile.edge.disk.state import write_atomically

BOOK = ROOT / "docs" / "BENCHMARKS.md"


def write(command: str, parts: Sequence[str], book: Path) -> None:
    """Replaces the command's section; ValueError when the document's markers do not pair."""
    document = book.read_text(encoding="utf-8") if book.exists() else ""
    book.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(book, placed(document, command, section(command, parts)).encode(), 0o644)
