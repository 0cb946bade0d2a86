"""hosts.yml, checked: text in, a Cluster or every fault at once out. Nothing is checked again after this.

`inventory_keys` declares each key and its check. `_across` checks what only shows between values (one primary, one
address each). `_build` fills in the defaults.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from voluptuous import Invalid, Schema

from ..errors import InputError
from ..model.cluster import ROLES, Binary, Cluster, Host, SshDefaults
from . import schema as s
from . import value_checks as c
from .fault import Fault, shown
from .inventory_keys import INVENTORY_KEYS, SSH_KEYS
from .keys import fields
from .yaml_tree import Tree
from .yaml_tree import parse as parse_yaml

RESERVED = ("all", *ROLES, *(f"{role}s" for role in ROLES))  # words of `--hosts`
HINT = "docs/examples/reference.yml names every key"
LEAST = "write at least: cluster: NAME, and under hosts: NAME: {ssh: ADDRESS, roles: [manager, worker]}"
SSH_PORT = 22
SSH_NAMES = tuple(key.name for key in SSH_KEYS)


HOSTS_YML = Schema(fields(INVENTORY_KEYS))


def parse(text: str, source: Path, *, state_root: Path, home: Path) -> tuple[Cluster, tuple[str, ...]]:
    """The cluster of a hosts.yml, and warnings; InputError with all faults, each `hosts.yml:LINE: path: …`.

    source:     where the text came from; relative paths in it are relative to its folder
    state_root: `<state_root>/<cluster>` becomes the cluster's state folder
    home:       what `~` stands for
    """
    tree = parse_yaml(text)
    if not tree.faults and not isinstance(tree.value, dict):
        what = f"{s.kind(tree.value)} where a mapping (cluster: …, hosts: …) is due"
        fault = tree.fault((), "is empty" if tree.value is None else what)
        raise InputError([fault.render(source.name)], LEAST)
    value, found = s.check(HOSTS_YML, tree) if isinstance(tree.value, dict) else ({}, tree.faults)
    s.refuse([*found, *_across(tree)], source.name, HINT)
    cluster = _build(value, source, state_root, home)
    return cluster, tuple(_warnings(cluster, tree, source.name))


def _across(tree: Tree) -> Iterator[Fault]:
    """Faults between values. They are read from the unchecked tree, so that they are reported together with all others."""
    top: Mapping[str, Any] = tree.value if isinstance(tree.value, dict) else {}
    for program in ("consul", "caddy"):
        given = top.get(program)
        if isinstance(given, dict) and not given:
            yield tree.fault((program,), "is empty; give version, binary, or (where a binary hides its version) both")
    hosts = top.get("hosts")
    if not isinstance(hosts, dict):
        return
    for name in hosts:
        yield from _name(name, tree)
    known = {name: host for name, host in hosts.items() if isinstance(host, dict)}
    yield from _managers(known, tree)
    defaults = top.get("defaults")
    yield from _shared(known, defaults if isinstance(defaults, dict) else {}, tree)


def _name(name: str, tree: Tree) -> Iterator[Fault]:
    try:
        c.label(name)
    except Invalid as e:
        yield tree.fault(("hosts", name), f"{shown(name)} {e.msg}")
    if name in RESERVED:
        yield tree.fault(("hosts", name), f"{name} is a word of --hosts ({', '.join(RESERVED)}); name it otherwise")


def _is_manager(host: Mapping[str, Any]) -> bool:
    return isinstance(host.get("roles"), list) and "manager" in host["roles"]


def _managers(hosts: Mapping[str, Mapping[str, Any]], tree: Tree) -> Iterator[Fault]:
    if not any(_is_manager(host) for host in hosts.values()):
        yield tree.fault(("hosts",), "no host has the role manager; one is needed, three survive the loss of one")
    primaries = [name for name, host in hosts.items() if host.get("primary") is True]
    for name in primaries:
        if not _is_manager(hosts[name]):
            yield tree.fault(("hosts", name, "primary"), f"true, but {name} does not have the role manager")
    for name in primaries[1:]:
        at = ("hosts", name, "primary")
        yield tree.fault(at, f"true, but {primaries[0]} is marked primary already; one manager may be")


def _shared(hosts: Mapping[str, Mapping[str, Any]], defaults: Mapping[str, Any], tree: Tree) -> Iterator[Fault]:
    """Two hosts at one address. Behind different gateways, or with different advertised addresses, they are two places."""
    seen: dict[tuple[str, ...], str] = {}
    for name, host in hosts.items():
        port, gateway = (host.get(k, defaults.get(k, d)) for k, d in (("port", SSH_PORT), ("gateway", "none")))
        ssh = _same(host.get("ssh"))
        if ssh and (first := seen.setdefault((ssh, str(port), str(gateway)), name)) != name:
            message = f"{shown(ssh)} port {shown(port)} is also where {first} is reached"
            yield tree.fault(("hosts", name, "ssh"), message)
        key = "advertise" if host.get("advertise") else "address"
        own = _same(host.get(key))
        if own and (first := seen.setdefault((own,), name)) != name:
            yield tree.fault(("hosts", name, key), f"{shown(own)} is also the cluster address of {first}")


def _same(value: object) -> str | None:
    """One spelling for each address or name. None for a value that is not text."""
    try:
        return str(ipaddress.ip_address(value)) if isinstance(value, str) else None
    except ValueError:
        return str(value).lower()


def _build(value: Mapping[str, Any], source: Path, state_root: Path, home: Path) -> Cluster:
    def path(text: str | None) -> Path | None:
        if text is None:
            return None
        return home / text[2:] if text.startswith("~/") else source.parent / text

    def binary(given: Mapping[str, str]) -> Binary:
        return Binary(given.get("version"), path(given.get("binary")))

    def host(name: str, own: Mapping[str, Any]) -> Host:
        given = {key: defaults[key] for key in SSH_NAMES if key in defaults}
        given.update(own)
        if given.get("gateway") == "none":
            del given["gateway"]
        return Host(name, **{**given, "roles": tuple(own["roles"]), "key": path(given.get("key"))})

    defaults = value.get("defaults", {})
    config, known = defaults.get("ssh_config"), defaults.get("known_hosts")
    return Cluster(
        name=value["cluster"],
        hosts=tuple(host(name, own) for name, own in value["hosts"].items()),
        source=source,
        state=state_root / value["cluster"],
        datacenter=value.get("datacenter", value["cluster"]),
        domain=value.get("domain"),
        consul=binary(value.get("consul", {})),
        caddy=binary(value.get("caddy", {})),
        firewall=value.get("firewall", True),
        admin_from=tuple(value.get("admin_from", ())),
        email=value.get("https", {}).get("email"),
        internal_ca=value.get("https", {}).get("internal"),
        promises=value.get("promises", {}),
        ssh=SshDefaults(path(known), None if config == "none" else path(config), config != "none"),
    )


def _warnings(cluster: Cluster, tree: Tree, source: str) -> Iterator[str]:
    n = len(managers := cluster.having("manager"))
    if n % 2 == 0:
        names = ", ".join(host.name for host in managers)
        why = f"{n} managers ({names}) survive the loss of {n // 2 - 1}, as {n - 1} would"
        remedy = f"a majority of {n} is {n // 2 + 1}; make it {n - 1} or {n + 1}"
        yield tree.fault(("hosts",), f"{why}: {remedy}").render(source)
