"""Paths on the operator's machine, as messages show them and tell what is wrong with them."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path

from ...core.config.yaml_tree import shown
from ...core.errors import InputError


def near(path: str | Path) -> str:
    """A path for a message, whole: relative where it lies below the working directory, quoted where it is odd."""
    text = str(path)
    with suppress(ValueError, OSError):  # OSError: the working directory is gone
        text = str(Path(path).relative_to(Path.cwd()))
    return text if re.fullmatch(r"[\w./:@~+-]+", text) else json.dumps(text, ensure_ascii=not text.isprintable())


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


def writable(flag: str, text: str) -> Path:
    """The file that an option names for output. InputError where it cannot be written, before anything is done for it."""
    path = Path(text).absolute()
    folder = path.parent
    if path.is_dir():
        fault, hint = "is a folder; a file is due", f"name a file in it: {near(path / 'FILE')}"
    elif not folder.is_dir():
        fault, hint = f"there is no folder {near(folder)}", "make it first"
    elif not os.access(path if path.exists() else folder, os.W_OK):
        fault, hint = "is not yours to write", f"name another file, or: ls -ld {near(path if path.exists() else folder)}"
    else:
        return path
    raise InputError([f"{flag} {shown(text)}: {fault}"], hint)
