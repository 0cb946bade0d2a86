"""Turns at an SSH server: sshd drops some of the connections that nobody has logged in to, as soon as they are many."""

from __future__ import annotations

from threading import Lock, Semaphore
from typing import Any

AT_ONCE = 24  # of 40 simultaneous logins one sshd loses some (MaxStartups 10:30:100); others are tried again

_turns: dict[str, Semaphore] = {}
_lock = Lock()


def turn_at(connection: Any) -> Semaphore:
    """Held while this connection logs in: for all that go to the same address, a jump host's or a host's own.

    Where a ProxyCommand leads is not known: all of them count as one.
    """
    address = "ProxyCommand" if isinstance(connection.gateway, str) else str(connection.host)
    with _lock:
        return _turns.setdefault(address, Semaphore(AT_ONCE))
