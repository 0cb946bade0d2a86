"""services.yml on disk: read it, and change one service's number of replicas without touching another byte."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from ...core.config import schema, services
from ...core.config.fault import shown
from ...core.config.service_values import MOST_REPLICAS
from ...core.errors import InputError, Several
from ...core.model.cluster import Cluster
from ...core.model.service import Replicas, Service, Services
from . import inventory
from .text_edit import Edit, Undone, edit
from .yaml_edit import (
    after_line,
    append_to_flow,
    compose,
    end_of_value,
    insert_lines,
    read,
    split_mark,
    value_of,
)  # fmt: skip

FILE = "services.yml"
HINT = "is it there, and yours to read?"


def load(cluster: Cluster, path: Path | None = None) -> Services:
    """The services of `path`, or of services.yml beside hosts.yml; no services (and no source) when that is absent.

    InputError, with all faults, when a file is not valid; also when it cannot be read or `path` is absent.
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


def set_replicas(path: Path, name: str, count: int) -> Edit:
    """Makes `count` the service's replicas in the file; `edge.disk.text_edit.undo` puts the former number back.

    InputError, with nothing written, when the file has faults before or would have any after, has no such service,
    or cannot be changed in this one place.
    """

    def change(old: str) -> tuple[str, Undone]:
        before = services.parse(old, path)
        new = _scaled(old, before, path, name, count)
        former = before.service(name).replicas
        return new, lambda now, then: services.parse(then, path) == _put_back(services.parse(now, path), name, former)

    return edit(path, HINT, change)


def _scaled(old: str, before: Services, path: Path, name: str, count: int) -> str:
    """The text with the number, checked."""
    at = f"{path.name}: services.{shown(name)}"
    if not 0 <= count <= MOST_REPLICAS:
        raise InputError([f"{at}.replicas: {count} is not a number of instances (0-{MOST_REPLICAS})"])
    if name not in {service.name for service in before}:
        near = schema.nearest(name, [service.name for service in before])
        raise InputError([f"{at}: there is no such service" + (f"; {near}" if near else "")], "inv service.list")
    if before.service(name).replicas == (goal := Replicas(min=count, max=count)):
        return old
    mark, body = split_mark(old)
    new = mark + _with_replicas(body, name, count, at)
    if _entries(new, path) != _with(before.entries, name, goal):
        raise InputError([f"{at}.replicas: cannot be changed without changing other lines"], "change it by hand")
    return new


def _put_back(now: Services, name: str, replicas: Replicas) -> Services:
    return replace(now, entries=_with(now.entries, name, replicas))


def _with(entries: tuple[Service, ...], name: str, replicas: Replicas) -> tuple[Service, ...]:
    return tuple(replace(s, replicas=replicas) if s.name == name else s for s in entries)


def _entries(text: str, path: Path) -> tuple[Service, ...]:
    """The services of the text; none when it is not valid."""
    try:
        return services.parse(text, path).entries
    except InputError:
        return ()


def _with_replicas(body: str, name: str, count: int, at: str) -> str:
    """The text with the number in its place: over the old one, or as the last key of the service."""
    service = value_of(value_of(compose(body), "services"), name)
    if isinstance(service, yaml.SequenceNode):
        hint = f"write it as a mapping: {name}: {{command: [...], replicas: {count}}}"
        raise InputError([f"{at}: is a list, which has no place for replicas"], hint)
    given = value_of(service, "replicas")
    if isinstance(given, yaml.MappingNode):
        raise InputError([f"{at}.replicas: follows the CPU"], "change min and max in the file, or write a number there")
    if given is None:
        return _with_last_key(body, service, count)
    start, end = _span(body, given)
    return body[:start] + str(count) + body[end:]


def _span(body: str, node: Any) -> tuple[int, int]:
    """Start and end index of the number (or `all`) itself, without the anchor or tag before it."""
    end = node.end_mark.index
    return (body.rindex(node.style, 0, end - 1) if node.style else end - len(node.value)), end


def _with_last_key(body: str, service: Any, count: int) -> str:
    first, (key, value) = service.value[0][0], service.value[-1]
    if service.flow_style:
        quote = '"' if key.style == '"' else ""  # JSON stays JSON
        return append_to_flow(body, service, f"{quote}replicas{quote}: {count}")
    line = f"{' ' * first.start_mark.column}replicas: {count}"
    at = after_line(body, end_of_value(body, key, value))
    return insert_lines(body, at, [line], "\r\n" if "\r\n" in body else "\n")
