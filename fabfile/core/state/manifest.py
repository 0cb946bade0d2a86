"""What a host should be, as a value: files, units, accounts, folders. Desired and kept state share this shape.

On the host a manifest is a TAB-separated text file (see remote_agents/apply.sh); `read_manifest` and
`Manifest.text` are each other's inverse, so a generation kept on the host can be wanted again by a rollback.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

STORE = "/var/lib/nexus/store/"


@dataclass(frozen=True, slots=True)
class File:
    """A file in its final place. Its bytes are `content`, or `packed` (gzip, on the operator's disk) for a binary.

    Neither is set for a kept file whose bytes only the host has. `note` is a word for people (a version).
    """

    path: str
    sha256: str
    mode: str = "0644"
    owner: str = "root"
    group: str = "root"
    content: bytes | None = field(default=None, repr=False)
    packed: Path | None = None
    note: str = ""

    @property
    def secret(self) -> bool:
        """Secrets live in files or folders whose name says so; their content is never shown."""
        return "secret" in self.path

    @property
    def check(self) -> str | None:
        """The program that must accept the file before it is placed: consul, caddy, nft or unit."""
        if self.path == "/etc/caddy/Caddyfile":
            return "caddy"
        if self.path.startswith("/etc/consul.d/") and self.path.endswith(".hcl"):
            return "consul"
        if self.path == "/etc/nexus/firewall.nft":
            return "nft"
        return "unit" if self.path.startswith("/etc/systemd/system/") else None


def text_file(path: str, text: str, mode: str = "0644", owner: str = "root", group: str = "root") -> File:
    """A rendered file; its sum follows from its bytes."""
    content = text.encode()
    return File(path, hashlib.sha256(content).hexdigest(), mode, owner, group, content)


@dataclass(frozen=True, slots=True)
class Unit:
    """A systemd unit that must run (`active`) and start at boot.

    The stamps sum up everything the unit reads: a changed restart stamp means restart, a changed reload stamp
    reload. They are kept on the host only once the verb has worked, so an interrupted deploy is seen.
    """

    name: str
    restart_stamp: str = "-"
    reload_stamp: str = "-"

    @property
    def stamp(self) -> str:
        return f"{self.restart_stamp} {self.reload_stamp}"


@dataclass(frozen=True, slots=True)
class Account:
    """A system user with a group of its own name, no shell and no password."""

    name: str
    home: str


@dataclass(frozen=True, slots=True)
class Folder:
    path: str
    mode: str
    owner: str
    group: str


@dataclass(frozen=True)  # without slots, so that its id is made once: every look at a plan asks for it
class Manifest:
    """One generation of a host; the order of units is the order in which they are started."""

    accounts: tuple[Account, ...] = ()
    folders: tuple[Folder, ...] = ()
    files: tuple[File, ...] = ()
    units: tuple[Unit, ...] = ()

    def text(self) -> str:
        rows: list[tuple[str, ...]] = [("user", a.name, a.home) for a in self.accounts]
        rows += [("dir", d.path, d.mode, d.owner, d.group) for d in self.folders]
        rows += [("file", f.path, f.mode, f.owner, f.group, f.sha256) for f in self.files]
        rows += [("unit", u.name, "enabled", "active", u.restart_stamp, u.reload_stamp) for u in self.units]
        return "".join("\t".join(row) + "\n" for row in rows)

    @cached_property
    def id(self) -> str:
        """Equal intent, equal id: the generation's name on the host."""
        return hashlib.sha256(self.text().encode()).hexdigest()[:12]


def stamp(parts: Iterable[str]) -> str:
    """One word for a set of sums: changes when any of them does, whatever their order."""
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:12]


def read_manifest(lines: Iterable[str], contents: Mapping[str, bytes]) -> Manifest:
    """A kept manifest; `contents` may hold its small files by their path in the host's store.

    Unknown kinds are passed over: a newer toolkit may have written them.
    """
    accounts, folders, files, units = [], [], [], []
    for line in lines:
        match line.rstrip("\n").split("\t"):
            case ["user", name, home]:
                accounts.append(Account(name, home))
            case ["dir", path, mode, owner, group]:
                folders.append(Folder(path, mode, owner, group))
            case ["file", path, mode, owner, group, sha]:
                files.append(File(path, sha, mode, owner, group, contents.get(STORE + sha)))
            case ["unit", name, _, _, restart, reload]:
                units.append(Unit(name, restart, reload))
    return Manifest(tuple(accounts), tuple(folders), tuple(files), tuple(units))
