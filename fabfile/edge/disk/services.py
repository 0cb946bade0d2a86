"""services.yml on disk: read it, change one service's number of replicas without touching another byte."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from ...core.config import schema, services
from ...core.config.service_values import MOST_REPLICAS
from ...core.config.yaml_tree import shown
from ...core.errors import InputError, Several
from ...core.model.cluster import Cluster
from ...core.model.service import Replicas, Service, Services
from . import inventory
from .inventory import read
from .inventory import restore as write

FILE = "services.yml"
HINT = "is it there, and yours to read?"
_ALIAS = re.compile(r"\s*:\s*\*[^\s,{}\[\]]+")
_LINE_END = re.compile(r"\r\n|\r|\n|\Z")


def load(cluster: Cluster, path: Path | None = None) -> Services:
    """The services of `path`, or of services.yml beside hosts.yml; none (and no source) where that is absent.

    InputError when a file cannot be read, a named one is absent, or with all its faults.
    """
    return _beside(cluster.source) if path is None else services.parse(read(path, HINT), path)


def load_both(path: str | None, env: Mapping[str, str], cwd: Path) -> tuple[Cluster, tuple[str, ...], Services]:
    """The inventory and its warnings, as `edge.disk.inventory.load` has them, and the services beside it.

    InputError with the faults of both files.
    """
    source = inventory.find(path, env, cwd)
    try:
        cluster, warnings = inventory.load(path, env, cwd)
    except InputError as error:
        raise Several([error, *_errors_beside(source)]) from None
    return cluster, warnings, load(cluster)


def _beside(hosts: Path) -> Services:
    source = hosts.parent / FILE
    return services.parse(read(source, HINT), source) if os.path.lexists(source) else Services()


def _errors_beside(hosts: Path) -> list[InputError]:
    try:
        _beside(hosts)
    except InputError as error:
        return [error]
    return []


def set_replicas(path: Path, name: str, count: int) -> str:
    """Makes `count` the service's replicas in the file, and returns the text as it was, for `restore`.

    InputError, with nothing written, when the file has faults before or would have any after, has no such service,
    or cannot be changed in this one place.
    """
    old = read(path, HINT)
    before = services.parse(old, path)
    at = f"{path.name}: services.{shown(name)}"
    if not 0 <= count <= MOST_REPLICAS:
        raise InputError([f"{at}.replicas: {count} is not a number of instances (0-{MOST_REPLICAS})"])
    if name not in {service.name for service in before}:
        near = schema.nearest(name, [service.name for service in before])
        raise InputError([f"{at}: there is no such service" + (f"; {near}" if near else "")], "inv service.list")
    if before.service(name).replicas == (goal := Replicas(min=count, max=count)):
        return old
    new = _splice(old, name, count, at)
    if _entries(new, path) != tuple(replace(s, replicas=goal) if s.name == name else s for s in before):
        raise InputError([f"{at}.replicas: cannot be changed without changing other lines"], "change it by hand")
    write(path, new)
    return old


def restore(path: Path, text: str) -> None:
    """Puts back what `set_replicas` returned."""
    write(path, text)


def _entries(text: str, path: Path) -> tuple[Service, ...]:
    """The services of the text; none when it has faults."""
    try:
        return services.parse(text, path).entries
    except InputError:
        return ()


def _splice(text: str, name: str, count: int, at: str) -> str:
    """The text with the number in its place: over the old one, or as the last key of the service."""
    body = text.removeprefix("\ufeff")
    root: Any = yaml.compose(body, Loader=yaml.SafeLoader)
    every = next(value for key, value in root.value if key.value == "services")
    own = next(value for key, value in every.value if key.value == name)
    if isinstance(own, yaml.SequenceNode):
        hint = f"write it as a mapping: {name}: {{command: [...], replicas: {count}}}"
        raise InputError([f"{at}: is a list, which has no place for replicas"], hint)
    given = next((value for key, value in own.value if key.value == "replicas"), None)
    if isinstance(given, yaml.MappingNode):
        raise InputError([f"{at}.replicas: follows the CPU"], "change min and max in the file, or write a number there")
    if given is None:
        new = _insert(body, own, count)
    else:
        start, end = _span(body, given)
        new = body[:start] + str(count) + body[end:]
    return text[: len(text) - len(body)] + new


def _span(body: str, node: Any) -> tuple[int, int]:
    """Where the number (or `all`) itself stands: an anchor or a tag before it is kept."""
    end = node.end_mark.index
    return (body.rindex(node.style, 0, end - 1) if node.style else end - len(node.value)), end


def _insert(body: str, own: Any, count: int) -> str:
    first, (key, value) = own.value[0][0], own.value[-1]
    end = _end(body, key, value)
    if own.flow_style:
        quote = '"' if key.style == '"' else ""  # JSON stays JSON
        return f"{body[:end]}, {quote}replicas{quote}: {count}{body[end:]}"
    found = _LINE_END.search(body, end)
    newline = "\r\n" if "\r\n" in body else "\n"
    end, before = (found.end(), "" if found[0] else newline) if found else (len(body), newline)
    return f"{body[:end]}{before}{' ' * first.start_mark.column}replicas: {count}{newline}{body[end:]}"


def _end(body: str, key: Any, node: Any) -> int:
    """Where the value's text ends (index); a block's own mark lies beyond the comments after it."""
    if node.start_mark.index < key.end_mark.index:  # an alias: the node stands where its anchor is
        alias = _ALIAS.match(body, key.end_mark.index)
        return alias.end() if alias else int(key.end_mark.index)
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        tail = node.value[-1]
        return _end(body, *tail) if isinstance(tail, tuple) else _end(body, key, tail)
    mark = node.end_mark
    # a block scalar ends where the next line begins
    return int(mark.index - 1 if mark.column == 0 and mark.line > node.start_mark.line else mark.index)
