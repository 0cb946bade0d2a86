"""What an operator sees while a drill runs, on stderr: the timeline as lines that stay, and under them, on a terminal
only, two that move: phase and requests.

A view that cannot be shown must never end a drill, which has something to heal: with stderr gone it falls silent.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING

from ...core.text import count, milliseconds, visible
from ..verdict.record import Kind

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live as RichLive
    from rich.text import Text

_EACH = 10.0  # seconds between two lines about requests where nothing moves
_STYLES: dict[Kind, str] = {
    "phase": "dim", "fault": "bold red", "detected": "bold magenta", "recovered": "bold green", "healed": "bold",
    "primary": "cyan", "abort": "bold red",
}  # fmt: skip


class Live:
    """`with Live(title, on_terminal) as live:`; both methods may be called from any thread."""

    def __init__(self, title: str, on_terminal: bool) -> None:
        self.title = visible(title)
        self.on_terminal = on_terminal
        self._lock = RLock()
        self._view: RichLive | None = None
        self._phase = "starting"
        self._zero: float | None = None  # of the drill's clock, as the moments tell it
        self._load: tuple[int, int, float | None] | None = None
        self._told: tuple[int, int, float | None] | None = None
        self._told_at = 0.0
        self._gone = False

    def __enter__(self) -> Live:
        if self.on_terminal:
            from rich.live import Live as RichLive

            self._view = RichLive(console=_console(), get_renderable=self._moving, refresh_per_second=5, transient=True,
                                  redirect_stdout=False, redirect_stderr=False)  # fmt: skip
        self._show(self.title, "bold")
        if self._view:
            self._try(self._view.start)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._lock:
            if self._view:
                self._try(self._view.stop)
            if self._load is not None and self._load != self._told:
                self._show(_indented(self._now, "requests", _requests(*self._load)), "")

    def tell(self, at_s: float, kind: Kind, text: str) -> None:
        """One line of the timeline; `at_s`: seconds since the drill began. A phase is shown until the next."""
        with self._lock:
            zero = time.monotonic() - at_s
            self._zero = zero if self._zero is None else min(self._zero, zero)
            if kind == "phase":
                self._phase = visible(text)
            self._show(_indented(at_s, kind, visible(text)), _STYLES.get(kind, ""))

    def requests(self, sent: int, failed: int, p50_ms: float | None) -> None:
        """So far; without a terminal a line now and then, and at once when the first fails."""
        with self._lock:
            self._load = (sent, failed, p50_ms)
            first = failed > 0 and (self._told is None or self._told[1] == 0)
            if self._view or not (first or time.monotonic() - self._told_at >= _EACH):
                return
            self._told, self._told_at = self._load, time.monotonic()
            self._show(_indented(self._now, "requests", _requests(*self._load)), "")

    @property
    def _now(self) -> float:
        return 0.0 if self._zero is None else time.monotonic() - self._zero

    def _moving(self) -> Text:
        """Two lines at most, each cut to the width: what wraps would leave its traces on the screen."""
        from rich.text import Text

        load = "" if self._load is None else f"\n{'':10}requests   {_requests(*self._load)}"
        return Text(f"{self._now:7.1f} s {'now':<10} {self._phase}{load}", no_wrap=True, overflow="ellipsis")

    def _show(self, line: str, style: str) -> None:
        with self._lock:
            if self._gone:
                return
            if self._view is None:
                self._try(lambda: print(line, file=sys.stderr, flush=True))
                return
            from rich.text import Text

            view = self._view
            self._try(lambda: view.console.print(Text(line, style=style), soft_wrap=True))

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except (OSError, ValueError):  # closed, or a pipe that nobody reads
            self._gone = True


def _console() -> Console:
    """rich's own ends the whole program when its pipe breaks."""
    from rich.console import Console

    class Quiet(Console):
        def on_broken_pipe(self) -> None:
            self.no_load_reason = True

    return Quiet(stderr=True, highlight=False)


def _indented(at_s: float, kind: str, text: str) -> str:
    return f"{at_s:7.1f} s {kind:<10} {text}"


def _requests(sent: int, failed: int, p50_ms: float | None) -> str:
    half = "" if p50_ms is None else f", half within {milliseconds(p50_ms)}"
    return f"{count(sent)} sent, {count(failed)} failed{half}"
