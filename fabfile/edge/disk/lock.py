"""Locks between runs on one machine: a file is read, changed and written by one of them at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...core.errors import Busy, NexusError
from .paths import display_path

PATIENCE = 10.0  # seconds; a holder needs milliseconds, unless it was stopped (Ctrl-Z)
_PAUSE = 0.02


@contextmanager
def locked(path: Path, create: bool = True) -> Iterator[None]:
    """Holds the file `path` exclusively; `create`: it is made (0600) where it is absent, and stays.

    A file that is replaced while we wait is opened anew, so the file itself may be what the lock is for.
    Busy when another run holds it for PATIENCE seconds. Threads exclude each other, too; it cannot be taken twice.
    """
    until = time.monotonic() + PATIENCE
    while True:
        handle = _open(path, os.O_CREAT if create else 0)
        try:
            if _taken(handle, path) and _is(handle, path):
                yield
                return
        finally:
            os.close(handle)
        if time.monotonic() > until:
            hint = "is one of them stopped (Ctrl-Z)? end it, then run this again"
            raise Busy(f"{display_path(path)}: another run holds it, for more than {PATIENCE:.0f} s", hint)
        time.sleep(_PAUSE)


def _open(path: Path, create: int) -> int:
    """For writing, since locks over NFS want that; for reading where the file is not ours to write."""
    flags = os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    try:
        return os.open(path, flags | os.O_RDWR | create, 0o600)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return os.open(path, flags | os.O_RDONLY)


def _taken(handle: int, path: Path) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        hint = "its file system has no locks; keep it on another one (NEXUS_STATE=DIR for the state folder)"
        raise NexusError(f"{display_path(path)}: cannot be locked: {error.strerror}", hint) from error
    return True


def _is(handle: int, path: Path) -> bool:
    """Whether the path still leads to the open file."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
