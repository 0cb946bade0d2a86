"""Root on a host whose login is another user: through sudo, without a password or with the operator's.

The password goes over the command's stdin, before what the command itself reads: it is in no argv, in no environment and in
no file of the host. A line that nobody types ends it, so that nothing is lost, or run, where sudo did not ask.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from ...core.errors import InputError
from ..disk.paths import display_path, read_fault

FILE = "NEXUS_SUDO_PASSWORD_FILE"
_END = "nexus: the password is over"
# `sh -c`, because the login shell may be any.
_PLAIN = 'if [ "$(id -u)" = 0 ]; then exec "$@"; else exec sudo -n -- env SSH_CONNECTION="$SSH_CONNECTION" "$@"; fi'
# -k: sudo asks each time, whatever it remembers of this user
_WITH_PASSWORD = f"""skip='while IFS= read -r line && [ "$line" != "{_END}" ]; do :; done; exec "$@"'
if [ "$(id -u)" = 0 ]; then exec sh -c "$skip" nexus "$@"
else exec sudo -k -S -p "" -- env SSH_CONNECTION="$SSH_CONNECTION" sh -c "$skip" nexus "$@"; fi"""
_asked: list[str] = []  # the password that the operator typed for this run


def use(password: str) -> None:
    """For this run."""
    _asked[:] = [password]


def as_root(argv: Iterable[str], stdin: Iterable[bytes]) -> tuple[list[str], Iterable[bytes]]:
    """argv and stdin of the command that runs `argv` as root. InputError when the password's file cannot be used."""
    password = _asked[0] if _asked else _from_file(os.environ.get(FILE, ""))
    if password is None:
        return ["sh", "-c", _PLAIN, "nexus", *argv], stdin
    return ["sh", "-c", _WITH_PASSWORD, "nexus", *argv], _after_password(password, stdin)


def _after_password(password: str, stdin: Iterable[bytes]) -> Iterator[bytes]:
    yield f"{password}\n{_END}\n".encode()
    yield from stdin


@lru_cache(maxsize=1)
def _from_file(name: str) -> str | None:
    """Its first line. None without a name."""
    if not name:
        return None
    file = Path(name).expanduser()
    try:
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            raise InputError([f"{FILE}: {display_path(file)} is open to others"], f"chmod 600 {display_path(file)}")
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError, RuntimeError) as error:
        why = read_fault(file, error)[0] if isinstance(error, OSError) else "is no text file of this machine"
        raise InputError([f"{FILE}: {display_path(file)} {why}"], "a file with the password in its first line") from None
    if not lines or not lines[0]:
        raise InputError([f"{FILE}: {display_path(file)} is empty"], "a file with the password in its first line")
    return lines[0]
