"""trust and add-worker: how a host comes in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit

from ..core.errors import HostError, InputError, Refused
from ..core.model import Cluster, Host
from ..core.yamltree import dotted, shown
from ..edge.paths import near
from .base import chosen, command, complain, confirm, inventory, say, with_services

if TYPE_CHECKING:
    from ..core.service_model import Services


@command(help={"replace": "drop the pinned key, when the host was reinstalled",
               "fingerprint": "pin only the key with this fingerprint (SHA256:…)"})  # fmt: skip
def trust(
    c: Context, hosts: str = "all", inventory_: str = "", replace: bool = False, fingerprint: str = "",
    yes: bool = False, debug: bool = False,
) -> None:  # fmt: skip
    """Show the hosts' SSH key fingerprints and pin them in known_hosts when confirmed. One that fails stops no other."""
    cluster = inventory(inventory_)
    left: list[str] = []
    for host in chosen(cluster, hosts):
        try:
            pin(cluster, host, fingerprint=fingerprint, yes=yes, replace=replace)
        except (HostError, Refused) as error:
            complain(error)
            left.append(host.name)
    if left:
        say(f"not pinned: {', '.join(left)}")
        raise Exit(code=1)


def pin(cluster: Cluster, host: Host, *, fingerprint: str, yes: bool, replace: bool = False) -> None:
    """Pins the key that the host offers. Refused when it is not the expected one, or a changed one without replace."""
    from ..edge.trust import hop_count

    hops = hop_count(cluster, host)
    for hop in reversed(range(hops)):  # jump hosts first: the way to the host leads through them
        _pin_hop(cluster, host, hop, fingerprint="" if hop else fingerprint, yes=yes, replace=replace)


def _pin_hop(cluster: Cluster, host: Host, hop: int, *, fingerprint: str, yes: bool, replace: bool) -> None:
    from ..edge import trust as keys

    name, key, file = keys.offered_key(cluster, host, hop)
    offered = keys.fingerprint(key)
    known = keys.pinned(file, name)
    if fingerprint and fingerprint != offered:
        raise Refused(
            f"{host.name}: {name} offers {offered}, not {fingerprint}", "is this the right host? nothing was pinned"
        )
    if offered in known:
        say(f"{host.name}: {offered} is pinned already")
        return
    if known and not replace:
        raise Refused(f"{host.name}: {name} offers {offered}, but {' and '.join(known)} is pinned",
                      f"was it reinstalled? then: inv trust --hosts {host.name} --replace")  # fmt: skip
    say(f"{host.name}: {name} offers {key.get_name()} {offered}")
    if yes and hop:
        raise Refused(f"the jump host {name} is unknown", f"pin it first, without --yes: inv trust --hosts {host.name}")
    if yes and not fingerprint:
        raise Refused("--yes cannot vouch for a host key", f"give the one you expect: --fingerprint {offered}")
    confirm(f"Is this the fingerprint that the console of {host.name} shows?", yes)
    keys.pin_key(file, name, key, replace)
    say(f"{host.name}: pinned in {near(file)}")


@command(
    name="add-worker", positional=["address"],
    help={"address": "where SSH reaches it: address, DNS name or ssh_config alias",
          "name": "its name in the cluster (default: the next free w1, w2, …)",
          "user": "SSH user (default: what hosts.yml's defaults or ssh_config say)",
          "port": "SSH port", "gateway": "jump host on the way, [user@]host[:port]",
          "fingerprint": "the host key you expect (SHA256:…), for scripts"},
)  # fmt: skip
def add_worker(
    c: Context, address: str, name: str = "", user: str = "", port: int = 0, gateway: str = "", fingerprint: str = "",
    inventory_: str = "", yes: bool = False, debug: bool = False,
) -> None:  # fmt: skip
    """Grow the cluster by one worker: pin its key, add it to hosts.yml, deploy it, wait until it is alive."""
    from ..edge.inventory import add_host, restore

    cluster, _ = with_services(inventory_, warn=False)  # said once, when the new host is in it
    if any(h.ssh == address and (h.port or 22) == (port or 22) for h in cluster.hosts):
        raise InputError([f"{address} is in {cluster.source.name} already"], "inv deploy brings it up to date")
    name = name or next_name(cluster)
    fields = {"ssh": address, "roles": ["worker"], "user": user or None, "port": port or None, "gateway": gateway or None}
    try:
        old = add_host(cluster.source, name, fields)
    except InputError as error:
        raise in_options(error, cluster.source.name, name) from None
    joined = False
    try:
        joined = _join(*with_services(inventory_), name, fingerprint=fingerprint, yes=yes)
    finally:
        if not joined:
            restore(cluster.source, old)
            say(f"{cluster.source.name} is as it was")
    say(f"{name} ({address}) is a worker of {cluster.name}")


def _join(cluster: Cluster, offered: Services, name: str, *, fingerprint: str, yes: bool) -> bool:
    from .deploy import run_deploy

    host = cluster.host(name)
    pin(cluster, host, fingerprint=fingerprint, yes=yes)
    # all hosts: the others' firewalls let the new one in
    run_deploy(cluster, offered, cluster.hosts, yes=yes, what=f"add-worker {host.ssh}", needed=(host,))
    return True


def in_options(error: InputError, file: str, name: str) -> InputError:
    """Faults of a line that stands in no file yet, told of the options that it was made of."""
    start = re.compile(rf"{re.escape(file)}:(?:\d+:)? hosts\.{re.escape(dotted((name,)))}(?:\.(\w+))?: ")
    flags = {None: f"--name {shown(name)}: ", "ssh": "ADDRESS: "}
    faults = [start.sub(lambda m: flags.get(m[1], f"--{m[1]}: "), fault) for fault in error.faults]
    return InputError(faults, "inv --help add-worker" if faults != list(error.faults) else error.hint)


def next_name(cluster: Cluster) -> str:
    """The next free number after the workers' names: w3 after w1 and w2."""
    taken = {h.name for h in cluster.hosts}
    numbers = [int(m[1]) for n in taken if (m := re.fullmatch(r"w(\d+)", n))]
    return f"w{max(numbers, default=0) + 1}"
