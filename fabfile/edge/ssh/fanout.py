"""The same work on many hosts at once, at most LIMIT of them; one host's failure does not stop the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

from ...core.errors import HostError
from .connection import Remote

T = TypeVar("T")
LIMIT = 128  # hosts at once: enough for far ones, which are waited for; login_turns spares each sshd and jump host
UPLOADS = 24  # hosts at once that are sent much: they share the operator's line, and none may wait long for its part


def for_each_host(
    remotes: Iterable[Remote], work: Callable[[Remote], T],
    done: Callable[[Remote, T | HostError], None] | None = None, limit: int = LIMIT,
) -> tuple[dict[str, T], list[HostError]]:  # fmt: skip
    """Runs `work` for each host. Returns results by host name, and the faults, both in the given order.

    `done` is called as each host finishes, in the caller's own thread. Only HostError is a host's failure;
    any other error is a bug and is raised.
    """
    remotes = list(remotes)
    results: dict[str, T] = {}
    faults: dict[str, HostError] = {}
    waiting, finished = deque(remotes), SimpleQueue[tuple[Remote, Callable[[], T]]]()
    for _ in range(min(limit, len(remotes))):
        # daemons: Ctrl-C ends the command at once, and does not wait for those that are connecting
        Thread(target=_work, args=(work, waiting, finished), daemon=True).start()
    try:
        for _ in remotes:
            remote, outcome = finished.get()
            name = remote.host.name
            try:
                results[name] = outcome()
            except HostError as fault:
                faults[name] = fault
            if done:
                done(remote, faults[name] if name in faults else results[name])
    finally:
        waiting.clear()
    order = [r.host.name for r in remotes]
    return {n: results[n] for n in order if n in results}, [faults[n] for n in order if n in faults]


def _work(
    work: Callable[[Remote], T], waiting: deque[Remote], finished: SimpleQueue[tuple[Remote, Callable[[], T]]]
) -> None:
    """Takes hosts until none is left. What an outcome is, a result or an error, its reader learns by calling it."""
    while waiting:
        try:
            remote = waiting.popleft()
        except IndexError:  # another thread took the last one
            return
        future: Future[T] = Future()
        try:
            future.set_result(work(remote))
        except BaseException as error:
            future.set_exception(error)
        finished.put((remote, future.result))
