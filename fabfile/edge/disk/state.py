"""The operator's folder of a cluster: its id, the versions of its programs, the addresses that probes found.

`<folder of hosts.yml>/.nexus/<cluster>/` (or `$NEXUS_STATE/<cluster>/`), mode 0700, with a .gitignore of its own.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core.errors import NexusError
from ...core.state.topology import Address
from .atomic import write_atomically
from .paths import display_path


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file of any size, in hexadecimal."""
    sha256 = hashlib.sha256()
    with path.open("rb") as source:
        while chunk := source.read(1 << 20):
            sha256.update(chunk)
    return sha256.hexdigest()


class State:
    """Small JSON files, each written atomically. An absent file reads as an empty one."""

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

    def _read(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        try:
            found = json.loads(path.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise NexusError(f"{display_path(path)} cannot be read: {error}", "put it back from a backup") from error
        return found if isinstance(found, dict) else {}

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        if self._read(name) != value:
            write_atomically(self.ensure() / name, (json.dumps(value, indent=1) + "\n").encode())

    @property
    def cluster_id(self) -> str | None:
        """The cluster's id; None before the first deploy."""
        found = self._read("cluster.json").get("id")
        return str(found) if found else None

    def make_cluster_id(self, adopt: str | None = None) -> str:
        """Keeps and returns a new id, random so that two clusters of one name differ; or the one to adopt."""
        cluster_id = adopt or secrets.token_hex(8)
        self._write("cluster.json", {"id": cluster_id})
        return cluster_id

    def versions(self) -> dict[str, str]:
        """Program -> the version that this cluster got. A later deploy keeps it, whatever can be downloaded then."""
        return {k: str(v) for k, v in self._read("versions.json").items()}

    def keep_versions(self, versions: Mapping[str, str]) -> None:
        self._write("versions.json", dict(versions))

    def addresses(self) -> dict[str, Address]:
        """Host name -> the addresses that were last found for it."""
        return {name: Address(*pair) for name, pair in self._read("addresses.json").items()}

    def keep_addresses(self, addresses: Mapping[str, Address]) -> None:
        self._write("addresses.json", {name: [a.bind, a.advertise] for name, a in addresses.items()})

    def acl(self) -> str | None:
        """The digest of the ACL policies and tokens that the cluster was last synced to."""
        found = self._read("acl.json").get("digest")
        return str(found) if found else None

    def keep_acl(self, digest: str) -> None:
        self._write("acl.json", {"digest": digest})

    def verified(self) -> float | None:
        """When the last deploy was verified: seconds since the epoch, by the operator's clock."""
        at = self._read("verified.json").get("at")
        return None if at is None else float(at)

    def keep_verified(self, at: float) -> None:
        self._write("verified.json", {"at": at})
