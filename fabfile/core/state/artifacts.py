"""Which build of Consul or Caddy to take, from where, and what it must be. Pure; `edge.artifacts.resolve` fetches.

Sources, in order: the file that the operator names; the publisher's release (HashiCorp's zip, Caddy's
tarball); Debian's package through the operator's own apt mirror. What is fetched bears a sum pinned in
`pins.json`, which tells where each sum comes from. A release without one is taken only as a named file.

An explicitly asked version is that version or an error. Only where none is asked may Debian's older one
stand in for the default release, and that is said.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import ArtifactError
from ..model.cluster import Arch, Binary

Program = Literal["consul", "caddy"]
Release3 = tuple[int, int, int]

# e_machine and EI_CLASS (1: 32 bit, 2: 64 bit), from the ELF specification.
_MACHINES: dict[tuple[int, int], Arch] = {(62, 2): "amd64", (183, 2): "arm64", (40, 1): "armv7"}
_ET_EXEC, _ET_DYN = 2, 3  # position-independent executables are ET_DYN

# what `consul version` and `caddy version` print first: `Consul v1.22.7`, `v2.11.2 h1:…`, Debian's `2.6.2`
_ANSWERS = {"consul": r"Consul v?(\d+\.\d+\.\d+\S*)", "caddy": r"v?(\d+\.\d+\.\d+\S*)"}
_GO_MODULES = {"consul": rb"github\.com/hashicorp/consul", "caddy": rb"github\.com/caddyserver/caddy/v2"}


@dataclass(frozen=True, slots=True)
class Artifact:
    """A checked binary in the operator's cache. `packed` is its gzip copy, the bytes that are uploaded.

    version: major, minor, patch, to choose settings by; version_text: as published (`1.22.0-rc1`).
    sha256, size: of the plain binary (bytes), which is what a host's own sum is compared with.
    origin: one phrase for people, `Debian package 1.8.7 (HashiCorp's release 1.22.7 could not be reached)`.
    """

    program: Program
    version: Release3
    version_text: str
    arch: Arch
    sha256: str
    size: int
    packed: Path
    packed_sha256: str
    packed_size: int
    origin: str


@dataclass(frozen=True, slots=True)
class File:
    """A binary on the operator's disk. `version` None: to be read out of the file."""

    path: Path
    version: str | None

    @property
    def label(self) -> str:
        return f"file {self.path}"


@dataclass(frozen=True, slots=True)
class Release:
    """The publisher's archive and its pinned sum (`digest` names the algorithm)."""

    version: str
    publisher: str
    url: str
    digest: str
    pin: str

    @property
    def label(self) -> str:
        return f"{self.publisher}'s release {self.version}"


@dataclass(frozen=True, slots=True)
class Package:
    """A Debian package: path below a mirror's root, and its SHA-256."""

    version: str
    path: str
    pin: str

    @property
    def label(self) -> str:
        return f"Debian package {self.version}"


Source = File | Release | Package
Offer = Mapping[Arch, tuple[Source, ...]]


@dataclass(frozen=True, slots=True)
class Pins:
    """What is pinned for one program: sums by version and architecture. `url` has {version}, {arch}."""

    publisher: str
    default: str
    digest: str
    url: str
    arch_names: Mapping[str, str]
    releases: Mapping[str, Mapping[Arch, str]]
    debian: Mapping[Arch, Package]


def parse_pins(raw: Mapping[str, Any]) -> Pins:
    """Pins of one program from its part of pins.json."""
    debian = raw["debian"]
    packages = {a: Package(debian["version"], p["path"], p["sha256"]) for a, p in debian["packages"].items()}
    plain = {key: raw[key] for key in ("publisher", "default", "digest", "url", "arch_names", "releases")}
    return Pins(**plain, debian=packages)


def candidates(program: Program, wanted: Binary, arch: Arch, pins: Pins) -> tuple[Source, ...]:
    """Where to look for the binary, best first. `{arch}` in a named file's path stands for the architecture.

    ArtifactError: the asked version is not pinned for this architecture.
    """
    if wanted.file is not None:
        return (File(Path(str(wanted.file).replace("{arch}", arch)), wanted.version),)
    version = wanted.version or pins.default
    found: list[Source] = []
    if pin := pins.releases.get(version, {}).get(arch):
        url = pins.url.format(version=version, arch=pins.arch_names.get(arch, arch))
        found.append(Release(version, pins.publisher, url, pins.digest, pin))
    package = pins.debian.get(arch)
    if package and (wanted.version is None or package.version == version):
        found.append(package)
    if not found:
        raise _unpinned(program, version, arch, pins)
    return tuple(found)


def offers(program: Program, wanted: Binary, arches: Sequence[Arch], pins: Pins) -> tuple[Offer, ...]:
    """The same, for several architectures: one offer a version that all of them have, best first."""
    each = {arch: candidates(program, wanted, arch, pins) for arch in arches}
    versions = dict.fromkeys(source.version for sources in each.values() for source in sources)
    found = [
        {arch: tuple(s for s in sources if s.version == version) for arch, sources in each.items()}
        for version in versions
    ]
    return tuple(offer for offer in found if all(offer.values()))


def release_of(text: str) -> Release3:
    """(1, 22, 0) of `1.22.0-rc1`. ArtifactError: it is no such version."""
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", text)
    if match is None:
        raise ArtifactError(f"{text!r} is not a version like 1.22.7")
    return int(match[1]), int(match[2]), int(match[3])


def answered_version(program: Program, output: str) -> str:
    """The version in what `PROGRAM version` printed; empty when that was no answer of this program's."""
    match = re.match(_ANSWERS[program], output)
    return match[1] if match else ""


def embedded_version(program: Program, binary: bytes) -> str:
    """The version in Go's module list; empty for untagged builds (HashiCorp's and Debian's are)."""
    pattern = rb"(?:mod|dep)\t" + _GO_MODULES[program] + rb"\tv(\d+\.\d+\.\d+[!-~]*)[\t\n]"
    match = re.search(pattern, binary)
    return match[1].decode() if match else ""


def elf_fault(head: bytes, arch: Arch) -> str:
    """Why a file that starts with these bytes (20 suffice) is no program for `arch`; empty when it is one."""
    if head.startswith(b"PK\x03\x04"):
        return "it is a zip archive; unpack it and name the program inside"
    if len(head) < 20 or not head.startswith(b"\x7fELF") or head[5] != 1:  # all three are little-endian
        return "it is not a Linux (ELF) program"
    kind, machine = struct.unpack_from("<HH", head, 16)
    built_for = _MACHINES.get((machine, head[4]), f"another machine (ELF machine {machine})")
    if kind not in (_ET_EXEC, _ET_DYN):
        return "it is an ELF file, but not a program"
    return "" if built_for == arch else f"it is built for {built_for}"


def _unpinned(program: Program, version: str, arch: Arch, pins: Pins) -> ArtifactError:
    known = {v for v, sums in pins.releases.items() if arch in sums}
    known |= {package.version for a, package in pins.debian.items() if a == arch}
    goal = release_of(version)

    def distance(other: str) -> Release3:
        major, minor, patch = (abs(a - b) for a, b in zip(release_of(other), goal, strict=True))
        return major, minor, patch

    nearest = sorted(sorted(known, key=distance)[:3], key=release_of)
    return ArtifactError(
        f"{program} {version} for {arch} has no pinned sum here; the nearest with one: {', '.join(nearest)}",
        f"ask for one of these, or name a file of your own: `{program}: {{binary: FILE}}` in hosts.yml",
    )
