"""The drills explained: one block each, readable in 80 columns, or as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..verdict.record import Promise
from .model import Fault

_MAX_WIDTH = 100


def as_json(fault: Fault, table: Mapping[str, Promise]) -> dict[str, Any]:
    arguments = [
        {"name": a.name, "default": a.default, "meaning": a.meaning, "due": a.expected} for a in fault.arguments
    ]
    return {
        "name": fault.name, "does": fault.does, "measures": fault.measures, "targets": list(fault.target_kinds),
        "default": fault.default_target, "ttl_s": fault.ttl, "needs": list(fault.needs), "arguments": arguments,
        "promises": {key: asdict(table[key]) for key in _titles(fault)},
    }  # fmt: skip


def _titles(fault: Fault) -> dict[str, str]:
    """Promise key -> its condition in words; "" for the ordinary promise, which comes first."""
    return {fault.promise_key(): "", **{fault.promise_key(case): case.title for case in fault.special_cases}}


def show(faults: Sequence[Fault], table: Mapping[str, Promise], console: Console) -> None:
    width = min(console.width, _MAX_WIDTH)
    for fault in faults:
        console.print(Text(f"chaos.{fault.name}", style="bold"))
        grid = Table.grid(padding=(0, 2, 0, 0))
        for name, text in _rows(fault, table):
            grid.add_row(Text(name, "dim"), Text(text))
        console.print(Padding(grid, (0, 0, 1, 2)), width=width)


def _rows(fault: Fault, table: Mapping[str, Promise]) -> Iterator[tuple[str, str]]:
    yield "does", fault.does
    yield "measures", fault.measures
    for key, title in _titles(fault).items():
        yield "" if title else "promise", (f"{title}: " if title else "") + table[key].text
    targets = ", ".join(fault.target_kinds)
    yield "target", f"{targets} (default: {fault.default_target}); undone by the host after {fault.ttl} s"
    for argument in fault.arguments:
        yield f"--{argument.name}", f"{argument.meaning}: {argument.expected} (default: {argument.default})"
    if fault.needs:
        yield "needs", ", ".join(fault.needs)
