"""Pinned host keys: which files hold them, and clients that accept these keys and no other, as ssh would."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .known_hosts_file import AUTHORITY, REVOKED, Entry, read

if TYPE_CHECKING:  # paramiko costs 80 ms, which bad input need not wait for
    from paramiko import PKey, SSHClient, Transport

_RSA = ("rsa-sha2-512", "rsa-sha2-256")  # what a key of kind ssh-rsa signs with
_BINARY = b"SSHKRL\n\0"  # a list of revoked keys that only ssh-keygen reads


class KeyRefused(Exception):
    """The server offered a key that is not to be trusted."""

    def __init__(self, hostname: str, key: Any) -> None:
        super().__init__(hostname)
        self.hostname = hostname
        self.key = key


class UnknownKey(KeyRefused):
    """No known_hosts file names it. by_authority: one vouches for the host by a certificate authority."""

    def __init__(self, hostname: str, key: Any, by_authority: bool = False, unreadable: str = "") -> None:
        super().__init__(hostname, key)
        self.by_authority, self.unreadable = by_authority, unreadable


class ChangedKey(KeyRefused):
    """Another one is pinned. expected: its fingerprint."""

    def __init__(self, hostname: str, key: Any, expected: str) -> None:
        super().__init__(hostname, key)
        self.expected = expected


class RevokedKey(KeyRefused):
    """where: the file, and the line, that revokes it; or why that cannot be known."""

    def __init__(self, hostname: str, key: Any, where: str) -> None:
        super().__init__(hostname, key)
        self.where = where


def fingerprint(key: Any) -> str:
    """As `ssh-keygen -l` shows it: SHA256:… without padding. Of paramiko's key, or of its bytes."""
    blob: bytes = key if isinstance(key, bytes) else key.asbytes()
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def known_hosts(named: Path | None, connection: Any) -> Sequence[Path]:
    """The files that pin this connection's key: hosts.yml's own, else ssh_config's, else the usual two."""
    files: Sequence[Path] = [named] if named else connection.settings.known_hosts
    return files


def known_hosts_name(connection: Any) -> str:
    """The server's name in known_hosts files."""
    alias: str = connection.settings.alias
    return alias or (connection.host if connection.port == 22 else f"[{connection.host}]:{connection.port}")


@dataclass(slots=True)
class Pinned:
    """What the files say of one server. keys: kind and key; loose: those under its name without the port."""

    name: str
    keys: list[tuple[str, bytes]] = field(default_factory=list)
    loose: list[tuple[str, bytes]] = field(default_factory=list)
    revoked: list[tuple[bytes, str]] = field(default_factory=list)
    by_authority: bool = False
    unreadable: str = ""
    revoked_file: Path | None = None

    def add(self, file: Path, entries: Iterable[Entry], keys: list[tuple[str, bytes]]) -> None:
        """Sorts the entries of a file in; those without a marker into `keys`."""
        for entry in entries:
            blob = entry.blob
            if entry.marker == AUTHORITY:
                self.by_authority = True
            elif blob is None:
                self.unreadable = self.unreadable or f"{file}:{entry.number}"
            elif entry.marker == REVOKED:
                self.revoked.append((blob, f"{file}:{entry.number}"))
            else:
                keys.append((entry.kind, blob))

    def check(self, key: Any) -> None:
        """KeyRefused unless the key is pinned, and not revoked."""
        self.refuse_revoked(key)
        blob = key.asbytes()
        if any(blob == known for _, known in self.keys or self.loose):
            return
        if self.keys:
            alike = [known for kind, known in self.keys if kind == key.get_name()]
            raise ChangedKey(self.name, key, fingerprint((alike or [self.keys[0][1]])[0]))
        raise UnknownKey(self.name, key, self.by_authority, self.unreadable)

    def refuse_revoked(self, key: Any) -> None:
        """RevokedKey for one that a file revokes."""
        blob = key.asbytes()
        for known, where in self.revoked:
            if blob == known:
                raise RevokedKey(self.name, key, f"revoked by {where}")
        if self.revoked_file and (why := _revoked_by(self.revoked_file, key)):
            raise RevokedKey(self.name, key, why)

    @property
    def algorithms(self) -> list[str]:
        """Those of the pinned keys: a server that has several keys is to offer one of these."""
        kinds = [kind for kind, _ in (*self.keys, *self.loose)]
        return [name for kind in kinds for name in (_RSA if kind == "ssh-rsa" else (kind,))]


def pinned(connection: Any, files: Iterable[Path]) -> Pinned:
    """What the files say of the connection's server."""
    found = Pinned(known_hosts_name(connection), revoked_file=connection.settings.revoked)
    for file in files:
        lines = read(file)
        found.add(file, lines.of(found.name), found.keys)
        if found.name.startswith("["):  # ssh takes the same key under the name without the port, too
            found.add(file, lines.of(connection.host), found.loose)
    return found


def pin(connection: Any, named: Path | None) -> None:
    """Makes the connection accept its server's keys in the files, and refuse any other with KeyRefused."""
    from paramiko import MissingHostKeyPolicy

    own = pinned(connection, known_hosts(named, connection))

    class Check(MissingHostKeyPolicy):
        def missing_host_key(self, client: SSHClient, hostname: str, key: PKey) -> None:  # noqa: ARG002
            own.check(key)

    connection.client.set_missing_host_key_policy(Check())  # the client has no keys of its own: it asks of each
    plain = connection.connect_kwargs["transport_factory"]

    def prefer_pinned(sock: Any, **settings: Any) -> Transport:
        transport: Transport = plain(sock, **settings)
        options = transport.get_security_options()
        options.key_types = sorted(options.key_types, key=lambda kind: kind not in own.algorithms)
        return transport

    connection.connect_kwargs["transport_factory"] = prefer_pinned


def _revoked_by(file: Path, key: Any) -> str:
    """Why the key is not to be trusted, by a file of RevokedHostKeys; "" where it is. ssh trusts none without the file."""
    try:
        content = file.read_bytes()
    except OSError as error:
        return f"RevokedHostKeys {file} cannot be read ({(error.strerror or str(error)).lower()}), so ssh trusts no key"
    if not content.startswith(_BINARY):
        words = [line.split() for line in content.decode("utf-8", "replace").splitlines()]
        return f"revoked by {file}" if any(key.get_base64() in line for line in words) else ""
    with tempfile.NamedTemporaryFile("w", suffix=".pub") as public:
        public.write(f"{key.get_name()} {key.get_base64()}\n")
        public.flush()
        done = subprocess.run(
            ["ssh-keygen", "-Q", "-f", str(file), public.name], capture_output=True, text=True, timeout=10, check=False
        )
    return "" if done.returncode == 0 else f"revoked by {file}"
