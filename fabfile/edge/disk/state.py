"""The operator's own folder of a cluster: its id, the versions it was given, addresses that a probe has seen.

`<folder of hosts.yml>/.nexus/<cluster>/` (or `$NEXUS_STATE/<cluster>/`), 0700, ignored by git on its own account.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core.errors import NexusError
from ...core.state.topology import Address
from .paths import near


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """The file is old or new, never half, and never readable by others for a moment. OSError names the file itself."""
    try:
        _swap_in(path, content, mode)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _swap_in(path: Path, content: bytes, mode: int) -> None:
    handle, temp = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        if mode != 0o600:
            os.chmod(temp, mode)
        os.replace(temp, path)
    except BaseException:
        Path(temp).unlink(missing_ok=True)
        raise


def digest(path: Path) -> str:
    """The SHA-256 of a file of any size, in hexadecimal."""
    seen = hashlib.sha256()
    with path.open("rb") as source:
        while chunk := source.read(1 << 20):
            seen.update(chunk)
    return seen.hexdigest()


class State:
    """Small JSON files, each written atomically. Reading one that is absent gives what an empty one would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ensure(self) -> Path:
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
            raise NexusError(f"{near(path)} cannot be read: {error}", "put it back from a backup") from error
        return found if isinstance(found, dict) else {}

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        if self._read(name) != value:
            write_atomically(self.ensure() / name, (json.dumps(value, indent=1) + "\n").encode())

    @property
    def cluster_id(self) -> str | None:
        found = self._read("cluster.json").get("id")
        return str(found) if found else None

    def make_cluster_id(self, adopt: str | None = None) -> str:
        """A new id, random so that two clusters of one name differ; or the one to adopt."""
        made = adopt or secrets.token_hex(8)
        self._write("cluster.json", {"id": made})
        return made

    def versions(self) -> dict[str, str]:
        """program -> version that this cluster was given: no network moves it to another one."""
        return {k: str(v) for k, v in self._read("versions.json").items()}

    def keep_versions(self, versions: Mapping[str, str]) -> None:
        self._write("versions.json", dict(versions))

    def addresses(self) -> dict[str, Address]:
        return {name: Address(*pair) for name, pair in self._read("addresses.json").items()}

    def keep_addresses(self, known: Mapping[str, Address]) -> None:
        self._write("addresses.json", {name: [a.bind, a.advertise] for name, a in known.items()})

    def acl(self) -> str | None:
        """The digest of the ACL policies and tokens that the cluster was last brought to."""
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
