"""Writes docs/BENCHMARKS.md: one section for each benchmark, replaced by the next run of that benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.report import render_section, replace_section
from bench.tools import ROOT
from fabfile.edge.disk.atomic import write_atomically

BENCHMARKS = ROOT / "docs" / "BENCHMARKS.md"


def write_section(command: str, parts: Sequence[str], path: Path) -> None:
    """Replaces the command's section; ValueError when the document's markers do not pair."""
    document = path.read_text(encoding="utf-8") if path.exists() else ""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, replace_section(document, command, render_section(command, parts)).encode(), 0o644)
