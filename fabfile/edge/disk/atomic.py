"""Atomic writes: a reader, and a crash, find the old file or the new one, never half of it.

The new content goes to a temporary file in the same folder, reaches the disk, and takes the old file's name.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path, mode: int | None = None) -> Iterator[BinaryIO]:
    """A file to write, mode 0600, that is renamed to `path` when the block ends, and removed when the block raises.

    A link stays, and its target is replaced. `mode`: what to set once the content is on the disk. The folder must exist.
    OSError may name the temporary file; also for a `path` that is no regular file: /dev/null would be one from then on.
    """
    path = Path(os.path.realpath(path))
    refuse_special(path)
    handle, temp = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        if mode is not None:
            os.chmod(temp, mode)
        os.replace(temp, path)
    except BaseException:  # Ctrl-C too must leave no half file
        Path(temp).unlink(missing_ok=True)
        raise


def refuse_special(path: Path) -> None:
    """OSError when something stands there that is no regular file."""
    with suppress(FileNotFoundError):
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "is a device, pipe or socket; a regular file is due", str(path))


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Writes a file of ours, which others cannot read for a moment either. OSError names the file itself."""
    try:
        with replacing(path, mode if mode != 0o600 else None) as out:
            out.write(content)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def rewrite_atomically(path: Path, content: bytes) -> None:
    """Writes a file of the operator's, which exists: it keeps its mode and owner, and a link stays a link.

    The folder is synced too: once this returns, a power cut cannot bring the old file back. OSError as it comes.
    """
    target = Path(os.path.realpath(path))
    was = target.stat()
    with replacing(target) as out:
        out.write(content)
        out.flush()
        with suppress(PermissionError):  # only root may give a file away (`sudo inv` keeps its owner)
            os.fchown(out.fileno(), was.st_uid, was.st_gid)
        os.fchmod(out.fileno(), was.st_mode & 0o7777)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
