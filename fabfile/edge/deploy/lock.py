"""The cluster's lock: one deploy or drill at a time, held as a file on every reachable manager and
every host that changes.

It works before there is a Consul and when Consul is broken. Taken under flock on each manager, so at most one
taker gets each; whoever does not get all of them gives back what it got.
"""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import Busy, HostError
from ...core.state.facts import LockFact, lock_fact
from ...core.state.scripts import script
from ..ssh.connection import Remote
from ..ssh.fanout import each

SECONDS = 1800  # a lock ends itself after this, by the manager's clock
_PATIENCE = 3  # seconds: of two that take at the same moment, the one with the first manager waits for the other


@dataclass(frozen=True, slots=True)
class Holder:
    """Who we are, in the words that a refused colleague will read."""

    id: str
    who: str
    what: str
    origin: str


def holder(what: str) -> Holder:
    who = f"{getpass.getuser()}@{socket.gethostname()}"
    return Holder(secrets.token_hex(6), who, " ".join(what.split()), f"{_machine()}:{os.getpid()}")


@contextmanager
def held(managers: Sequence[Remote], what: str) -> Iterator[Holder]:
    """Holds the lock for the block. Busy names the one who has it."""
    me = holder(what)
    take(managers, me)
    try:
        yield me
    finally:
        release(managers, me.id)


def take(managers: Sequence[Remote], me: Holder) -> None:
    until = time.monotonic() + _PATIENCE
    while True:
        answers, faults = each(managers, lambda r: _say(r, "take", me.id, str(SECONDS), me.origin, me.who, me.what))
        others = {name: lock for name, lock in answers.items() if lock and lock.id != me.id}
        if not others and not faults:
            return
        dead = [lock.id for lock in others.values() if is_dead(lock)]
        if dead and len(dead) == len(others):
            for id_ in set(dead):
                release(managers, id_)
            continue
        first = managers[0].host.name
        if faults or first in others or time.monotonic() > until:
            release(managers, me.id)
            raise faults[0] if faults else busy(next(iter(others.values())))
        time.sleep(0.3)


def release(managers: Sequence[Remote], lock_id: str) -> list[HostError]:
    """Gives the lock back. A manager that cannot be reached keeps it until it expires; it is among the faults."""
    return each(managers, lambda r: _say(r, "release", lock_id))[1]


def busy(lock: LockFact) -> Busy:
    """The refusal: who, since when, what, until when."""
    since = time.strftime("%H:%M:%S", time.localtime(lock.since))
    until = time.strftime("%H:%M", time.localtime(lock.expires))
    return Busy(
        f"{lock.who} has held the cluster since {since}: {lock.what}",
        f"wait for it; if it is certainly gone: inv unlock (the lock ends by itself at {until})",
    )


def is_dead(lock: LockFact) -> bool:
    """True only where we can know: it was taken on this very machine, since its boot, by a process that is gone."""
    machine, _, pid = lock.origin.rpartition(":")
    if machine != _machine() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()}:{boot}"


def _say(remote: Remote, verb: str, *words: str) -> LockFact | None:
    result = remote.script(script("lock"), "", verb, *words)
    pairs = [line[5:].partition(" ") for line in result.out.decode().splitlines() if line.startswith("held ")]
    return lock_fact({key: value for key, _, value in pairs}) if pairs else None
