"""The drills explained, one block each, readable in 80 columns."""

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

_WIDE = 100
# How the promises of a fault are told apart that are not its ordinary one
_ON = {"-primary": "on the primary's host", "-quorum": "on a majority of the managers", "-udp": "with --way udp"}


def as_json(fault: Fault, table: Mapping[str, Promise]) -> dict[str, Any]:
    return {
        "name": fault.name, "does": fault.does, "measures": fault.measures, "targets": list(fault.words),
        "default": fault.target, "ttl_s": fault.ttl, "needs": list(fault.needs),
        "arguments": [{"name": a.name, "default": a.default, "meaning": a.meaning, "due": a.due} for a in fault.arguments],
        "promises": {key: asdict(table[key]) for key in keys(fault, table)},
    }  # fmt: skip


def keys(fault: Fault, table: Mapping[str, Promise]) -> list[str]:
    """Of its promises: the ordinary one first."""
    return [key for key in (fault.promise, *(f"{fault.promise}{end}" for end in _ON)) if key in table]


def show(faults: Sequence[Fault], table: Mapping[str, Promise]) -> None:
    console = Console(highlight=False)
    width = min(console.width, _WIDE)
    for fault in faults:
        console.print(Text(f"chaos.{fault.name}", style="bold"))
        made = Table.grid(padding=(0, 2, 0, 0))
        for name, text in _rows(fault, table):
            made.add_row(Text(name, "dim"), Text(text))
        console.print(Padding(made, (0, 0, 1, 2)), width=width)


def _rows(fault: Fault, table: Mapping[str, Promise]) -> Iterator[tuple[str, str]]:
    yield "does", fault.does
    yield "measures", fault.measures
    for key in keys(fault, table):
        ordinary = key == fault.promise
        yield "promise" if ordinary else "", ("" if ordinary else f"{_on(key)}: ") + table[key].text
    yield "target", f"{', '.join(fault.words)} (default: {fault.target}); undone by the host after {fault.ttl} s"
    for argument in fault.arguments:
        yield f"--{argument.name}", f"{argument.meaning}: {argument.due} (default: {argument.default})"
    if fault.needs:
        yield "needs", ", ".join(fault.needs)


def _on(key: str) -> str:
    return next(words for end, words in _ON.items() if key.endswith(end))
