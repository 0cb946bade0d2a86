"""The cluster's lock: one deploy or drill at a time. A file on every reachable manager and every host that changes.

It works before Consul is installed and when Consul is broken. Each host's file is taken under flock, so at most one
taker gets it; a taker that does not get all of them releases those that it got.
"""

from __future__ import annotations

import getpass
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import Busy, HostError
from ...core.foreign import understood
from ...core.state.facts import LockFact
from ...core.state.probe_output import parse_lock
from ...core.state.scripts import script
from ...core.text import local_time
from ..ssh.connection import Remote
from ..ssh.fanout import for_each_host

SECONDS = 1800  # until a lock expires, by the host's clock
_PATIENCE = 3  # seconds: of two that take at the same moment, the one that got the first manager waits for the other


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lock, as others read it when they are refused.

    who: user@machine; what: the command; origin: machine, boot id and process id, for `is_dead`
    """

    id: str
    who: str
    what: str
    origin: str


def holder(what: str) -> Holder:
    """This process as a holder, with a new random id."""
    who = f"{getpass.getuser()}@{socket.gethostname()}"
    return Holder(secrets.token_hex(6), who, " ".join(what.split()), f"{_machine_id()}:{os.getpid()}")


@contextmanager
def held(managers: Sequence[Remote], what: str) -> Iterator[Holder]:
    """Holds the lock on these hosts while the block runs. Busy, with the holder's name, when somebody else has it."""
    me = holder(what)
    take(managers, me)
    try:
        yield me
    finally:
        release(managers, me.id)


def take(managers: Sequence[Remote], me: Holder) -> None:
    """Takes the lock on all hosts, or extends it where we have it; locks of dead holders are released.

    Busy when somebody else has it, HostError when a host does not answer; then what was taken is released.
    """
    until = time.monotonic() + _PATIENCE
    args = ("take", me.id, str(SECONDS), me.origin, me.who, me.what)
    while True:
        answers, faults = for_each_host(managers, lambda r: _run_script(r, *args))
        foreign = {name: lock for name, lock in answers.items() if lock and lock.id != me.id}
        if not foreign and not faults:
            return
        dead = [lock.id for lock in foreign.values() if is_dead(lock)]
        if dead and len(dead) == len(foreign):
            for id_ in set(dead):
                release(managers, id_)
            continue
        first = managers[0].host.name
        if faults or first in foreign or time.monotonic() > until:
            release(managers, me.id)
            raise faults[0] if faults else busy(next(iter(foreign.values())))
        time.sleep(0.3)


def release(managers: Sequence[Remote], lock_id: str) -> list[HostError]:
    """Releases the lock. A host that cannot be reached keeps it until it expires, and is among the returned faults."""
    return for_each_host(managers, lambda r: _run_script(r, "release", lock_id))[1]


def busy(lock: LockFact) -> Busy:
    """The error that says who holds the lock, since when, for what, and until when."""
    since, until = local_time(lock.since, "%H:%M:%S"), local_time(lock.expires, "%H:%M")
    return Busy(
        f"{lock.who} has held the cluster since {since}: {lock.what}",
        f"wait for it; if it is certainly gone: inv unlock (the lock ends by itself at {until})",
    )


def is_dead(lock: LockFact) -> bool:
    """True only when we can know: it was taken on this machine, since its last boot, by a process that is gone."""
    machine, _, pid = lock.origin.rpartition(":")
    if machine != _machine_id() or not re.fullmatch(r"[1-9][0-9]{0,8}", pid):
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _machine_id() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()}:{boot}"


def _run_script(remote: Remote, *args: str) -> LockFact | None:
    """Runs lock.sh on the host and returns the lock that it reports, None when there is none."""
    result = remote.script(script("lock"), "", *args, repeat=True)  # taken or released twice is the same
    lines = result.out.decode("utf-8", "replace").splitlines()
    pairs = [line[5:].partition(" ") for line in lines if line.startswith("held ")]
    with understood(remote.host.name, "its lock", "on the host: cat /var/lib/nexus/lock"):
        return parse_lock({key: value for key, _, value in pairs}) if pairs else None
