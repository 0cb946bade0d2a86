"""Ends a command silently when its reader closes the pipe, as in `inv events | head`: this is not an error."""

from __future__ import annotations

import select
import sys
from typing import TextIO

from invoke.exceptions import Exit
from invoke.program import Program

from .invoke_hooks import Method
from .terminal import CLOSED_PIPE, drop


def flush_output() -> None:
    """Writes what is still held back. Exit, if nobody reads it any more; OSError: the disk is full.

    SIGPIPE's default action is no alternative: it would also end the process when an SSH connection is lost.
    """
    unread = [_is_unread(stream) for stream in (sys.stdout, sys.stderr) if stream is not None]
    if any(unread):
        raise Exit(code=CLOSED_PIPE) from None


def _is_unread(stream: TextIO) -> bool:
    """Whether the reader of this pipe is gone, even if there was nothing to write."""
    try:
        stream.flush()
    except BrokenPipeError:
        drop(stream)
        return True
    except OSError:
        drop(stream)
        raise
    own = sys.__stdout__ if stream is sys.stdout else sys.__stderr__
    poll = select.poll()
    if own is None or own.closed:  # from the start
        return False
    poll.register(own, 0)
    if any(event & select.POLLERR for _, event in poll.poll(0)):  # on the write end of a pipe: no reader is left
        drop(own)
        return True
    return False


def exit_quietly(method: Method, program: Program) -> None:
    """The same for what Invoke itself prints: --list and --help."""
    try:
        method(program)
    except (BrokenPipeError, Exit):
        end_quietly()
        raise


def end_quietly() -> None:
    """The same for the end of the program, whatever it has printed."""
    try:
        flush_output()
    except Exit as ended:
        raise SystemExit(ended.code) from None
    except OSError as error:
        raise SystemExit(f"error: the system refused: {error.strerror}") from None
