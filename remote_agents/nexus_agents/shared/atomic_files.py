"""Atomic file writes: after a power cut a file is the old one or the new one."""

from __future__ import annotations

import contextlib
import os


def write_atomically(path: str | os.PathLike[str], text: str, mode: int) -> None:
    """Whole or not at all, on the disk on return, and at no moment readable by more than `mode` allows. OSError."""
    temporary = f"{os.fspath(path)}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
