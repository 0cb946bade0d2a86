"""service.*: list, deploy, scale, stop, restart and read the services of services.yml."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit

from ...core.config.fault import shown
from ...core.errors import HostError, InputError
from ...core.model.cluster import Cluster
from ..console.command import command
from ..console.inputs import load_with_services
from ..console.output import confirm, print_json, say, show_errors

if TYPE_CHECKING:
    from ...core.model.service import Services


@command(name="list")
def list_(c: Context, inventory_: str = "", json: bool = False, debug: bool = False) -> None:
    """Show the services: wanted, passing, hosts. Exit code 1 when one lacks an instance."""
    from ...edge.consul.overview import services_health
    from ...edge.consul.service_operations import managers
    from ...edge.ssh.fleet import Fleet
    from ..views.health_view import kept_off_lines, service_table

    cluster, _ = load_with_services(inventory_)
    with Fleet(cluster) as fleet:
        health = services_health(managers(fleet))
    if json:
        print_json([s.json() for s in health.services])
    else:
        service_table(health)
        for service in health.services:
            for instance in service.instances:
                if instance.note:
                    say(f"{service.name} on {instance.host}: {instance.note}")
        for line in kept_off_lines(health):
            say(line)
    if not all(s.settled for s in health.services):
        raise Exit(code=1)


@command(help={"name": "which service to wait for (default: all)"})
def deploy(c: Context, name: str = "", inventory_: str = "", yes: bool = False, debug: bool = False) -> None:
    """Apply services.yml to the cluster, and wait until all services are as wanted."""
    cluster, services = load_with_services(inventory_)
    _require_service(services, name)
    _publish(cluster, services, yes, f"service.deploy{f' --name {name}' if name else ''}")
    _wait(cluster, services, {name} if name else None)


@command(positional=["name", "count"], help={"name": "the service", "count": "how many instances, at most one a host"})
def scale(c: Context, name: str, count: str, inventory_: str = "", yes: bool = False, debug: bool = False) -> None:
    """Set a service's replicas in services.yml, apply it, and wait until it is as wanted."""
    if not re.fullmatch(r"[0-9]{1,9}", count):
        raise InputError([f"{shown(count)}: is not a number of instances"], f"inv service.scale {name} 3")
    cluster, _ = load_with_services(inventory_)
    _scale(cluster, name, int(count), yes)


@command(positional=["name"], help={"name": "the service"})
def stop(c: Context, name: str, inventory_: str = "", yes: bool = False, debug: bool = False) -> None:
    """Stop a service everywhere: `replicas: 0` in services.yml. `service.scale` brings it back."""
    cluster, services = load_with_services(inventory_)
    _require_service(services, name)
    confirm(f"Stop {name} on all hosts of {cluster.name}?", yes)
    _scale(cluster, name, 0, yes)


def _scale(cluster: Cluster, name: str, count: int, yes: bool) -> None:
    from ...edge.disk.services import FILE, load, set_replicas
    from ..flows.kept_edit import undone_on_failure

    file = cluster.source.parent / FILE
    with undone_on_failure(lambda: set_replicas(file, name, count)):
        services = load(cluster)
        _publish(cluster, services, yes, f"service.scale {name} {count}")
    _wait(cluster, services, {name})  # the cluster has the new number by now, however this ends


def _require_service(services: Services, name: str) -> None:
    """InputError: services.yml has no service of this name. An empty name stands for all."""
    from ...core.config.schema import nearest
    from ...edge.disk.services import FILE

    names = [s.name for s in services]
    if name and name not in names:
        suggestion = nearest(name, names)
        raise InputError([f"{name} is not in {FILE}" + (f"; {suggestion}" if suggestion else "")], "inv service.list")


def _publish(cluster: Cluster, services: Services, yes: bool, what: str) -> None:
    """Deploys to the reachable hosts: services must scale while a host is dead. It follows with the next deploy."""
    from ..flows.deploy import run_deploy

    run_deploy(cluster, services, cluster.hosts, yes=yes, what=what, needed=(), wait=False)


def _wait(cluster: Cluster, services: Services, names: set[str] | None) -> None:
    from ...edge.ssh.fleet import Fleet
    from ..flows.deploy import wait_for_services

    with Fleet(cluster) as fleet:
        wait_for_services(fleet, services, names)


@command(positional=["name"], help={"name": "the service"})
def restart(c: Context, name: str, inventory_: str = "", yes: bool = False, debug: bool = False) -> None:
    """Restart a service's instances one at a time, each out of the balancer first; the next only when it passes."""
    from ...edge.consul.service_operations import health_of
    from ...edge.consul.service_operations import restart as restart_instance
    from ...edge.ssh.fleet import Fleet

    cluster, _ = load_with_services(inventory_)
    with Fleet(cluster) as fleet:
        hosts = [i.host for i in health_of(fleet, name).instances]
        confirm(f"Restart {name} on {', '.join(hosts) or 'no host'}, one at a time?", yes)
        for host in hosts:
            restart_instance(fleet, name, host, 60.0)
            say(f"{name} on {host}: restarted, passing")
    say(f"{name}: {len(hosts)} of {len(hosts)} restarted")


@command(
    positional=["name"],
    help={"name": "the service", "follow": "go on with new lines until Ctrl-C", "lines": "how many lines (default: 100)"},
)
def logs(c: Context, name: str, follow: bool = False, lines: int = 100, inventory_: str = "", debug: bool = False) -> None:
    """Show a service's own output from all hosts, by time; each line starts with its host."""
    from ...edge.consul import service_operations
    from ...edge.ssh.fleet import Fleet

    cluster, _ = load_with_services(inventory_)
    workers = cluster.having("worker")
    if not workers:
        raise InputError([f"{cluster.source.name}: no host has the role worker, so no service runs"],
                         "give one of them the role, or: inv add-worker ADDRESS")  # fmt: skip
    with Fleet(cluster, workers) as fleet:
        width = max(len(h.name) for h in workers)
        entries, faults = service_operations.logs(fleet, name, lines)
        for host, line in entries:
            print(f"{host:<{width}}  {line}")
        show_errors(*faults)
        if not entries and not follow:
            raise HostError(name, "no host has a line of it", "inv service.list names what runs")
        if follow:
            service_operations.follow(fleet, name, lambda host, line: print(f"{host:<{width}}  {line}", flush=True))
