"""A reader that has seen enough (`inv events | head`) is no fault: the command ends without a word, as others do."""

from __future__ import annotations

import os
import select
import sys

from invoke.exceptions import Exit
from invoke.program import Program

from .invoke_hooks import Plain

CODE = 141  # as a shell tells a process that SIGPIPE ended


def leave_if_unread() -> None:
    """Exit, where nobody reads stdout any more. The signal's own default would end us at a lost SSH connection, too."""
    if sys.__stdout__ is None:  # closed from the start
        return
    out = select.poll()
    out.register(sys.__stdout__, 0)
    if any(event & select.POLLERR for _, event in out.poll(0)):  # of a pipe's end to write: there is no other end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())  # Python flushes once more when it ends
        raise Exit(code=CODE) from None


def answer(plain: Plain, program: Program) -> None:
    """The same for what Invoke itself prints: --list and --help."""
    try:
        plain(program)
    except (BrokenPipeError, Exit):
        leave_if_unread()
        raise
