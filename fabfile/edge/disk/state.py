"""The operator's folder of a cluster: its id, the versions of its programs, the addresses that probes found.

`<folder of hosts.yml>/.nexus/<cluster>/` (or `$NEXUS_STATE/<cluster>/`), mode 0700, with a .gitignore of its own.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from ...core.config.fault import shown
from ...core.config.json_text import JsonFault, parse_object
from ...core.errors import NexusError
from ...core.state.topology import Address
from .atomic import write_atomically
from .lock import locked
from .paths import display_path

_BACKUP = "put it back from a backup, or: inv secrets.import FILE"
_AGAIN = "delete it: it is made again"
WAYS_OUT: Mapping[str, str] = {
    "cluster.json": f"{_BACKUP}; with neither, but with secrets.json: delete it, then inv deploy --adopt",
    "versions.json": f'{_BACKUP}; or write the versions that run: {{"consul": "1.22.7", "caddy": "2.11.0"}}',
    "addresses.json": _AGAIN, "acl.json": _AGAIN, "verified.json": _AGAIN,
}  # fmt: skip


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file of any size, in hexadecimal."""
    sha256 = hashlib.sha256()
    with path.open("rb") as source:
        while chunk := source.read(1 << 20):
            sha256.update(chunk)
    return sha256.hexdigest()


class State:
    """Small JSON files, each written atomically. An absent file reads as an empty one; any other is read or refused.

    Fields of a newer version are left in their files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ensure(self) -> Path:
        """Makes the folder, readable by its owner only, and the .gitignore above it, where they are missing."""
        if not self.folder.is_dir():
            self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
        ignore = self.folder.parent / ".gitignore"
        if not ignore.exists():
            write_atomically(ignore, b"*\n")
        return self.folder

    def locked(self) -> AbstractContextManager[None]:
        """The lock of all that is in the folder, for as long as a read and the write that follows it take."""
        return locked(self.ensure() / ".lock")

    def read(self, name: str) -> dict[str, Any]:
        """The file's object; an empty one when there is no file. NexusError when it holds anything else."""
        path = self.folder / name
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise NexusError(f"{display_path(path)} cannot be read: {error.strerror}", WAYS_OUT[name]) from error
        return self.parse(name, content)

    def parse(self, name: str, content: bytes) -> dict[str, Any]:
        """The object in the content of one of the files. NexusError when it is not what belongs there."""
        try:
            found = parse_object(content)
            for key, value in found.items():
                if fault := _FAULTS[name](key, value):
                    raise JsonFault(f"{shown(key)} {fault}")
            if (due := _DUE.get(name)) and due not in found:
                raise JsonFault(f"{due} is missing")
        except JsonFault as fault:
            raise NexusError(f"{display_path(self.folder / name)} cannot be read: {fault}", WAYS_OUT[name]) from None
        return found

    def _merge(self, name: str, value: Mapping[str, Any]) -> None:
        if {**self.read(name), **value} != self.read(name):
            with self.locked():
                self._write(name, {**self.read(name), **value})

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        write_atomically(self.folder / name, (json.dumps(value, indent=1) + "\n").encode())

    @property
    def cluster_id(self) -> str | None:
        """The cluster's id; None before the first deploy."""
        return self.read("cluster.json").get("id")

    def make_cluster_id(self, adopt: str | None = None) -> str:
        """Keeps and returns the id to adopt; else the one that is there, which a run beside this one may just have made;
        else a new one, random so that two clusters of one name differ."""
        with self.locked():
            found = self.read("cluster.json")
            cluster_id = str(adopt or found.get("id") or secrets.token_hex(8))
            if found.get("id") != cluster_id:
                self._write("cluster.json", {**found, "id": cluster_id})
        return cluster_id

    def versions(self) -> dict[str, str]:
        """Program -> the version that this cluster got. A later deploy keeps it, whatever can be downloaded then."""
        return self.read("versions.json")

    def keep_versions(self, versions: Mapping[str, str]) -> None:
        self._merge("versions.json", versions)

    def addresses(self) -> dict[str, Address]:
        """Host name -> the addresses that were last found for it, also of hosts that hosts.yml does not name just now."""
        return {name: Address(*pair) for name, pair in self.read("addresses.json").items()}

    def keep_addresses(self, addresses: Mapping[str, Address]) -> None:
        self._merge("addresses.json", {name: [a.bind, a.advertise] for name, a in addresses.items()})

    def acl(self) -> str | None:
        """The digest of the ACL policies and tokens that the cluster was last synced to."""
        return self.read("acl.json").get("digest")

    def keep_acl(self, digest: str) -> None:
        self._merge("acl.json", {"digest": digest})

    def verified(self) -> float | None:
        """When the last deploy was verified: seconds since the epoch, by the operator's clock."""
        return self.read("verified.json").get("at")

    def keep_verified(self, at: float) -> None:
        self._merge("verified.json", {"at": at})


def _no_text(value: object) -> str:
    good = isinstance(value, str) and value.isascii() and value.isprintable() and value
    return "" if good else "is no text"


def _no_version(_: str, value: object) -> str:
    good = isinstance(value, str) and re.fullmatch(r"v?\d+\.\d+\.\d+[\w.+~:-]*", value, re.ASCII)
    return "" if good else "is no version like 1.22.7"


def _no_addresses(_: str, value: object) -> str:
    try:
        good = isinstance(value, list) and len(value) == 2 and all(isinstance(v, str) and ip_address(v) for v in value)
    except ValueError:
        good = False
    return "" if good else "is no pair of IP addresses"


def _no_time(value: object) -> str:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e12  # not for ever, either
    return "" if good else "is no time in seconds"


# What is wrong with a field, by file: words that follow its name. A field that we do not know is nobody's fault.
_FAULTS: Mapping[str, Callable[[str, Any], str]] = {
    "cluster.json": lambda key, value: _no_text(value) if key == "id" else "",
    "versions.json": _no_version,
    "addresses.json": _no_addresses,
    "acl.json": lambda key, value: _no_text(value) if key == "digest" else "",
    "verified.json": lambda key, value: _no_time(value) if key == "at" else "",
}
_DUE: Mapping[str, str] = {"cluster.json": "id"}  # file -> the field without which it is not whole
