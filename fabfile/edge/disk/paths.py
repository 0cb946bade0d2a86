"""Paths on the operator's machine: how messages show them, and what is wrong with one that cannot be used."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ...core.config.fault import shown
from ...core.errors import InputError


def display_path(path: str | Path) -> str:
    """The whole path, for a message: relative below the working directory, quoted when it has odd characters."""
    text = str(path)
    with suppress(ValueError, OSError):  # OSError: the working directory is gone
        text = str(Path(path).relative_to(Path.cwd()))
    return text if re.fullmatch(r"[\w./:@~+-]+", text) else json.dumps(text, ensure_ascii=not text.isprintable())


def read_fault(path: Path, error: OSError | ValueError) -> tuple[str, str]:
    """Why a file could not be read, as words to put after its path, and a hint, empty when there is none."""
    if isinstance(error, IsADirectoryError):
        return "is a folder; a file is due", ""
    if isinstance(error, PermissionError):
        return "is not yours to read", f"ls -lL {display_path(path)} shows whose it is"
    if isinstance(error, FileNotFoundError) and path.is_symlink():
        why = f"is a link to {shown(os.readlink(path))}, which is not there"
        return why, "bring its target back, or make the link anew"
    if isinstance(error, FileNotFoundError):
        return "is not there", ""
    return f"cannot be read: {(getattr(error, 'strerror', None) or str(error)).lower()}", ""


def home_folder(env: Mapping[str, str]) -> Path:
    """$HOME, else the home of the account. InputError when there is neither, or $HOME is no folder's name."""
    try:
        home = Path(env.get("HOME") or Path.home())
    except RuntimeError:  # an account without an entry in /etc/passwd
        raise InputError(["HOME: is not set, and your account has no home folder"], "export HOME=DIR") from None
    if not home.is_absolute() or (os.path.exists(home) and not os.path.isdir(home)):
        raise InputError([f"HOME: {shown(home)} is no folder"], "export HOME=DIR, with the whole path")
    return home


def output_path(flag: str, text: str) -> Path:
    """The absolute path of the file that an option names for output. InputError when it cannot be written.

    Called before the work whose result goes there, so that the work is not lost.
    """
    path = Path(text).absolute()
    folder = path.parent
    if path.is_dir():
        fault, hint = "is a folder; a file is due", f"name a file in it: {display_path(path / 'FILE')}"
    elif path.exists() and not path.is_file():
        fault, hint = "is a device, pipe or socket; a regular file is due", ""
    elif not folder.is_dir():
        fault, hint = f"there is no folder {display_path(folder)}", "make it first"
    elif not os.access(target := path if path.exists() else folder, os.W_OK):
        fault, hint = "is not yours to write", f"name another file, or: ls -ld {display_path(target)}"
    else:
        return path
    raise InputError([f"{flag} {shown(text)}: {fault}"], hint)
