"""service.*: what runs on the cluster. The wish is services.yml; these commands bring it about and look at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit

from ...core.errors import HostError, InputError
from ...core.model.cluster import Cluster
from ..console.command import command
from ..console.inputs import with_services
from ..console.output import complain, confirm, print_json, say

if TYPE_CHECKING:
    from ...core.model.service import Services


@command(name="list")
def list_(c: Context, inventory_: str = "", json: bool = False, debug: bool = False) -> None:
    """Show the services: wanted, passing, where. Exit code 1 when one lacks an instance."""
    from ...edge.consul.overview import services_health
    from ...edge.consul.service_operations import managers
    from ...edge.ssh.fleet import Fleet
    from ..views.health_view import service_table

    cluster, _ = with_services(inventory_)
    with Fleet(cluster) as fleet:
        found = services_health(managers(fleet))
    if json:
        print_json([s.json() for s in found.services])
    else:
        service_table(found)
        for service in found.services:
            for instance in service.instances:
                if instance.note:
                    say(f"{service.name} on {instance.host}: {instance.note}")
    if not all(s.settled for s in found.services):
        raise Exit(code=1)


@command(help={"name": "which service to wait for (default: all)"})
def deploy(c: Context, name: str = "", inventory_: str = "", yes: bool = False, debug: bool = False) -> None:
    """Bring the cluster to what services.yml says, and wait until it is so."""
    cluster, offered = with_services(inventory_)
    _known(offered, name)
    _bring_about(cluster, offered, {name} if name else None, yes, f"service.deploy{f' --name {name}' if name else ''}")


@command(positional=["name", "count"], help={"name": "the service", "count": "how many instances, at most one a host"})
def scale(c: Context, name: str, count: str, inventory_: str = "", yes: bool = False, debug: bool = False) -> None:
    """Set a service's replicas in services.yml, bring it about, and wait until it is so."""
    if not count.isdecimal():
        raise InputError([f"{count}: is not a number of instances"], f"inv service.scale {name} 3")
    cluster, _ = with_services(inventory_)
    _scale(cluster, name, int(count), yes)


@command(positional=["name"], help={"name": "the service"})
def stop(c: Context, name: str, inventory_: str = "", yes: bool = False, debug: bool = False) -> None:
    """Stop a service everywhere: `replicas: 0` in services.yml. `service.scale` brings it back."""
    cluster, offered = with_services(inventory_)
    _known(offered, name)
    confirm(f"Stop {name} on all hosts of {cluster.name}?", yes)
    _scale(cluster, name, 0, yes)


def _scale(cluster: Cluster, name: str, count: int, yes: bool) -> None:
    from ...edge.disk.services import FILE, load, restore, set_replicas

    file = cluster.source.parent / FILE
    old = set_replicas(file, name, count)
    reached = False
    try:
        _bring_about(cluster, load(cluster), {name}, yes, f"service.scale {name} {count}")
        reached = True
    except Exit:
        reached = True  # it is wanted, and on its way
        raise
    finally:
        if not reached:
            restore(file, old)
            say(f"{file.name} is as it was")


def _known(offered: Services, name: str) -> None:
    from ...core.config.schema import nearest
    from ...edge.disk.services import FILE

    names = [s.name for s in offered]
    if name and name not in names:
        near = nearest(name, names)
        raise InputError([f"{name} is not in {FILE}" + (f"; {near}" if near else "")], "inv service.list")


def _bring_about(cluster: Cluster, offered: Services, names: set[str] | None, yes: bool, what: str) -> None:
    """With whoever can be reached: a dead host is when services must be scaled, and it follows with the next deploy."""
    from ...edge.ssh.fleet import Fleet
    from ..flows.deploy import run_deploy, wait_for_services

    run_deploy(cluster, offered, cluster.hosts, yes=yes, what=what, needed=(), wait=False)
    with Fleet(cluster) as fleet:
        wait_for_services(fleet, offered, names)


@command(positional=["name"], help={"name": "the service"})
def restart(c: Context, name: str, inventory_: str = "", yes: bool = False, debug: bool = False) -> None:
    """Restart a service's instances one at a time, each out of the balancer first; the next only when it passes."""
    from ...edge.consul.service_operations import restart as one
    from ...edge.consul.service_operations import state_of
    from ...edge.ssh.fleet import Fleet

    cluster, _ = with_services(inventory_)
    with Fleet(cluster) as fleet:
        hosts = [i.host for i in state_of(fleet, name).instances]
        confirm(f"Restart {name} on {', '.join(hosts) or 'no host'}, one at a time?", yes)
        for host in hosts:
            one(fleet, name, host, 60.0)
            say(f"{name} on {host}: restarted, passing")
    say(f"{name}: {len(hosts)} of {len(hosts)} restarted")


@command(
    positional=["name"],
    help={"name": "the service", "follow": "go on with new lines until Ctrl-C", "lines": "how many lines (default: 100)"},
)
def logs(c: Context, name: str, follow: bool = False, lines: int = 100, inventory_: str = "", debug: bool = False) -> None:
    """Show a service's own output from all hosts, by time; each line behind its host."""
    from ...edge.consul import service_operations as serve
    from ...edge.ssh.fleet import Fleet

    cluster, _ = with_services(inventory_)
    workers = cluster.having("worker")
    if not workers:
        raise InputError([f"{cluster.source.name}: no host has the role worker, so no service runs"],
                         "give one of them the role, or: inv add-worker ADDRESS")  # fmt: skip
    with Fleet(cluster, workers) as fleet:
        width = max(len(h.name) for h in workers)
        found, faults = serve.logs(fleet, name, lines)
        for host, line in found:
            print(f"{host:<{width}}  {line}")
        complain(*faults)
        if not found and not follow:
            raise HostError(name, "no host has a line of it", "inv service.list names what runs")
        if follow:
            serve.follow(fleet, name, lambda host, line: print(f"{host:<{width}}  {line}", flush=True))
