"""Turns Ctrl-C, SIGTERM and a closed terminal into a value to check: a drill must undo its fault before it ends."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any

_CAUSES = {
    signal.SIGINT: "interrupted by the operator", signal.SIGTERM: "told to end (SIGTERM)",
    signal.SIGHUP: "the terminal was closed",
}  # fmt: skip


class Interrupts:
    """Within its block, signals are counted and interrupt nothing. For the main thread only.

    cause: of the first signal, in words; "": none came.
    """

    def __init__(self) -> None:
        self.cause, self.count = "", 0
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        self._handlers = {number: signal.signal(number, self._on_signal) for number in _CAUSES}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self.count += 1
        self.cause = self.cause or _CAUSES[signal.Signals(number)]
