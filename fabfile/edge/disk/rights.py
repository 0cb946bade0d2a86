"""Who may read and write the state folder: its owner alone. Backups, copies and git bring files back with looser rights."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ...core.errors import Refused
from .paths import display_path
from .vault import FILE

_ROTATE = "if others have accounts on this machine: inv secrets.rotate tokens, and gossip, and certs"


def close_to_others(folder: Path) -> tuple[str, ...]:
    """Takes everybody else's rights off a cluster's state folder and its secrets. A sentence for each that had some.

    Refused when that cannot be done, or when others may put another folder in its place.
    """
    for each in (folder.parent, folder):
        if os.path.exists(each) and not os.path.isdir(each):
            raise Refused(f"{display_path(each)} is no folder: the state of the cluster belongs there", "NEXUS_STATE=DIR")
    found = [*_root(folder.parent), *_open_ones(folder, 0o700, "")]
    for secrets in (folder / FILE, *sorted(folder.glob(f"before-import-*/{FILE}"))):
        found += _open_ones(secrets, 0o600, f"; {_ROTATE}")
    return tuple(found)


def _root(root: Path) -> Iterator[str]:
    """The folder of all clusters' folders. One of our own name is ours to close; any other may be for more than this."""
    if root.name == ".nexus":
        if _mode(root) & 0o022:
            yield from _open_ones(root, 0o700, "")
    elif _mode(root) & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
        why = f"everybody may write in {display_path(root)} ({_mode(root):04o}), and so put another state folder into it"
        raise Refused(why, f"chmod o-w {display_path(root)}, or name another folder: NEXUS_STATE=DIR")


def _open_ones(path: Path, due: int, advice: str) -> Iterator[str]:
    was = _mode(path)
    if not was & 0o077:
        return
    with suppress(OSError):  # the look below tells
        path.chmod(due)
    if _mode(path) & 0o077:
        why = f"{display_path(path)} is open to others ({was:04o}), and cannot be closed"
        raise Refused(why, f"its owner can: chmod {due:o}; where the file system has no rights: NEXUS_STATE=DIR on another")
    yield f"{display_path(path)} was open to others ({was:04o}), and is closed now ({due:04o}){advice}"


def _mode(path: Path) -> int:
    """The bits of its mode; none when it is not there or cannot be looked at."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0
