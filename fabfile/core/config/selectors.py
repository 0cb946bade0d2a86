"""`--hosts`: which hosts an expression names. It limits what is changed, never what templates see."""

from __future__ import annotations

from fnmatch import fnmatchcase

from ..errors import InputError
from ..model.cluster import ROLES, Cluster, Host
from .fault import shown
from .schema import nearest

_ROLE_WORDS = {word: role for role in ROLES for word in (role, f"{role}s")}


def select(cluster: Cluster, expression: str) -> tuple[Host, ...]:
    """The hosts that the expression names, each once, in the inventory's order.

    A comma list of `all`, roles (plural too), host names and shell globs over names; `!item` takes away,
    wherever it stands; with nothing but exclusions, they are taken from all. InputError for each item that
    matches nothing and for an expression that leaves no host.
    """
    items = [item.strip() for item in expression.split(",")]
    wanted = [item for item in items if not item.startswith("!")]
    unwanted = [item[1:].strip() for item in items if item.startswith("!")]
    faults = [fault for item in wanted + unwanted if (fault := _fault(cluster, item))]
    if faults:
        raise InputError(list(dict.fromkeys(faults)), f"this inventory has {', '.join(host.name for host in cluster.hosts)}")
    chosen = tuple(
        host
        for host in cluster.hosts
        if (not wanted or any(_matches(host, item) for item in wanted))
        and not any(_matches(host, item) for item in unwanted)
    )
    if not chosen:
        raise InputError([f"--hosts {shown(expression)}: leaves no host"], "loosen an exclusion (!…)")
    return chosen


def _matches(host: Host, item: str) -> bool:
    if item in _ROLE_WORDS:
        return host.has(_ROLE_WORDS[item])
    return item == "all" or fnmatchcase(host.name, item)


def _fault(cluster: Cluster, item: str) -> str | None:
    if not item:
        return "--hosts: an item is empty; write names, roles or globs with single commas between"
    if any(_matches(host, item) for host in cluster.hosts):
        return None
    if item in _ROLE_WORDS:
        return f"--hosts: no host has the role {_ROLE_WORDS[item]}"
    near = nearest(item, [*(host.name for host in cluster.hosts), "all", *_ROLE_WORDS])
    return f"--hosts: {shown(item)} matches no host" + (f"; {near}" if near else "")
