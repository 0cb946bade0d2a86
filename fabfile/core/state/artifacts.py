"""Which build of Consul or Caddy to take, and from where. Pure; `edge.artifacts.resolve` fetches it.

Sources, in order of preference: the file that the operator names; the publisher's release (HashiCorp's zip, Caddy's
tarball); Debian's package through the operator's own apt mirror. Everything fetched must match a sum pinned in
`pins.json`, which also says where each sum comes from. A release without a pinned sum is accepted only as a named file.

A version that the operator asks for is that version or an error. Only where none is asked for may Debian's older
package replace the default release, and the operator is told so.
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
VersionNumbers = tuple[int, int, int]

# e_machine and EI_CLASS (1: 32 bit, 2: 64 bit), from the ELF specification.
_MACHINES: dict[tuple[int, int], Arch] = {(62, 2): "amd64", (183, 2): "arm64", (40, 1): "armv7"}
_ET_EXEC, _ET_DYN = 2, 3  # position-independent executables are ET_DYN

# How the output of `consul version` and `caddy version` begins: `Consul v1.22.7`, `v2.11.2 h1:…`, Debian's `2.6.2`.
_VERSION_OUTPUTS = {"consul": r"Consul v?(\d+\.\d+\.\d+\S*)", "caddy": r"v?(\d+\.\d+\.\d+\S*)"}
_GO_MODULES = {"consul": rb"github\.com/hashicorp/consul", "caddy": rb"github\.com/caddyserver/caddy/v2"}


@dataclass(frozen=True, slots=True)
class Artifact:
    """A checked binary in the operator's cache. Sizes are in bytes.

    version: major, minor, patch, to choose settings by; version_text: as published (`1.22.0-rc1`)
    sha256, size: of the plain binary; a host's own sum is compared with this one
    packed, packed_sha256, packed_size: its gzip copy, which is uploaded
    origin: one phrase for people, `Debian package 1.8.7 (HashiCorp's release 1.22.7 could not be reached)`
    """

    program: Program
    version: VersionNumbers
    version_text: str
    arch: Arch
    sha256: str
    size: int
    packed: Path
    packed_sha256: str
    packed_size: int
    origin: str


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A binary on the operator's disk. version: None where it is to be read from the file."""

    path: Path
    version: str | None

    @property
    def label(self) -> str:
        return f"file {self.path}"


@dataclass(frozen=True, slots=True)
class Release:
    """The publisher's archive. pin: its pinned sum; digest: the sum's algorithm."""

    version: str
    publisher: str
    url: str
    digest: str
    pin: str

    @property
    def label(self) -> str:
        return f"{self.publisher}'s release {self.version}"


@dataclass(frozen=True, slots=True)
class DebianPackage:
    """A Debian package. path: below a mirror's root; pin: its SHA-256."""

    version: str
    path: str
    pin: str

    @property
    def label(self) -> str:
        return f"Debian package {self.version}"


Source = LocalFile | Release | DebianPackage
SourcesByArch = Mapping[Arch, tuple[Source, ...]]


@dataclass(frozen=True, slots=True)
class Pins:
    """What is pinned for one program.

    default: the version to take where none is asked for; url: has {version} and {arch}; arch_names: the publisher's
    digest: algorithm of the sums in `releases` (version -> architecture -> sum)
    """

    publisher: str
    default: str
    digest: str
    url: str
    arch_names: Mapping[str, str]
    releases: Mapping[str, Mapping[Arch, str]]
    debian: Mapping[Arch, DebianPackage]


def parse_pins(raw: Mapping[str, Any]) -> Pins:
    """Pins of one program from its part of pins.json."""
    debian = raw["debian"]
    packages = {a: DebianPackage(debian["version"], p["path"], p["sha256"]) for a, p in debian["packages"].items()}
    plain = {key: raw[key] for key in ("publisher", "default", "digest", "url", "arch_names", "releases")}
    return Pins(**plain, debian=packages)


def candidates(program: Program, wanted: Binary, arch: Arch, pins: Pins) -> tuple[Source, ...]:
    """The sources of one binary, best first. `{arch}` in a named file's path stands for the architecture.

    ArtifactError: the version is not pinned for this architecture.
    """
    if wanted.file is not None:
        return (LocalFile(Path(str(wanted.file).replace("{arch}", arch)), wanted.version),)
    version = wanted.version or pins.default
    sources: list[Source] = []
    if pin := pins.releases.get(version, {}).get(arch):
        url = pins.url.format(version=version, arch=pins.arch_names.get(arch, arch))
        sources.append(Release(version, pins.publisher, url, pins.digest, pin))
    package = pins.debian.get(arch)
    if package and (wanted.version is None or package.version == version):
        sources.append(package)
    if not sources:
        raise _unpinned(program, version, arch, pins)
    return tuple(sources)


def common_candidates(
    program: Program, wanted: Binary, arches: Sequence[Arch], pins: Pins
) -> tuple[SourcesByArch, ...]:
    """`candidates` for several architectures: one mapping for each version that all of them have, best first."""
    by_arch = {arch: candidates(program, wanted, arch, pins) for arch in arches}
    versions = dict.fromkeys(source.version for sources in by_arch.values() for source in sources)
    by_version = [
        {arch: tuple(s for s in sources if s.version == version) for arch, sources in by_arch.items()}
        for version in versions
    ]
    return tuple(sources for sources in by_version if all(sources.values()))


def version_numbers(text: str) -> VersionNumbers:
    """(1, 22, 0) of `1.22.0-rc1`. ArtifactError: the text does not begin with three numbers."""
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", text)
    if match is None:
        raise ArtifactError(f"{text!r} is not a version like 1.22.7")
    return int(match[1]), int(match[2]), int(match[3])


def printed_version(program: Program, output: str) -> str:
    """The version in the output of `PROGRAM version`; empty when another program printed it."""
    match = re.match(_VERSION_OUTPUTS[program], output)
    return match[1] if match else ""


def embedded_version(program: Program, binary: bytes) -> str:
    """The version in Go's module list; empty for untagged builds, as HashiCorp's and Debian's are."""
    pattern = rb"(?:mod|dep)\t" + _GO_MODULES[program] + rb"\tv(\d+\.\d+\.\d+[!-~]*)[\t\n]"
    match = re.search(pattern, binary)
    return match[1].decode() if match else ""


def elf_fault(head: bytes, arch: Arch) -> str:
    """Why a file that starts with these bytes is no program for `arch`; empty when it is one. 20 bytes are enough."""
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
    pinned = {v for v, sums in pins.releases.items() if arch in sums}
    pinned |= {package.version for a, package in pins.debian.items() if a == arch}
    asked = version_numbers(version)

    def distance(other: str) -> VersionNumbers:
        major, minor, patch = (abs(a - b) for a, b in zip(version_numbers(other), asked, strict=True))
        return major, minor, patch

    nearest = sorted(sorted(pinned, key=distance)[:3], key=version_numbers)
    return ArtifactError(
        f"{program} {version} for {arch} has no pinned sum here; the nearest with one: {', '.join(nearest)}",
        f"ask for one of these, or name a file of your own: `{program}: {{binary: FILE}}` in hosts.yml",
    )
