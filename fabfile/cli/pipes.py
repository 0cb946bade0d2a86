"""A reader that has seen enough (`inv events | head`) is no fault: the command ends without a word, as others do."""

from __future__ import annotations

import os
import select
import sys
from functools import wraps

from invoke.exceptions import Exit
from invoke.program import Program

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


def teach() -> None:
    """The same for what Invoke itself prints: --list and --help."""
    plain = Program.parse_cleanup
    if hasattr(plain, "__wrapped__"):
        return

    @wraps(plain)
    def parse_cleanup(self: Program) -> None:
        try:
            plain(self)
        except (BrokenPipeError, Exit):
            leave_if_unread()
            raise

    Program.parse_cleanup = parse_cleanup  # type: ignore[method-assign]  # it has no hook for this
