"""Reads what remote_agents/probe.sh prints into `Facts`. Pure.

The output is lines of `KEY VALUE...`, among them lines of `ip` and `systemctl` as these programs print them, then the
line `contents` and a tar archive with the small files.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..errors import HostError
from .facts import Facts, FileFact, LockFact, RulesFact, UnitFact
from .manifest import Manifest, read_manifest

_ADDRESS = re.compile(r"\d+: (\S+) +inet ([0-9.]+)")  # a line of `ip -o addr`
_UNIT = re.compile(r"(\S+\.service) +(\S+) +(\S+) +(\S+)")  # a line of `systemctl list-units --plain`


def parse(host: str, output: bytes) -> Facts:
    """Facts from the probe's standard output. HostError when the output is cut, or not the probe's."""
    text, marker, archive = output.partition(b"\ncontents\n")
    lines = text.decode("utf-8", "replace").splitlines()
    if not marker or not lines or lines[0] != "nexus-probe 1":
        raise HostError(host, "the probe's answer is incomplete", "is the login shell printing something of its own?")
    try:
        return _facts(lines, _contents(archive))
    except (ValueError, KeyError, IndexError, tarfile.TarError) as error:
        raise HostError(host, f"the probe's answer cannot be read ({error})") from error


def parse_lock(fields: Mapping[str, str]) -> LockFact:
    """From the `key value` pairs of a lock file. ValueError: a time that is no number."""
    return LockFact(
        fields.get("id", "?"), fields.get("who", "?"), fields.get("what", "?"), fields.get("origin", ""),
        int(fields.get("since") or 0), int(fields.get("expires") or 0),
    )  # fmt: skip


def _facts(lines: list[str], contents: Mapping[str, bytes]) -> Facts:
    values = dict(line.partition(" ")[::2] for line in lines)  # of keys that come once
    return Facts(
        machine=values["machine"], bits=int(values["bits"]),
        os_id=values.get("os.ID", "unknown"), os_version=values.get("os.VERSION_ID", ""),
        os_name=values.get("os.PRETTY_NAME", "unknown"),
        cpus=int(values["cpus"]), memory_kb=int(values["memory_kb"]), disk_kb=_disk_kb(values.get("disk", "0 0")),
        python=tuple(int(n) for n in re.findall(r"\d+", values.get("python", ""))[:3]),
        systemd=int(re.sub(r"\D.*", "", values.get("systemd", "")) or 0),
        now=float(values["now"]), boot_id=values.get("boot", ""),
        addresses=tuple((match[1], match[2]) for line in lines if (match := _ADDRESS.match(line))),
        default_device=_default_device(lines),
        ssh_client=values["ssh"].split()[0] if "ssh" in values else None,
        ssh_port=int(values["ssh"].split()[1]) if "ssh" in values else None,
        ufw="ufw" in values,
        users=frozenset(values.get("users", "").split()),
        files=_files(lines, contents), not_regular=frozenset(words[0] for words in _rows("odd", lines)),
        units=dict(_units(lines)),
        said={words[0]: " ".join(words[1:]) for words in _rows("said", lines)},
        stamps={words[0]: " ".join(words[1:]) for words in _rows("stamp", lines)},
        store=frozenset(values.get("store", "").split()),
        current=_generation(values.get("current")), manifest=_manifest("current-manifest ", lines),
        previous=_manifest("previous-manifest ", lines, contents) if "previous-manifest" in values else None,
        pending=_generation(values.get("pending")), lock=_lock(lines), docker="docker" in values,
        rules=_rules(lines),
    )  # fmt: skip


def _rows(key: str, lines: Iterable[str]) -> Iterator[list[str]]:
    """The words after the key, of each line with this key."""
    return (line.split()[1:] for line in lines if line.startswith(key + " "))


def _disk_kb(text: str) -> int:
    """From the number of free blocks and the size of one in bytes, as `stat -f` prints them."""
    blocks, size = map(int, text.split())
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
        path: FileFact(computed.get(path, recorded), mode.rjust(4, "0"), owner, group, int(size), contents.get(path))
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


def _contents(archive: bytes) -> dict[str, bytes]:
    """The archive's regular files by their absolute path."""
    if not archive:
        return {}
    contents = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            reader = tar.extractfile(member)
            if reader is not None:
                contents["/" + member.name.lstrip("/")] = reader.read()
    return contents
