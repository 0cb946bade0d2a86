"""trust and add-worker: how a host comes in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit

from ...core.config.yaml_tree import dotted, shown
from ...core.errors import HostError, InputError, Refused
from ...core.model.cluster import Cluster
from ..console.command import command
from ..console.inputs import chosen, inventory, with_services
from ..console.output import complain, say

if TYPE_CHECKING:
    from ...core.model.service import Services


@command(help={"replace": "drop the pinned key, when the host was reinstalled",
               "fingerprint": "pin only the key with this fingerprint (SHA256:…)"})  # fmt: skip
def trust(
    c: Context, hosts: str = "all", inventory_: str = "", replace: bool = False, fingerprint: str = "",
    yes: bool = False, debug: bool = False,
) -> None:  # fmt: skip
    """Show the hosts' SSH key fingerprints and pin them in known_hosts when confirmed. One that fails stops no other."""
    from ..flows.host_keys import pin

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
    from ...edge.disk.inventory import add_host, restore

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
    from ..flows.deploy import run_deploy
    from ..flows.host_keys import pin

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
