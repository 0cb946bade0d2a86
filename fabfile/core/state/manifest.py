"""The state of a host as a value: accounts, folders, files, units. Wanted and kept states have the same type. Pure.

On the host a manifest is a TAB-separated text file (see remote_agents/apply/). `read_manifest` is the inverse of
`Manifest.text`, so a rollback can want a generation that is kept on the host.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

STORE = "/var/lib/nexus/store/"  # on the host: the bytes of each placed file, named by their sum


@dataclass(frozen=True, slots=True)
class File:
    """A regular file at its final path.

    sha256: of its plain bytes; mode: four octal digits
    content: its bytes; packed: instead, for a binary, the path of its gzip on the operator's disk. Neither is set for
    a file of a kept generation whose bytes only the host has.
    note: for people, a version or an origin
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
        """Whether its content must never be shown: secrets are in files or folders with `secret` in their name."""
        return "secret" in self.path

    @property
    def check(self) -> str | None:
        """The check that the file must pass before it is placed: consul, caddy, nft or unit (systemd-analyze)."""
        if self.path == "/etc/caddy/Caddyfile":
            return "caddy"
        if self.path.startswith("/etc/consul.d/") and self.path.endswith(".hcl"):
            return "consul"
        if self.path == "/etc/nexus/firewall.nft":
            return "nft"
        is_unit = self.path.startswith("/etc/systemd/system/") and self.path.endswith(".service")
        return "unit" if is_unit else None


def text_file(path: str, text: str, mode: str = "0644", owner: str = "root", group: str = "root") -> File:
    """A file with this text in UTF-8."""
    content = text.encode()
    return File(path, hashlib.sha256(content).hexdigest(), mode, owner, group, content)


@dataclass(frozen=True, slots=True)
class Unit:
    """A systemd unit that must run and start at boot.

    The stamps are hashes of all that the unit reads; - where there is nothing. A changed restart stamp means a restart,
    a changed reload stamp a reload. The host records them only after the verb has worked, so the next plan notices an
    interrupted deploy.
    """

    name: str
    restart_stamp: str = "-"
    reload_stamp: str = "-"

    @property
    def stamp(self) -> str:
        """Both stamps, as the host records them."""
        return f"{self.restart_stamp} {self.reload_stamp}"


@dataclass(frozen=True, slots=True)
class Account:
    """A system user with a group of the same name, without shell and password. home: its home folder."""

    name: str
    home: str


@dataclass(frozen=True, slots=True)
class Folder:
    path: str
    mode: str
    owner: str
    group: str


@dataclass(frozen=True)  # without slots, so that `id` can be cached: each `HostPlan.empty` reads it
class Manifest:
    """One generation of a host. Units are started in their order here."""

    accounts: tuple[Account, ...] = ()
    folders: tuple[Folder, ...] = ()
    files: tuple[File, ...] = ()
    units: tuple[Unit, ...] = ()

    def text(self) -> str:
        """TAB-separated lines, as the host keeps them."""
        rows: list[tuple[str, ...]] = [("user", a.name, a.home) for a in self.accounts]
        rows += [("dir", d.path, d.mode, d.owner, d.group) for d in self.folders]
        rows += [("file", f.path, f.mode, f.owner, f.group, f.sha256) for f in self.files]
        rows += [("unit", u.name, "enabled", "active", u.restart_stamp, u.reload_stamp) for u in self.units]
        return "".join("\t".join(row) + "\n" for row in rows)

    @cached_property
    def id(self) -> str:
        """The generation's name on the host, 12 hex digits; equal for equal manifests."""
        return hashlib.sha256(self.text().encode()).hexdigest()[:12]


def stamp(parts: Iterable[str]) -> str:
    """A hash of all parts, 12 hex digits. Their order does not matter."""
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:12]


def read_manifest(lines: Iterable[str], contents: Mapping[str, bytes]) -> Manifest:
    """From the lines of `Manifest.text`. `contents`: bytes of small files, by their path in the host's store.

    Unknown kinds of lines are skipped: a newer version of this toolkit may have written them.
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
