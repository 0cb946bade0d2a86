"""Output of the commands: data on stdout, messages on stderr, errors with a hint, the confirmation, tables."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import zip_longest

from ...core.errors import ApplyError, NexusError, Refused, Several
from ...core.text import harmless
from .terminal import console

program = "inv"  # what the operator typed: `nexus` where that is the program (see cli.program)


def say(text: str) -> None:
    """Prints a message to stderr, apart from the data. Commands in it get the name of the running program."""
    with suppress(OSError):  # the terminal was closed: what a command puts back matters more than to say so
        print(_with_program(text), file=sys.stderr, flush=True)


def _with_program(text: str) -> str:
    return text if program == "inv" else re.sub(r"(?<![\w/-])(\./)?inv (?=[a-z-])", f"{program} ", text)


def show_errors(*errors: NexusError) -> None:
    """Prints each error, the log of a failed unit, and the hint. Errors in a row with the same hint share one."""
    for error, following in zip_longest(errors, errors[1:]):
        if isinstance(error, Several):
            show_errors(*error.errors)
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


def print_error_json(error: NexusError) -> None:
    """What show_errors says, for a program that reads stdout. Several errors: each with its own hint in `errors`."""
    value: dict[str, object] = {"error": error.message, "hint": _with_program(error.hint)}
    if isinstance(error, Several) and len(error.errors) > 1:
        value["errors"] = [{"error": one.message, "hint": _with_program(one.hint)} for one in error.errors]
    print_json(value)


def confirm(question: str, yes: bool) -> None:
    """Refused unless the operator confirms. Without a terminal, --yes is needed."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused("nobody is there to say yes", "add --yes to go on without asking")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Refused("not confirmed; nothing was changed")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A plain table on stdout. It is readable without colour and in 80 columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    grid = Table(*columns, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for row in rows:
        grid.add_row(*(Text(harmless(cell), style=_style(cell)) for cell in row))
    console().print(grid)


def _style(cell: str) -> str:
    word = cell.split(" ")[0]
    if word in ("ok", "alive", "active", "yes", "running"):
        return "green"
    return "red" if word in ("no", "FAIL", "failed", "dead", "unreachable", "down", "inactive") else ""
