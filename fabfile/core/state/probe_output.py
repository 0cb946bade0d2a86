"""Reads what remote_agents/probe.sh prints into `Facts`. Pure.

The output is lines of `KEY VALUE...`, among them lines of `ip` and `systemctl` as these programs print them, then the
line `contents` and a tar archive with the small files.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..config.fault import shown
from ..errors import HostError
from .facts import Docker, Facts, FileFact, LockFact, RulesFact, UnitFact
from .left_faults import read_left_faults
from .manifest import Manifest, read_manifest
from .other_firewalls import FIREWALLD, other_firewalls
from .tar_reader import read_files

_ADDRESS = re.compile(r"\d+: (\S+) +inet ([0-9.]+)")  # a line of `ip -o addr`
_LATEST = 253_000_000_000  # unix s, in the year 9987: later ones have no date
_UNIT = re.compile(r"(\S+\.service) +(\S+) +(\S+) +(\S+)")  # a line of `systemctl list-units --plain`

_DOCKER: Mapping[str, Docker] = {"none": "none", "clientless": "clientless", "ready": "ready"}


def parse(host: str, output: bytes) -> Facts:
    """Facts from the probe's standard output. HostError when the output is cut, or not the probe's."""
    text, marker, archive = output.partition(b"\ncontents\n")
    lines = text.decode("utf-8", "replace").splitlines()
    if not marker or not lines or lines[0] != "nexus-probe 1":
        raise HostError(host, "the probe's answer is incomplete", "is the login shell printing something of its own?")
    try:
        return _facts(lines, read_files(archive))
    except KeyError as error:
        raise HostError(host, f"the probe's answer cannot be read (it lacks {error})") from error
    except (ValueError, IndexError) as error:
        raise HostError(host, f"the probe's answer cannot be read ({error})") from error


def parse_lock(fields: Mapping[str, str]) -> LockFact:
    """From the `key value` pairs of a lock file. ValueError: a time that is no number.

    A time that no calendar has counts as the last one: such a lock is held, and `inv unlock` can take it away.
    """
    return LockFact(
        fields.get("id", "?"), fields.get("who", "?"), fields.get("what", "?"), fields.get("origin", ""),
        _lock_time(fields.get("since", "")), _lock_time(fields.get("expires", "")),
    )  # fmt: skip


def _lock_time(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]*", text):
        raise ValueError(f"{shown(text)} is no time of a lock")
    return _LATEST if len(text) > 18 else min(max(int(text or 0), 0), _LATEST)


def _number(text: str) -> int:
    """A count, as a program prints it. More than 18 digits are none of a real machine."""
    if not re.fullmatch(r" *[0-9]{1,18} *", text):
        raise ValueError(f"{shown(text)} is no count")
    return int(text)


def _time(text: str) -> float:
    """Unix seconds. ValueError: no time that a calendar has."""
    found = float(text)
    if not (math.isfinite(found) and 0 <= found < _LATEST):
        raise ValueError(f"{shown(text)} is no time")
    return found


def _facts(lines: list[str], contents: Mapping[str, bytes]) -> Facts:
    values = dict(line.partition(" ")[::2] for line in lines)  # of keys that come once
    ssh = _ssh(values.get("ssh", ""))
    units = dict(_units(lines))
    firewalld = FIREWALLD in units and units[FIREWALLD].running
    return Facts(
        machine=values["machine"], bits=_number(values["bits"]),
        os_id=values.get("os.ID", "unknown"), os_version=values.get("os.VERSION_ID", ""),
        os_name=values.get("os.PRETTY_NAME", "unknown"),
        cpus=_number(values["cpus"]), memory_kb=_number(values["memory_kb"]), disk_kb=_disk_kb(values.get("disk", "0 0")),
        python=tuple(int(n) for n in re.findall(r"[0-9]{1,9}", values.get("python", ""))[:3]),
        systemd=_number(re.sub(r"[^0-9].*", "", values.get("systemd", "")) or "0"),
        now=_time(values["now"]), boot_id=values.get("boot", ""),
        addresses=tuple(_addresses(lines)),
        default_device=_default_device(lines),
        ssh_client=ssh[0], ssh_port=ssh[1],
        ufw="ufw" in values,
        users=frozenset(values.get("users", "").split()),
        files=_files(lines, contents), not_regular=frozenset(words[0] for words in _rows("odd", lines)),
        units=units,
        said={words[0]: " ".join(words[1:]) for words in _rows("said", lines)},
        stamps={words[0]: " ".join(words[1:]) for words in _rows("stamp", lines)},
        store=frozenset(values.get("store", "").split()),
        current=_generation(values.get("current")), manifest=_manifest("current-manifest ", lines),
        previous=_manifest("previous-manifest ", lines, contents) if "previous-manifest" in values else None,
        pending=_generation(values.get("pending")), lock=_lock(lines), docker=_DOCKER.get(values.get("docker", ""), "none"),
        rules=_rules(lines), faults=read_left_faults(lines),
        other_firewalls=other_firewalls(lines, "ufw" in values, firewalld),
    )  # fmt: skip


def _rows(key: str, lines: Iterable[str]) -> Iterator[list[str]]:
    """The words after the key, of each line with this key."""
    return (line.split()[1:] for line in lines if line.startswith(key + " "))


def _addresses(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        if match := _ADDRESS.match(line):
            yield match[1], str(ipaddress.IPv4Address(match[2]))


def _ssh(text: str) -> tuple[str | None, int | None]:
    """The operator's address and sshd's port. None where sshd does not know them: it says UNKNOWN without a socket."""
    match text.split():
        case [client, port] if re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65536 and _is_address(client):
            return client, int(port)
    return None, None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def _disk_kb(text: str) -> int:
    """From the number of free blocks and the size of one in bytes, as `stat -f` prints them."""
    blocks, size = map(_number, text.split())
    return blocks * size // 1024


def _generation(link: str | None) -> str | None:
    """The id in the target of a link such as `generations/ID`."""
    return link.rpartition("/")[2] if link else None


def _default_device(lines: Iterable[str]) -> str | None:
    for words in _rows("route", lines):
        if "dev" in words:
            return words[words.index("dev") + 1]
    return None


def _manifest(prefix: str, lines: Iterable[str], contents: Mapping[str, bytes] | None = None) -> Manifest:
    return read_manifest((line[len(prefix) :] for line in lines if line.startswith(prefix)), contents or {})


def _files(lines: list[str], contents: Mapping[str, bytes]) -> dict[str, FileFact]:
    """A sum that was computed now comes before the one that the host has on record for an untouched file."""
    computed = {words[0]: words[1] for words in _rows("sum", lines)}
    return {
        path: FileFact(computed.get(path, recorded), mode.rjust(4, "0"), owner, group, _number(size), contents.get(path))
        for path, mode, owner, group, size, recorded in _rows("file", lines)
    }


def _units(lines: Sequence[str]) -> Iterator[tuple[str, UnitFact]]:
    """systemd lists only the units that it has loaded; another one that has a file is inactive."""
    listed = {match[1]: (match[2], match[3], match[4]) for line in lines if (match := _UNIT.match(line))}
    outdated = _outdated(lines)
    for name, word in _rows("unit", lines):
        state = listed.get(name, ("loaded", "inactive", "dead"))
        yield name, UnitFact(*state, enabled=word == "enabled", outdated=name in outdated)


def _outdated(lines: Iterable[str]) -> set[str]:
    """The units with `NeedDaemonReload=yes`; `systemctl show` begins each unit with its Id."""
    unit, found = "", set()
    for line in lines:
        if line.startswith("Id="):
            unit = line[3:]
        elif line == "NeedDaemonReload=yes":
            found.add(unit)
    return found


def _rules(lines: Sequence[str]) -> RulesFact | None:
    now = [words[0] for words in _rows("rules-now", lines)]
    if not now:
        return None
    recorded = [words[0] for words in _rows("rules-loaded", lines)]
    file, loaded = recorded if len(recorded) == 2 else (None, None)
    return RulesFact(file, loaded, None if now == ["-"] else now[0])


def _lock(lines: Iterable[str]) -> LockFact | None:
    fields = {words[0]: " ".join(words[1:]) for words in _rows("lock", lines)}
    return parse_lock(fields) if fields else None
