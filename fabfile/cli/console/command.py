"""The `command` decorator of all tasks: shared options, checked values, an error as one line with hint and exit code.

Data goes to stdout, messages to stderr. Exit codes: 0 success, 1 an error or a problem found, 2 changes (`plan`).
"""

from __future__ import annotations

import functools
import gc
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from invoke.exceptions import Exit
from invoke.tasks import task

from ...core.errors import NexusError, Refused
from ...core.resources import INSTALLED
from ...edge.disk.paths import display_path
from .closed_pipes import flush_output
from .options import Command, convert
from .output import print_error_json, print_json, say, show_errors
from .signals import Terminated, signals_raised
from .terminal import harmless_output

HELP: Mapping[str, str] = {
    "hosts": "which hosts: all, roles, names, globs, comma lists, !name (default: all)",
    "inventory_": "the inventory file (default: $NEXUS_HOSTS, else hosts.yml here or above)",
    "json": "print JSON instead of a table",
    "yes": "do not ask",
    "debug": "show the traceback of an error",
}

GOES_ON = "every host is as it was or as it should be; the same command goes on from here"


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
            with harmless_output():
                return _run(lambda: checked(*args, **kwargs), kwargs)

        def checked(*args: Any, **kwargs: Any) -> Any:
            _refuse_host_flag(args)
            if checkout_only and INSTALLED:
                raise Refused("this command is part of a checkout of the project, and this is an installed copy",
                              "clone the project, and run ./inv there")  # fmt: skip
            with signals_raised():
                return function(*args, **convert(kwargs, parameters, help_))

        parameters = inspect.signature(function).parameters
        help_ = {k: v for k, v in {**HELP, **extra_help}.items() if k in parameters}
        return task(klass=Command, help=help_, **task_options)(guarded)

    return wrap


def _run(task_body: Callable[[], Any], options: Mapping[str, Any]) -> Any:
    """Runs a task's function, and turns its errors into words and exit codes."""
    try:
        try:
            result = task_body()
        except Exit:
            flush_output()
            raise
        flush_output()
        return result
    except (NexusError, OSError, UnicodeError, RuntimeError) as error:
        if isinstance(error, BrokenPipeError):
            flush_output()
        told = error if isinstance(error, NexusError) else _system_error(error)
        show_errors(told)
        with suppress(OSError):  # the disk that is full may be stdout's
            if options.get("json"):
                print_error_json(told)
            flush_output()
        if options.get("debug"):
            raise
        raise Exit(code=1) from None
    except KeyboardInterrupt as ended:
        why, code = (str(ended), ended.code) if isinstance(ended, Terminated) else ("interrupted", 130)
        say(f"{why}: {GOES_ON}")
        if options.get("json"):
            print_json({"error": why, "hint": GOES_ON})
        raise Exit(code=code) from None


def _refuse_host_flag(args: Sequence[Any]) -> None:
    """`fab -H x deploy` would run the whole deploy once for each host of -H."""
    if args and hasattr(args[0], "transport"):
        raise Refused("fab's own -H is not used here", "name the hosts of hosts.yml: fab deploy --hosts w1,w2")


def _system_error(error: OSError | UnicodeError | RuntimeError) -> NexusError:
    """An error that no caller handled (the disk, a file's mode or its bytes) as one line. Raises what is a slip of ours."""
    debug_hint = "--debug shows where it happened"
    if isinstance(error, RuntimeError):
        if "home directory" not in str(error):
            raise error
        return NexusError("a path begins with ~, and there is no such home", f"write the whole path; {debug_hint}")
    if isinstance(error, UnicodeError):
        return NexusError(f"text that is not UTF-8 stood in the way: {error}", debug_hint)
    problem = (error.strerror or str(error) or type(error).__name__).lower()
    if error.filename is None:
        return NexusError(f"the system refused: {problem}", debug_hint)
    path = error.filename if isinstance(error.filename, str) else os.fsdecode(error.filename)
    hint = f"check that it is there, and yours to read or write; {debug_hint}"
    return NexusError(f"{display_path(path)}: {problem}", hint)
