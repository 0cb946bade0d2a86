"""How a command speaks: data to stdout, talk to stderr; an error is a line and a hint."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from itertools import zip_longest

from ...core.errors import ApplyError, NexusError, Refused, Several

program = "inv"  # what the operator typed: `nexus` where that is the program (see cli.program)


def say(words: str) -> None:
    """Talk to the operator, never mixed with data. Commands in it bear the name of the program that runs."""
    print(_named(words), file=sys.stderr, flush=True)


def _named(words: str) -> str:
    return words if program == "inv" else re.sub(r"(?<![\w/-])(\./)?inv (?=[a-z-])", f"{program} ", words)


def complain(*errors: NexusError) -> None:
    """Each error, the failing unit's own words where there are any, and the way out; neighbours share one."""
    for error, following in zip_longest(errors, errors[1:]):
        if isinstance(error, Several):
            complain(*error.errors)
            continue
        for line in error.message.splitlines():
            say(f"error: {line}")
        if isinstance(error, ApplyError) and error.log:
            for line in error.log.splitlines():
                say(f"  | {line}")
        if error.hint and (following is None or following.hint != error.hint):
            say(f"hint: {error.hint}")


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2, default=str))


def confirm(question: str, yes: bool) -> None:
    """Refused unless the operator says yes; without a terminal to ask on, --yes is needed."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused("nobody is there to say yes", "add --yes to go on without asking")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Refused("not confirmed; nothing was changed")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A plain table on stdout: readable without colour, in 80 columns too."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(*columns, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for row in rows:
        made.add_row(*(Text(cell, style=_tone(cell)) for cell in row))
    Console(soft_wrap=False).print(made)


def _tone(cell: str) -> str:
    word = cell.split(" ")[0]
    if word in ("ok", "alive", "active", "yes", "running"):
        return "green"
    return "red" if word in ("no", "FAIL", "failed", "dead", "unreachable", "down", "inactive") else ""
