"""services.yml, checked: text in, Services or every fault at once out. Nothing is checked again after this.

`service_keys` declares each key and its check. `_across` checks what only shows between values (a command or an image,
one port each, one address at the balancer each). `_build` fills in the defaults.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from voluptuous import Invalid, Required, Schema

from ..errors import InputError
from ..model.service import FIELDS, Check, Service, Services, wanted
from . import schema as s
from . import service_texts as t
from . import service_values as v
from .fault import Fault, shown
from .fault import Path as Place
from .keys import as_written, fields, lacking
from .service_keys import SERVICE_KEYS
from .yaml_tree import Tree
from .yaml_tree import parse as parse_yaml

RESERVED = ("consul", "nexus-orchestrator")
HINT = "docs/examples/services.yml names every key"
LEAST = "write at least, under services: NAME: [PROGRAM, ARGUMENT]"
MAX_WANTED = 256 << 10  # bytes of JSON; Consul's transactions take 512 KiB, in which this stands as base64

_ENTRY = Schema(fields(SERVICE_KEYS))


def _entry(value: object) -> Any:
    """A mapping, or the argv alone."""
    if isinstance(value, list):
        return {"command": t.command(value)}
    if not isinstance(value, dict):
        raise Invalid("is neither a list such as [python3, -m, http.server, 8080] nor a mapping")
    return _ENTRY(value)


_ALL = Schema({str: _entry})


def _all(value: object) -> Any:
    if value is None:
        raise s.Bare("is empty; write {} for no services")
    return _ALL(value)


SERVICES_YML = Schema(s.mapping({Required("services", "is missing: the services, by name"): _all}))


def parse(text: str, source: Path) -> Services:
    """The services of a services.yml; InputError with all faults, each `services.yml:LINE: path: …`."""
    tree = parse_yaml(text)
    if not tree.faults and not isinstance(tree.value, dict):
        what = f"{s.kind(tree.value)} where a mapping (services: …) is due"
        fault = tree.fault((), "is empty; write `services: {}` for none" if tree.value is None else what)
        raise InputError([fault.render(source.name)], LEAST)
    value, found = s.check(SERVICES_YML, tree) if isinstance(tree.value, dict) else ({}, tree.faults)
    s.refuse([*found, *_across(tree)], source.name, HINT)
    made = Services(tuple(_build(name, own, tree) for name, own in value["services"].items()), source)
    if (size := len(json.dumps(wanted(made)))) > MAX_WANTED:
        limit = f"its services come to {size >> 10} KiB; the cluster's store takes {MAX_WANTED >> 10}"
        raise InputError([f"{source.name}: {limit}"], "move large env values and arguments into files on the hosts")
    return made


def _across(tree: Tree) -> Iterator[Fault]:
    """Faults between values. They are read from the unchecked tree, so that they are reported together with all others."""
    services = tree.value.get("services") if isinstance(tree.value, dict) else None
    if not isinstance(services, dict):
        return
    known = {name: own for name, own in services.items() if isinstance(own, dict)}
    for name in services:
        yield from _name(name, tree)
        if name in known:
            yield from _within(known[name], ("services", name), tree)
    yield from _shared(known, tree)


def _name(name: str, tree: Tree) -> Iterator[Fault]:
    at = ("services", name)
    try:
        v.name(name)
    except Invalid as e:
        yield tree.fault(at, f"{shown(name)} {e.msg}{v.hint_for(name)}")
    if name in RESERVED or name.startswith("nexus-"):
        yield tree.fault(at, f"{shown(name)} is a name of the cluster's own ({', '.join(RESERVED)}, nexus-…)")


def _within(own: Mapping[str, Any], at: Place, tree: Tree) -> Iterator[Fault]:
    """Faults between the keys of one service."""
    runs = [key for key in own if key in ("command", "image")]
    if not runs:
        yield tree.fault(at, "has neither command nor image; it needs one of them")
    for key in runs[1:]:
        yield tree.fault((*at, key), f"stands beside {runs[0]}; a service has one of them (an image has args)")
    for key, message in lacking(SERVICE_KEYS, own):
        yield tree.fault((*at, key), message)
    user = str(own.get("user", ""))
    if "image" not in own and re.match(r"[0-9]|[^:]+:", user):
        yield tree.fault((*at, "user"), f"{shown(user)} is for an image; a command runs as a user of the host, by name")
    if "target_port" in own and "image" in own and "port" not in own:
        yield tree.fault((*at, "target_port"), "needs a port: the one on the host")
    headers = own.get("headers")
    seen: dict[str, str] = {}
    for header in headers if isinstance(headers, dict) else ():
        if (first := seen.setdefault(header.lower(), header)) != header:
            yield tree.fault((*at, "headers", header), f"is the same header as {shown(first)}")
    check = own.get("check")
    kinds = check if isinstance(check, dict) else {check: True} if isinstance(check, str) else {}
    if "port" not in own and any(kind in ("http", "tcp") or str(kind).startswith("/") for kind in kinds):
        yield tree.fault((*at, "check"), "needs a port to connect to; without one only ttl is possible")


def _shared(services: Mapping[str, Mapping[str, Any]], tree: Tree) -> Iterator[Fault]:
    """Two services at one port (any host may get both), or at one domain and path."""
    ports: dict[int, str] = {}
    places: dict[tuple[str, str], str] = {}
    for name, own in services.items():
        port, domain, path = own.get("port"), own.get("domain"), own.get("path", "/")
        if isinstance(port, int) and not isinstance(port, bool) and (first := ports.setdefault(port, name)) != name:
            yield tree.fault(("services", name, "port"), f"{shown(port)} is also the port of {first}; one host may get both")
        if isinstance(domain, str) and isinstance(path, str):
            place = (domain.lower(), path.lower().rstrip("/") or "/")  # as Caddy compares them
            if (first := places.setdefault(place, name)) != name:
                key = "path" if "path" in own else "domain"
                where = f"{shown(''.join(place))} is also where {first} is offered"
                case = "" if path == path.lower() else " (to the balancer, case is one)"
                yield tree.fault(("services", name, key), where + case)


def _build(name: str, own: Mapping[str, Any], tree: Tree) -> Service:
    """Defaults filled in. Numbers where text is meant become what stands in the file: `1.10`, not 1.1."""
    at: Place = ("services", name)
    short_form = isinstance(tree.value["services"][name], list)  # the command alone
    values: dict[str, Any] = {}
    for key in SERVICE_KEYS:
        if key.name in own:
            value, place = own[key.name], at if short_form else (*at, key.name)
            values[key.name] = as_written(value, place, tree) if key.as_written else value
    if "image" in own:
        values["command"] = values.pop("args", None) or None
        values.setdefault("target_port", own.get("port"))
    values.setdefault("check", Check("ttl" if own.get("port") is None else "tcp"))
    return Service(name=name, line=tree.line(at), **{FIELDS[key].name: value for key, value in values.items()})
