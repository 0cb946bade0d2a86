"""What every task shares: one door for the inventory, one way to fail, one voice.

Data goes to stdout, talk to stderr. Exit codes: 0 well, 1 an error or something is wrong, 2 changes (`plan`).
"""

from __future__ import annotations

import functools
import gc
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from invoke.exceptions import Exit
from invoke.tasks import task

from ...core.errors import NexusError, Refused
from ...edge.disk.paths import near
from .closed_pipes import leave_if_unread
from .options import Command, read
from .output import complain, say

HELP: Mapping[str, str] = {
    "hosts": "which hosts: all, roles, names, globs, comma lists, !name (default: all)",
    "inventory_": "the inventory file (default: $NEXUS_HOSTS, else hosts.yml here or above)",
    "json": "print JSON instead of a table",
    "yes": "do not ask",
    "debug": "show the traceback of an error",
}


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
