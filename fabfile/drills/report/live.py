"""The live view of a drill, on stderr: the timeline as lines that stay and, on a terminal, two moving lines below.

The moving lines show phase and requests. A view that cannot be shown must never end a drill, which still has a fault to
undo: when stderr is gone, the view falls silent.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING

from ...core.text import count, milliseconds, visible
from ..verdict.record import MomentKind

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live as RichLive
    from rich.text import Text

_LOAD_LINE_PERIOD = 10.0  # seconds between two lines about requests where nothing moves
_STYLES: dict[MomentKind, str] = {
    "phase": "dim", "fault": "bold red", "detected": "bold magenta", "recovered": "bold green", "healed": "bold",
    "primary": "cyan", "abort": "bold red",
}  # fmt: skip


class LiveView:
    """`with LiveView(title, on_terminal) as view:`; any thread may call its two methods."""

    def __init__(self, title: str, on_terminal: bool) -> None:
        self.title = visible(title)
        self.on_terminal = on_terminal
        self._lock = RLock()
        self._rich: RichLive | None = None
        self._phase = "starting"
        self._zero: float | None = None  # the drill's begin by time.monotonic(), as its moments tell it
        self._load: tuple[int, int, float | None] | None = None
        self._printed_load: tuple[int, int, float | None] | None = None
        self._load_printed_at = 0.0
        self._stderr_gone = False

    def __enter__(self) -> LiveView:
        if self.on_terminal:
            from rich.live import Live as RichLive

            self._rich = RichLive(console=_console(), get_renderable=self._moving_lines, refresh_per_second=5,
                                  transient=True, redirect_stdout=False, redirect_stderr=False)  # fmt: skip
        self._print(self.title, "bold")
        if self._rich:
            self._try(self._rich.start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            if self._rich:
                self._try(self._rich.stop)
            if self._load is not None and self._load != self._printed_load:
                self._print(_line(self._now, "requests", _requests(*self._load)), "")

    def moment(self, at_s: float, kind: MomentKind, text: str) -> None:
        """One line of the timeline; `at_s`: seconds since the drill began. A phase is shown until the next."""
        with self._lock:
            zero = time.monotonic() - at_s
            self._zero = zero if self._zero is None else min(self._zero, zero)
            if kind == "phase":
                self._phase = visible(text)
            self._print(_line(at_s, kind, visible(text)), _STYLES.get(kind, ""))

    def requests(self, sent: int, failed: int, p50_ms: float | None) -> None:
        """The counts so far. Without a terminal: a line now and then, and at once at the first failure."""
        with self._lock:
            self._load = (sent, failed, p50_ms)
            first_failure = failed > 0 and (self._printed_load is None or self._printed_load[1] == 0)
            due = first_failure or time.monotonic() - self._load_printed_at >= _LOAD_LINE_PERIOD
            if self._rich or not due:
                return
            self._printed_load, self._load_printed_at = self._load, time.monotonic()
            self._print(_line(self._now, "requests", _requests(*self._load)), "")

    @property
    def _now(self) -> float:
        return 0.0 if self._zero is None else time.monotonic() - self._zero

    def _moving_lines(self) -> Text:
        """Two lines at most, each cut to the width: a wrapped line would leave traces on the screen."""
        from rich.text import Text

        load = "" if self._load is None else f"\n{'':10}requests   {_requests(*self._load)}"
        return Text(f"{self._now:7.1f} s {'now':<10} {self._phase}{load}", no_wrap=True, overflow="ellipsis")

    def _print(self, line: str, style: str) -> None:
        with self._lock:
            if self._stderr_gone:
                return
            if self._rich is None:
                self._try(lambda: print(line, file=sys.stderr, flush=True))
                return
            from rich.text import Text

            console = self._rich.console
            self._try(lambda: console.print(Text(line, style=style), soft_wrap=True))

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except (OSError, ValueError):  # closed, or a pipe that nobody reads
            self._stderr_gone = True


def _console() -> Console:
    """rich's own console ends the whole program when its pipe breaks."""
    from rich.console import Console

    class PatientConsole(Console):
        def on_broken_pipe(self) -> None:
            self.quiet = True

    return PatientConsole(stderr=True, highlight=False)


def _line(at_s: float, kind: str, text: str) -> str:
    return f"{at_s:7.1f} s {kind:<10} {text}"


def _requests(sent: int, failed: int, p50_ms: float | None) -> str:
    half = "" if p50_ms is None else f", half within {milliseconds(p50_ms)}"
    return f"{count(sent)} sent, {count(failed)} failed{half}"
