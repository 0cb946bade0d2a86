"""What the probe saw on one host, as a value. `parse` is the other half of remote_agents/probe.sh."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import HostError
from ..model.cluster import Arch
from .manifest import Manifest, read_manifest

_ARCHES: Mapping[str, Arch] = {
    "x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64",
    "armv7l": "armv7", "armv8l": "armv7",
}  # fmt: skip
# Bridges and tunnels that container engines and VPNs make: never the address other hosts should use by default.
_INNER_DEVICE = re.compile(r"^(docker|br-|veth|virbr|cni|flannel|cali|lxc|lxd|podman|wg|tun|tap|dummy)")


_ADDRESS = re.compile(r"\d+: (\S+) +inet ([0-9.]+)")  # a line of `ip -o addr`
_UNIT = re.compile(r"(\S+\.service) +(\S+) +(\S+) +(\S+)")  # a line of `systemctl list-units --plain`


@dataclass(frozen=True, slots=True)
class FileFact:
    """A file in one of our places. `content` is there for files up to 64 KiB."""

    sha256: str
    mode: str
    owner: str
    group: str
    size: int
    content: bytes | None = field(default=None, repr=False)  # may hold secrets


@dataclass(frozen=True, slots=True)
class UnitFact:
    """systemd's word on a unit that has a file. enabled: a boot would start it."""

    load: str
    active: str
    sub: str
    enabled: bool

    @property
    def running(self) -> bool:
        """As `systemctl is-active` has it: what is told to read its files again runs on meanwhile."""
        return self.active in ("active", "reloading", "refreshing")

    @property
    def state(self) -> str:
        """active, or why it is not: activating, failed, …; absent."""
        return "absent" if self.load == "not-found" else "active" if self.running else self.active


@dataclass(frozen=True, slots=True)
class LockFact:
    """The cluster's lock as one manager has it. Times are seconds since the epoch by that host's clock."""

    id: str
    who: str
    what: str
    origin: str
    since: int
    expires: int


@dataclass(frozen=True, slots=True)
class Facts:
    """One host. Clock times are seconds since the epoch, sizes as named.

    ssh_client, ssh_port: whence and to which port the operator's connection came, as the host sees it
    ufw: whether ufw is in charge of the host's firewall; docker: whether there is a container engine
    """

    machine: str
    bits: int
    os_id: str
    os_version: str
    os_name: str
    cpus: int
    memory_kb: int
    disk_kb: int
    python: tuple[int, ...]
    systemd: int
    now: float
    boot: str
    addresses: tuple[tuple[str, str], ...]
    default_device: str | None
    ssh_client: str | None
    ssh_port: int | None
    ufw: bool
    users: frozenset[str]
    files: Mapping[str, FileFact]
    odd: frozenset[str]
    units: Mapping[str, UnitFact]
    stamps: Mapping[str, str]
    store: frozenset[str]
    current: str | None
    manifest: Manifest
    previous: Manifest | None
    pending: str | None
    lock: LockFact | None
    docker: bool = False

    @property
    def arch(self) -> Arch | None:
        """None for a machine we have no binaries for. A 32-bit userland on a 64-bit ARM kernel is armv7."""
        arch = _ARCHES.get(self.machine)
        if self.bits == 32:
            return None if arch == "amd64" else "armv7" if arch else None
        return arch

    def address(self) -> str | None:
        """The host's own IPv4 address that other hosts most likely reach: the default route's interface first."""
        outer = [(dev, ip) for dev, ip in self.addresses if not _INNER_DEVICE.match(dev)]
        on_route = [ip for dev, ip in outer if dev == self.default_device]
        return next(iter(on_route + [ip for _, ip in outer]), None)


def parse(host: str, output: bytes) -> Facts:
    """Facts from the probe's standard output. HostError when it is not what the probe prints."""
    text, marker, archive = output.partition(b"\ncontents\n")
    lines = text.decode("utf-8", "replace").splitlines()
    if not marker or not lines or lines[0] != "nexus-probe 1":
        raise HostError(host, "the probe's answer is incomplete", "is the login shell printing something of its own?")
    try:
        return _facts(lines, _contents(archive))
    except (ValueError, KeyError, IndexError, tarfile.TarError) as error:
        raise HostError(host, f"the probe's answer cannot be read ({error})") from error


def _facts(lines: list[str], contents: Mapping[str, bytes]) -> Facts:
    one = dict(line.partition(" ")[::2] for line in lines)
    files = _files(lines, contents)
    return Facts(
        machine=one["machine"], bits=int(one["bits"]),
        os_id=one.get("os.ID", "unknown"), os_version=one.get("os.VERSION_ID", ""),
        os_name=one.get("os.PRETTY_NAME", "unknown"),
        cpus=int(one["cpus"]), memory_kb=int(one["memory_kb"]), disk_kb=_disk_kb(one.get("disk", "0 0")),
        python=tuple(int(n) for n in re.findall(r"\d+", one.get("python", ""))[:3]),
        systemd=int(re.sub(r"\D.*", "", one.get("systemd", "")) or 0),
        now=float(one["now"]), boot=one.get("boot", ""),
        addresses=tuple((found[1], found[2]) for line in lines if (found := _ADDRESS.match(line))),
        default_device=_default_device(lines),
        ssh_client=one["ssh"].split()[0] if "ssh" in one else None,
        ssh_port=int(one["ssh"].split()[1]) if "ssh" in one else None,
        ufw="ufw" in one,
        users=frozenset(one.get("users", "").split()),
        files=files, odd=frozenset(w[0] for w in _every("odd", lines)),
        units=dict(_units(lines)),
        stamps={w[0]: " ".join(w[1:]) for w in _every("stamp", lines)},
        store=frozenset(one.get("store", "").split()),
        current=_generation(one.get("current")), manifest=_kept("current-manifest ", lines),
        previous=_kept("previous-manifest ", lines, contents) if "previous-manifest" in one else None,
        pending=_generation(one.get("pending")), lock=_lock(lines), docker="docker" in one,
    )  # fmt: skip


def _disk_kb(text: str) -> int:
    """From `stat -f`: free blocks and the size of one."""
    blocks, size = map(int, text.split())
    return blocks * size // 1024


def _generation(link: str | None) -> str | None:
    """What a link such as `generations/ID` leads to."""
    return link.rpartition("/")[2] if link else None


def _every(key: str, lines: Iterable[str]) -> Iterator[list[str]]:
    return (line.split()[1:] for line in lines if line.startswith(key + " "))


def _default_device(lines: Iterable[str]) -> str | None:
    for words in _every("route", lines):
        if "dev" in words:
            return words[words.index("dev") + 1]
    return None


def _kept(prefix: str, lines: Iterable[str], contents: Mapping[str, bytes] | None = None) -> Manifest:
    return read_manifest((line[len(prefix) :] for line in lines if line.startswith(prefix)), contents or {})


def _files(lines: list[str], contents: Mapping[str, bytes]) -> dict[str, FileFact]:
    fresh = {w[0]: w[1] for w in _every("sum", lines)}
    return {
        path: FileFact(fresh.get(path, known), mode.rjust(4, "0"), owner, group, int(size), contents.get(path))
        for path, mode, owner, group, size, known in _every("file", lines)
    }


def _units(lines: Sequence[str]) -> Iterator[tuple[str, UnitFact]]:
    """systemd lists only what it has loaded; a unit that merely has a file is at rest."""
    listed = {found[1]: (found[2], found[3], found[4]) for line in lines if (found := _UNIT.match(line))}
    for name, word in _every("unit", lines):
        yield name, UnitFact(*listed.get(name, ("loaded", "inactive", "dead")), enabled=word == "enabled")


def _lock(lines: Iterable[str]) -> LockFact | None:
    held = {w[0]: " ".join(w[1:]) for w in _every("lock", lines)}
    return lock_fact(held) if held else None


def lock_fact(held: Mapping[str, str]) -> LockFact:
    """From the `key value` pairs of a lock file."""
    return LockFact(
        held.get("id", "?"), held.get("who", "?"), held.get("what", "?"), held.get("origin", ""),
        int(held.get("since") or 0), int(held.get("expires") or 0),
    )  # fmt: skip


def _contents(archive: bytes) -> dict[str, bytes]:
    if not archive:
        return {}
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            reader = tar.extractfile(member)
            if reader is not None:
                found["/" + member.name.lstrip("/")] = reader.read()
    return found
