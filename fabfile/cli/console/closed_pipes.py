"""Ends a command silently when its reader closes the pipe, as in `inv events | head`: this is not an error."""

from __future__ import annotations

import os
import select
import sys

from invoke.exceptions import Exit
from invoke.program import Program

from .invoke_hooks import Method

CODE = 141  # the exit code that a shell gives a process ended by SIGPIPE


def exit_if_unread() -> None:
    """Exit, if nobody reads stdout any more.

    SIGPIPE's default action is no alternative: it would also end the process when an SSH connection is lost.
    """
    if sys.__stdout__ is None:  # closed from the start
        return
    poll = select.poll()
    poll.register(sys.__stdout__, 0)
    if any(event & select.POLLERR for _, event in poll.poll(0)):  # on the write end of a pipe: no reader is left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())  # Python flushes stdout at exit
        raise Exit(code=CODE) from None


def exit_quietly(method: Method, program: Program) -> None:
    """The same for what Invoke itself prints: --list and --help."""
    try:
        method(program)
    except (BrokenPipeError, Exit):
        exit_if_unread()
        raise
