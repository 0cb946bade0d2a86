"""hosts.yml on disk: find and read it, add a host to it without touching another byte, put it back.

Editing splices one entry in at the place that the parser reports, rather than writing the document anew: what
the operator wrote (comments, order, quotes, alignment, line ends) cannot change, since it is never rewritten.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from ...core.config import inventory
from ...core.config.yaml_tree import MAX_BYTES, decode
from ...core.errors import InputError, NexusError
from ...core.model.cluster import Cluster
from .paths import near, why_unread

FILE = "hosts.yml"
_NOWHERE = Path("/nonexistent")  # for checks whose paths nobody follows


def load(path: str | None, env: Mapping[str, str], cwd: Path) -> tuple[Cluster, tuple[str, ...]]:
    """The cluster and warnings: from `path` (--inventory), else $NEXUS_HOSTS, else hosts.yml in cwd or above.

    The state root is $NEXUS_STATE, else `.nexus` beside the file. InputError when there is no such file, or
    with all its faults.
    """
    home = _home(env)
    source = find(path, env, cwd)
    state = env.get("NEXUS_STATE")
    state_root = _expand(state, home, cwd) if state else source.parent / ".nexus"
    return inventory.parse(read(source), source, state_root=state_root, home=home)


def find(path: str | None, env: Mapping[str, str], cwd: Path) -> Path:
    """The absolute path of the inventory that `load` would read."""
    named = path or env.get("NEXUS_HOSTS")
    if named:
        return _expand(named, _home(env), cwd)
    found = next((folder / FILE for folder in (cwd, *cwd.parents) if os.path.lexists(folder / FILE)), None)
    if found is None:
        hint = "go to the folder that has one, or name it: --inventory FILE, or NEXUS_HOSTS=FILE"
        raise InputError([f"{FILE}: not found in {cwd} or any folder above it"], hint)
    return found


def _home(env: Mapping[str, str]) -> Path:
    return Path(env.get("HOME") or Path.home())


def _expand(text: str, home: Path, cwd: Path) -> Path:
    return home / text[2:] if text.startswith("~/") else cwd / text


def read(path: Path, hint: str = "check --inventory and NEXUS_HOSTS") -> str:
    """The text of a file that the operator named; InputError with the way out when it cannot be had."""
    try:
        with path.open("rb") as file:
            return decode(file.read(MAX_BYTES + 1), path.name)
    except (OSError, ValueError) as e:  # ValueError: a NUL in the path
        why, remedy = why_unread(path, e)
        raise InputError([f"{near(path)}: {why}"], remedy or hint) from None


def add_host(path: Path, name: str, fields: Mapping[str, object]) -> str:
    """Adds `name: {fields}` after the last host, in its style, and returns the text as it was, for `restore`.

    Fields that are None are left out. InputError, with nothing written, when the file has faults before or
    would have any after.
    """
    old = read(path)
    before = _check(old, path)
    if any(host.name == name for host in before.hosts):
        raise InputError([f"{path.name}: hosts.{name}: is there already"], "choose another --name")
    plain = {key: _plain(value) for key, value in fields.items() if value is not None}
    new = _splice(old, name, plain)
    after = _check(new, path)
    if replace(after, hosts=after.hosts[:-1]) != before or after.hosts[-1].name != name:
        hint = f"add it by hand: {_flow({name: plain})[1:-1]}"
        raise InputError([f"{path.name}: {name} cannot be added without changing other lines"], hint)
    _write(path, new)
    return old


def restore(path: Path, text: str) -> None:
    """Puts back what `add_host` returned."""
    _write(path, text)


def _check(text: str, path: Path) -> Cluster:
    return inventory.parse(text, path, state_root=_NOWHERE, home=_NOWHERE)[0]


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _flow(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1 << 30, allow_unicode=True).rstrip(
        "\n"
    )


def _splice(text: str, name: str, fields: Mapping[str, object]) -> str:
    root: Any = yaml.compose(text.removeprefix("\ufeff"), Loader=yaml.SafeLoader)
    hosts = next(value for key, value in root.value if key.value == "hosts")
    key, last = hosts.value[-1]
    lines = text.splitlines(keepends=True)
    if hosts.flow_style:
        at, column = _end(key, last)
        entry = ", " + _flow({name: fields})[1:-1]
        lines[at] = lines[at][:column] + entry + lines[at][column:]
        return "".join(lines)
    indent = " " * key.start_mark.column
    at = _end(key, last)[0] + 1
    while at < len(lines) and re.match(rf"{indent}\s+#", lines[at]):
        at += 1  # a comment indented deeper than the hosts belongs to the last of them
    newline = "\r\n" if lines[0].endswith("\r\n") else "\n"
    if not lines[at - 1].endswith("\n"):
        lines[at - 1] += newline
    added = [indent + line + newline for line in _entry(name, fields, key, last)]
    if len(hosts.value) > 1 and not last.flow_style and not lines[key.start_mark.line - 1].strip():
        added.insert(0, newline)  # blocks that stand apart by blank lines go on doing so
    lines[at:at] = added
    return "".join(lines)


def _entry(name: str, fields: Mapping[str, object], key: yaml.Node, last: Any) -> list[str]:
    """The lines of the new host, without indent: in one, or a block, as the last host is."""
    if last.flow_style:
        return [_flow({name: fields})[1:-1]]
    deeper = last.value[0][0].start_mark.column - key.start_mark.column
    inner = " " * (deeper if deeper > 0 else 2)
    head = _flow({name: 0})[1:].removesuffix(" 0}")
    return [head, *(inner + _flow({field: value})[1:-1] for field, value in fields.items())]


def _end(key: yaml.Node, node: yaml.Node) -> tuple[int, int]:
    """Line and column (0-based) where the value ends; a block's own mark lies beyond later comments."""
    if node.start_mark.index < key.end_mark.index:  # an alias: the node stands where its anchor is
        return key.end_mark.line, key.end_mark.column
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        tail = node.value[-1]
        return _end(*tail) if isinstance(tail, tuple) else _end(key, tail)
    mark = node.end_mark
    if mark.column == 0 and mark.line > node.start_mark.line:  # a block scalar ends where the next line begins
        return mark.line - 1, 0
    return mark.line, mark.column


def _write(path: Path, text: str) -> None:
    """All or nothing: a new file in the same folder, on the disk, then renamed over the old one."""
    target, temp = Path(os.path.realpath(path)), ""  # a link stays a link
    try:
        was = target.stat()
        handle, temp = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            with contextlib.suppress(PermissionError):  # only root may give a file away (`sudo inv` keeps its owner)
                os.fchown(file.fileno(), was.st_uid, was.st_gid)
            os.fchmod(file.fileno(), was.st_mode & 0o7777)
            os.fsync(file.fileno())
        os.replace(temp, target)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as e:
        raise NexusError(f"{near(path)}: cannot be written: {(e.strerror or str(e)).lower()}") from e
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temp)
