"""A known_hosts file, read as sshd(8) describes it: hashed names, wildcards, negation, markers.

What ssh skips is skipped: half lines, keys that are none, markers that nobody knows.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import stat
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from pathlib import Path
from re import Pattern
from re import compile as compile_pattern
from threading import Lock

from ...core.errors import InputError
from ..disk.paths import read_fault

REVOKED, AUTHORITY = "@revoked", "@cert-authority"
_reading = Lock()


@dataclass(frozen=True, slots=True)
class Entry:
    """A line: marker ("" for none), the names as written, the kind of key, the key in base64, the line's number."""

    marker: str
    names: str
    kind: str
    key: str
    number: int

    @property
    def blob(self) -> bytes | None:
        """The key as it goes over the wire; None where it is no key of its kind."""
        try:
            blob = base64.b64decode(self.key, validate=True)
        except (ValueError, binascii.Error):
            return None
        kind = self.kind.encode()
        return blob if blob[:4] == len(kind).to_bytes(4, "big") and blob[4 : 4 + len(kind)] == kind else None

    def matches(self, name: str) -> bool:
        """Whether the line is of this host; `name` in small letters."""
        if self.names.startswith("|1|"):
            return _hashed(self.names, name)
        found = False
        for pattern in self.names.lower().split(","):
            negated, pattern = pattern.startswith("!"), pattern.removeprefix("!")
            if _pattern(pattern).fullmatch(name):
                if negated:
                    return False
                found = True
        return found


@lru_cache(maxsize=1024)
def _pattern(text: str) -> Pattern[str]:
    """`*` and `?` only: a bracket is part of a name with a port."""
    return compile_pattern(translate(text.replace("[", "[[]")))


def _hashed(names: str, name: str) -> bool:
    try:
        salt, digest = (base64.b64decode(part) for part in names.split("|")[2:4])
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)


class KnownHosts:
    """The entries of one file. Those with one plain name are looked up; only the others are tried one by one."""

    def __init__(self, text: str) -> None:
        self._plain: dict[str, list[Entry]] = {}
        self._others: list[Entry] = []
        for number, line in enumerate(text.split("\n"), 1):
            entry = parse_line(line, number)
            if entry is None:
                continue
            if entry.marker or any(sign in entry.names for sign in "*?!|"):
                self._others.append(entry)
            else:
                for name in entry.names.lower().split(","):
                    self._plain.setdefault(name, []).append(entry)

    def of(self, name: str) -> list[Entry]:
        """The lines of this host, with and without markers."""
        name = name.lower()
        return [*self._plain.get(name, ()), *(entry for entry in self._others if entry.matches(name))]


def parse_line(line: str, number: int = 0) -> Entry | None:
    """None for a line that ssh skips."""
    words = line.split(None, 4)
    marker = words.pop(0) if words and words[0].startswith("@") else ""
    if len(words) < 3 or words[0].startswith("#") or marker not in ("", REVOKED, AUTHORITY) or words[1].isdigit():
        return None
    return Entry(marker, words[0], words[1], words[2], number)


def read(file: Path) -> KnownHosts:
    """The whole file, read once, not once per host. Without such a file, no entries. InputError: it cannot be read."""
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode) and not file.is_dir():
            return KnownHosts("")  # /dev/null; a pipe would be waited for without end
        with _reading:  # all connections read it at the same moment
            return _read(file, found.st_mtime_ns, found.st_size, found.st_ino)
    except (FileNotFoundError, NotADirectoryError):
        return KnownHosts("")
    except OSError as error:
        why, remedy = read_fault(file, error)
        raise InputError([f"{file}: {why}"], remedy or "name another file: known_hosts under defaults") from None


@lru_cache(maxsize=8)
def _read(file: Path, *_state: int) -> KnownHosts:
    return KnownHosts(file.read_bytes().decode("utf-8", "replace"))
