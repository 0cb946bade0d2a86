"""Paths on the operator's machine, as messages show them and tell what is wrong with them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..core.yamltree import shown


def near(path: str | Path) -> str:
    """A path for a message: relative where it lies below the working directory."""
    with suppress(ValueError, OSError):  # OSError: the working directory is gone
        return shown(str(Path(path).relative_to(Path.cwd())))
    return shown(str(path))


def why_unread(path: Path, error: OSError | ValueError) -> tuple[str, str]:
    """What is wrong with a file that could not be read, in words that follow its path; and what to do, empty if unknown."""
    if isinstance(error, IsADirectoryError):
        return "is a folder; a file is due", ""
    if isinstance(error, PermissionError):
        return "is not yours to read", f"ls -lL {near(path)} shows whose it is"
    if isinstance(error, FileNotFoundError) and path.is_symlink():
        return f"is a link to {shown(os.readlink(path))}, which is not there", "bring its target back, or make the link anew"
    if isinstance(error, FileNotFoundError):
        return "is not there", ""
    return f"cannot be read: {(getattr(error, 'strerror', None) or str(error)).lower()}", ""
