"""Ctrl-C, a closed terminal and a polite kill, as a word to look at: a drill must undo its fault first."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any

_WORDS = {
    signal.SIGINT: "interrupted by the operator", signal.SIGTERM: "told to end (SIGTERM)",
    signal.SIGHUP: "the terminal was closed",
}  # fmt: skip


class Interrupts:
    """In its block signals are counted, and nothing is broken off. Of the main thread only. came: the first, in words."""

    def __init__(self) -> None:
        self.came, self.count = "", 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        self._before = {number: signal.signal(number, self._hear) for number in _WORDS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, _: FrameType | None) -> None:
        self.count += 1
        self.came = self.came or _WORDS[signal.Signals(number)]
