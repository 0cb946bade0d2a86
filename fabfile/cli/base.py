"""What every task shares: one door for the inventory, one way to fail, one voice.

Data goes to stdout, talk to stderr. Exit codes: 0 well, 1 an error or something is wrong, 2 changes (`plan`).
"""

from __future__ import annotations

import functools
import gc
import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.exceptions import Exit
from invoke.tasks import task

from ..core.errors import ApplyError, NexusError, Refused, Several
from ..core.model import Cluster, Host
from ..edge.paths import near
from .options import Command, read
from .pipes import leave_if_unread

if TYPE_CHECKING:  # a command that runs no service need not load what checks them
    from ..core.service_model import Services

HELP: Mapping[str, str] = {
    "hosts": "which hosts: all, roles, names, globs, comma lists, !name (default: all)",
    "inventory_": "the inventory file (default: $NEXUS_HOSTS, else hosts.yml here or above)",
    "json": "print JSON instead of a table",
    "yes": "do not ask",
    "debug": "show the traceback of an error",
}


def say(words: str) -> None:
    """Talk to the operator, never mixed with data."""
    print(words, file=sys.stderr, flush=True)


def command(**words: Any) -> Callable[[Callable[..., Any]], Any]:
    """A task whose errors become one line, a hint and exit code 1. `words` go to invoke's @task; `help` is merged."""
    extra = words.pop("help", {})

    def wrap(function: Callable[..., Any]) -> Any:
        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            gc.freeze()  # what was imported is no garbage: no collection needs to look through it
            try:
                _refuse_host_flag(args)
                made = function(*args, **read(kwargs, names, help_))
                leave_if_unread()
                return made
            except (NexusError, OSError, UnicodeError) as error:
                if isinstance(error, BrokenPipeError):
                    leave_if_unread()
                complain(error if isinstance(error, NexusError) else _of_system(error))
                if kwargs.get("debug"):
                    raise
                raise Exit(code=1) from None
            except KeyboardInterrupt:
                say("interrupted: every host is as it was or as it should be; the same command goes on from here")
                raise Exit(code=130) from None

        names = inspect.signature(function).parameters
        help_ = {k: v for k, v in {**HELP, **extra}.items() if k in names}
        return task(klass=Command, help=help_, **words)(guarded)

    return wrap


def _refuse_host_flag(args: Sequence[Any]) -> None:
    """`fab -H x deploy` would run the whole deploy once for each host of -H."""
    if args and hasattr(args[0], "transport"):
        raise Refused("fab's own -H is not used here", "name the hosts of hosts.yml: fab deploy --hosts w1,w2")


def _of_system(error: OSError | UnicodeError) -> NexusError:
    """What nobody nearer to it foresaw: the disk, a file's mode or its bytes, in one line."""
    where = "--debug shows where it happened"
    if isinstance(error, UnicodeError):
        return NexusError(f"text that is not UTF-8 stood in the way: {error}", where)
    what = (error.strerror or str(error) or type(error).__name__).lower()
    if error.filename is None:
        return NexusError(f"the system refused: {what}", where)
    path = error.filename if isinstance(error.filename, str) else os.fsdecode(error.filename)
    return NexusError(f"{near(path)}: {what}", f"check that it is there, and yours to read or write; {where}")


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


def inventory(path: str | None) -> Cluster:
    """The checked cluster; warnings are said."""
    from ..edge.inventory import load

    return _warned(*load(path, os.environ, Path.cwd()))


def with_services(path: str | None, warn: bool = True) -> tuple[Cluster, Services]:
    """The checked cluster and the services beside it, for commands that bring them about or look at them.

    The faults of both files are told together, and before any connection. `warn`: whether the warnings are said.
    """
    from ..edge.services import load_both

    cluster, warnings, offered = load_both(path, os.environ, Path.cwd())
    return _warned(cluster, warnings if warn else ()), offered


def _warned(cluster: Cluster, warnings: Sequence[str]) -> Cluster:
    for warning in warnings:
        say(f"warning: {warning}")
    return cluster


def chosen(cluster: Cluster, hosts: str) -> tuple[Host, ...]:
    from ..core.select import select

    return select(cluster, hosts)


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
