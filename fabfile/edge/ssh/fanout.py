"""The same work on many hosts at once, at most LIMIT of them; one host's failure does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from ...core.errors import HostError
from .connection import Remote

T = TypeVar("T")
LIMIT = 24  # hosts at once; one sshd or jump host loses some of 40 simultaneous connects (MaxStartups 10:30:100)


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
    pool = ThreadPoolExecutor(max_workers=max(1, min(limit, len(remotes))))
    futures = {pool.submit(work, remote): remote for remote in remotes}
    try:
        for future in as_completed(futures):
            remote = futures[future]
            name = remote.host.name
            try:
                results[name] = future.result()
            except HostError as fault:
                faults[name] = fault
            if done:
                done(remote, faults[name] if name in faults else results[name])
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C: closing the connections ends the threads
    order = [r.host.name for r in remotes]
    return {n: results[n] for n in order if n in results}, [faults[n] for n in order if n in faults]
