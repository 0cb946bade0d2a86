"""Tasks of the lab: containers on this machine that behave like servers."""

from __future__ import annotations

import dataclasses
import json as jsonlib
import sys

from invoke.context import Context
from invoke.tasks import task

from ..lab import nodes


def _say(words: str) -> None:
    print(f"lab: {words}", file=sys.stderr, flush=True)


@task
def up(_: Context) -> None:
    """Start the lab, or repair it; changes nothing in a lab that is whole."""
    nodes.up(_say)
    _say("up: m1 m2 m3 w1 w2 lb1, and spare (127.0.7.7) to grow by")


@task
def down(_: Context) -> None:
    """Remove the lab's nodes and all that is on them, and stop Docker if lab.up started it."""
    nodes.down(_say)
    _say("down")


@task(help={"json": "print JSON"})
def status(_: Context, json: bool = False) -> None:
    """Show the lab's nodes and their addresses."""
    found = nodes.status()
    if json:
        print(jsonlib.dumps([dataclasses.asdict(node) for node in found]))
        return
    from rich import box  # lazy: most commands print no table
    from rich.console import Console
    from rich.table import Table

    table = Table("node", "state", "ssh", "cluster", box=box.SIMPLE_HEAD)
    for node in found:
        table.add_row(node.name, node.state, node.ssh, node.cluster)
    Console().print(table)
