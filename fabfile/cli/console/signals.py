"""SIGTERM and a closed terminal end a command as Ctrl-C does: by an exception, so that whatever it holds is put back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_WORDS = {signal.SIGTERM: "told to end (SIGTERM)", signal.SIGHUP: "the terminal was closed"}
_DEFERRED = (signal.SIGINT, *_WORDS)


class Terminated(KeyboardInterrupt):
    """A signal that ends the command. code: the exit code that a shell gives a process ended by it."""

    def __init__(self, number: int) -> None:
        super().__init__(_WORDS[signal.Signals(number)])
        self.code = 128 + number


@contextmanager
def signals_raised() -> Iterator[None]:
    """Within the block the first such signal raises Terminated; later ones do not disturb what then is put back.

    A signal that is ignored (nohup) stays ignored. In another thread than the main one nothing is changed.
    """

    def raise_once(number: int, _: FrameType | None) -> None:
        for other in before:
            signal.signal(other, lambda *_: None)  # a closed terminal sends more than one
        raise Terminated(number)

    before = _handlers(*_WORDS)
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    for number in before:
        signal.signal(number, raise_once)
    try:
        yield
    finally:
        _restore(before)


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Within the block neither these signals nor Ctrl-C interrupt anything; one that came does so at its end."""
    came: list[int] = []
    before = _handlers(*_DEFERRED)
    before = {number: handler for number, handler in before.items() if callable(handler)}
    for number in before:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        _restore(before)
        if came:
            signal.raise_signal(came[0])


def _handlers(*numbers: signal.Signals) -> dict[signal.Signals, Any]:
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.getsignal(number) for number in numbers}


def _restore(handlers: dict[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
