"""hosts.yml on disk: find and read it, add a host without touching another byte.

`disk.yaml_edit` puts the new entry in as text, so whatever else the operator wrote stays as it is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...core.config import inventory
from ...core.errors import InputError
from ...core.model.cluster import Cluster
from .paths import home_folder
from .text_edit import Edit, Undone, edit
from .yaml_edit import (
    LINE_END,
    after_line,
    append_to_flow,
    compose,
    end_of_value,
    flow,
    insert_lines,
    read,
    split_mark,
    value_of,
)  # fmt: skip

FILE = "hosts.yml"
_HINT = "check --inventory and NEXUS_HOSTS"
_NOWHERE = Path("/nonexistent")  # for checks that open none of the file's paths


def load(path: str | None, env: Mapping[str, str], cwd: Path) -> tuple[Cluster, tuple[str, ...]]:
    """The cluster and warnings: from `path` (--inventory), else $NEXUS_HOSTS, else hosts.yml in cwd or above.

    The state root is $NEXUS_STATE, else `.nexus` beside the file. InputError when there is no such file or, with
    all faults, when it is not valid.
    """
    home = home_folder(env)
    source = find(path, env, cwd)
    state = env.get("NEXUS_STATE")
    state_root = _expand(state, home, cwd) if state else source.parent / ".nexus"
    return inventory.parse(read(source, _HINT), source, state_root=state_root, home=home)


def find(path: str | None, env: Mapping[str, str], cwd: Path) -> Path:
    """The absolute path of the inventory that `load` would read."""
    named = path or env.get("NEXUS_HOSTS")
    if named:
        return _expand(named, home_folder(env), cwd)
    found = next((folder / FILE for folder in (cwd, *cwd.parents) if os.path.lexists(folder / FILE)), None)
    if found is None:
        hint = "go to the folder that has one, or name it: --inventory FILE, or NEXUS_HOSTS=FILE"
        raise InputError([f"{FILE}: not found in {cwd} or any folder above it"], hint)
    return found


def _expand(text: str, home: Path, cwd: Path) -> Path:
    return home / text[2:] if text.startswith("~/") else cwd / text


def add_host(path: Path, name: str | Callable[[Cluster], str], fields: Mapping[str, object]) -> Edit:
    """Adds `name: {fields}` after the last host, in its style; `edge.disk.text_edit.undo` takes it out again.

    Fields that are None are left out. `name` may choose one, from the cluster as it is in the file at that moment.
    InputError, with nothing written, when the file has faults before or would have any after.
    """
    plain = {key: _plain(value) for key, value in fields.items() if value is not None}

    def change(old: str) -> tuple[str, Undone]:
        before = _check(old, path)
        chosen = name if isinstance(name, str) else name(before)
        return _added(old, before, path, chosen, plain), lambda now, then: _lacks_only(chosen, now, then, path)

    return edit(path, _HINT, change)


def _added(old: str, before: Cluster, path: Path, name: str, fields: Mapping[str, object]) -> str:
    """The text with the host, checked."""
    if any(host.name == name for host in before.hosts):
        raise InputError([f"{path.name}: hosts.{name}: is there already"], "choose another --name")
    mark, body = split_mark(old)
    new = mark + _with_host(body, name, fields)
    after = _check(new, path)
    if replace(after, hosts=after.hosts[:-1]) != before or after.hosts[-1].name != name:
        hint = f"add it by hand: {flow({name: fields})[1:-1]}"
        raise InputError([f"{path.name}: {name} cannot be added without changing other lines"], hint)
    return new


def _lacks_only(name: str, now: str, then: str, path: Path) -> bool:
    """Whether the second text is the first one without the host."""
    before = _check(now, path)
    return _check(then, path) == replace(before, hosts=tuple(h for h in before.hosts if h.name != name))


def _check(text: str, path: Path) -> Cluster:
    return inventory.parse(text, path, state_root=_NOWHERE, home=_NOWHERE)[0]


def _plain(value: object) -> object:
    """The value in the types that YAML's safe dumper knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _with_host(body: str, name: str, fields: Mapping[str, object]) -> str:
    """The text with the host after the last one."""
    hosts = value_of(compose(body), "hosts")
    if hosts.flow_style:
        return append_to_flow(body, hosts, flow({name: fields})[1:-1])
    key, last = hosts.value[-1]
    indent = " " * key.start_mark.column
    at = after_line(body, end_of_value(body, key, last))
    comment = re.compile(rf"{indent}[^\S\r\n]+#[^\r\n]*{LINE_END}")
    while deeper := comment.match(body, at):  # a comment indented deeper than the hosts belongs to the last of them
        at = deeper.end()
    lines = body.splitlines(keepends=True)
    added = [indent + line for line in _entry(name, fields, key, last)]
    if len(hosts.value) > 1 and not last.flow_style and not lines[key.start_mark.line - 1].strip():
        added.insert(0, "")  # blocks that are set apart by blank lines go on being so
    return insert_lines(body, at, added, "\r\n" if lines[0].endswith("\r\n") else "\n")


def _entry(name: str, fields: Mapping[str, object], key: Any, last: Any) -> list[str]:
    """The lines of the new host, without indent: one, or a block, as the last host is written."""
    if last.flow_style:
        return [flow({name: fields})[1:-1]]
    deeper = last.value[0][0].start_mark.column - key.start_mark.column
    inner = " " * (deeper if deeper > 0 else 2)
    head = flow({name: 0})[1:].removesuffix(" 0}")
    return [head, *(inner + flow({field: value})[1:-1] for field, value in fields.items())]
