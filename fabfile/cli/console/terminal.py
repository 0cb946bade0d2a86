"""The way to the operator's terminal: whatever is printed passes here, and none of it can command the terminal.

A host's words (an OS name, a service's note, an SSH banner, a log) may hold escape sequences. A HarmlessStream before
stdout and stderr shows them as text. Our own colours come from `console`, which does the same before it adds its codes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

from ...core.text import harmless

if TYPE_CHECKING:
    from rich.console import Console

CLOSED_PIPE = 141  # the exit code that a shell gives a process ended by SIGPIPE


class HarmlessStream:
    """A text stream that writes harmless text only. Everything but writing is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream  # rich's name for the stream to which it writes its own codes

    def write(self, text: str) -> int:
        return self.rich_proxied_file.write(harmless(text))

    def writelines(self, lines: Iterable[str]) -> None:
        self.rich_proxied_file.writelines(map(harmless, lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


def guard_output() -> None:
    """Puts a HarmlessStream before stdout and stderr, where there is none yet and the stream is not closed."""
    sys.stdout, sys.stderr = _guarded(sys.stdout), _guarded(sys.stderr)


@contextmanager
def harmless_output() -> Iterator[None]:
    """The same for a while: a command may be called by another program than ours."""
    before = sys.stdout, sys.stderr
    guard_output()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _guarded(stream: TextIO) -> TextIO:
    if stream is None or isinstance(stream, HarmlessStream):
        return stream
    return cast(TextIO, HarmlessStream(stream))


def console(stderr: bool = False) -> Console:
    """rich's console for tables and colours. Texts are harmless; a pipe that nobody reads ends the command."""
    from rich.console import Console as RichConsole
    from rich.segment import Segment

    class HarmlessConsole(RichConsole):
        def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else harmless(text), style, control)

        def on_broken_pipe(self) -> None:
            drop(self.file)
            raise SystemExit(CLOSED_PIPE)

    return HarmlessConsole(stderr=stderr, highlight=False)


def drop(stream: Any) -> None:
    """Sends the rest of what the stream holds nowhere: Python would try it again at exit, and complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
