"""trust and add-worker: pin the SSH keys of hosts, and add a worker to the cluster."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit

from ...core.config.fault import dotted, shown
from ...core.errors import HostError, InputError, Refused
from ...core.model.cluster import Cluster
from ..console.command import command
from ..console.inputs import load_inventory, load_with_services, select_hosts
from ..console.output import say, show_errors

if TYPE_CHECKING:
    from ...core.model.service import Services
    from ...edge.disk.text_edit import Edit


@command(help={"replace": "drop the pinned key, when the host was reinstalled",
               "fingerprint": "pin only the key with this fingerprint (SHA256:…)"})  # fmt: skip
def trust(
    c: Context, hosts: str = "all", inventory_: str = "", replace: bool = False, fingerprint: str = "",
    yes: bool = False, debug: bool = False,
) -> None:  # fmt: skip
    """Show the hosts' SSH key fingerprints and pin them in known_hosts when confirmed. One that fails stops no other."""
    from ..flows.host_keys import pin

    cluster = load_inventory(inventory_)
    failed: list[str] = []
    for host in select_hosts(cluster, hosts):
        try:
            pin(cluster, host, fingerprint=fingerprint, yes=yes, replace=replace)
        except (HostError, Refused) as error:
            show_errors(error)
            failed.append(host.name)
    if failed:
        say(f"not pinned: {', '.join(failed)}")
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
    from ...edge.disk.inventory import add_host
    from ..flows.kept_edit import undone_on_failure

    cluster, _ = load_with_services(inventory_, warn=False)  # the second load, with the new host, prints the warnings
    chosen = [name]

    def choose(now: Cluster) -> str:
        """On the file as it is when it is written: another add-worker may be at work."""
        if any(h.ssh == address and (h.port or 22) == (port or 22) for h in now.hosts):
            raise InputError([f"{address} is in {cluster.source.name} already"], "inv deploy brings it up to date")
        chosen[0] = name or next_name(now)
        return chosen[0]

    def add() -> Edit:
        try:
            return add_host(cluster.source, choose, fields)
        except InputError as error:
            raise as_option_faults(error, cluster.source.name, chosen[0]) from None

    fields = {"ssh": address, "roles": ["worker"], "user": user or None, "port": port or None, "gateway": gateway or None}
    with undone_on_failure(add):
        _join(*load_with_services(inventory_), chosen[0], fingerprint=fingerprint, yes=yes)
    say(f"{chosen[0]} ({address}) is a worker of {cluster.name}")


def _join(cluster: Cluster, services: Services, name: str, *, fingerprint: str, yes: bool) -> None:
    from ..flows.deploy import run_deploy
    from ..flows.host_keys import pin

    host = cluster.host(name)
    pin(cluster, host, fingerprint=fingerprint, yes=yes)
    # all hosts: the firewalls of the others must admit the new one
    run_deploy(cluster, services, cluster.hosts, yes=yes, what=f"add-worker {host.ssh}", needed=(host,))


def as_option_faults(error: InputError, file: str, name: str) -> InputError:
    """Names the options instead of a line of hosts.yml: the new line is not in the file yet."""
    prefix = re.compile(rf"{re.escape(file)}:(?:\d+:)? hosts\.{re.escape(dotted((name,)))}(?:\.(\w+))?: ")
    flags = {None: f"--name {shown(name)}: ", "ssh": "ADDRESS: "}
    faults = [prefix.sub(lambda m: flags.get(m[1], f"--{m[1]}: "), fault) for fault in error.faults]
    return InputError(faults, "inv --help add-worker" if faults != list(error.faults) else error.hint)


def next_name(cluster: Cluster) -> str:
    """The next free number after the workers' names: w3 after w1 and w2."""
    taken = {h.name for h in cluster.hosts}
    numbers = [int(m[1]) for n in taken if (m := re.fullmatch(r"w(\d+)", n))]
    return f"w{max(numbers, default=0) + 1}"
