"""The `command` decorator of all tasks: shared options, checked values, an error as one line with hint and exit code.

Data goes to stdout, messages to stderr. Exit codes: 0 success, 1 an error or a problem found, 2 changes (`plan`).
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
from ...core.resources import INSTALLED
from ...edge.disk.paths import display_path
from .closed_pipes import exit_if_unread
from .options import Command, convert
from .output import say, show_errors

HELP: Mapping[str, str] = {
    "hosts": "which hosts: all, roles, names, globs, comma lists, !name (default: all)",
    "inventory_": "the inventory file (default: $NEXUS_HOSTS, else hosts.yml here or above)",
    "json": "print JSON instead of a table",
    "yes": "do not ask",
    "debug": "show the traceback of an error",
}


def command(checkout_only: bool = False, **task_options: Any) -> Callable[[Callable[..., Any]], Any]:
    """A task whose errors become one line, a hint and exit code 1.

    checkout_only: refused in an installed copy, which has neither tests nor benchmarks nor docs
    task_options:  of Invoke's @task; HELP adds to `help`
    """
    extra_help = task_options.pop("help", {})

    def wrap(function: Callable[..., Any]) -> Any:
        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            gc.freeze()  # imported modules never become garbage: collections skip them
            try:
                _refuse_host_flag(args)
                if checkout_only and INSTALLED:
                    raise Refused("this command is part of a checkout of the project, and this is an installed copy",
                                  "clone the project, and run ./inv there")  # fmt: skip
                result = function(*args, **convert(kwargs, parameters, help_))
                exit_if_unread()
                return result
            except (NexusError, OSError, UnicodeError) as error:
                if isinstance(error, BrokenPipeError):
                    exit_if_unread()
                show_errors(error if isinstance(error, NexusError) else _system_error(error))
                if kwargs.get("debug"):
                    raise
                raise Exit(code=1) from None
            except KeyboardInterrupt:
                say("interrupted: every host is as it was or as it should be; the same command goes on from here")
                raise Exit(code=130) from None

        parameters = inspect.signature(function).parameters
        help_ = {k: v for k, v in {**HELP, **extra_help}.items() if k in parameters}
        return task(klass=Command, help=help_, **task_options)(guarded)

    return wrap


def _refuse_host_flag(args: Sequence[Any]) -> None:
    """`fab -H x deploy` would run the whole deploy once for each host of -H."""
    if args and hasattr(args[0], "transport"):
        raise Refused("fab's own -H is not used here", "name the hosts of hosts.yml: fab deploy --hosts w1,w2")


def _system_error(error: OSError | UnicodeError) -> NexusError:
    """An error that no caller handled (the disk, a file's mode or its bytes) as one line."""
    debug_hint = "--debug shows where it happened"
    if isinstance(error, UnicodeError):
        return NexusError(f"text that is not UTF-8 stood in the way: {error}", debug_hint)
    problem = (error.strerror or str(error) or type(error).__name__).lower()
    if error.filename is None:
        return NexusError(f"the system refused: {problem}", debug_hint)
    path = error.filename if isinstance(error.filename, str) else os.fsdecode(error.filename)
    hint = f"check that it is there, and yours to read or write; {debug_hint}"
    return NexusError(f"{display_path(path)}: {problem}", hint)
