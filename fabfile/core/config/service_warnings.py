"""Warnings: entries of services.yml that are allowed, but that their writer hardly means on these hosts. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ..model.cluster import Cluster
from ..model.service import Service, Services
from .fault import Fault
from .service_texts import for_a_shell


def warnings(services: Services, cluster: Cluster) -> tuple[str, ...]:
    """Each is `services.yml:LINE: services.NAME.KEY: …`, in the file's order."""
    source = services.source.name if services.source else "services.yml"
    return tuple(
        Fault(("services", service.name, *key), message, service.line).render(source)
        for service in services
        for key, message in _doubts(service, cluster)
    )


def _doubts(service: Service, cluster: Cluster) -> Iterator[tuple[tuple[str, ...], str]]:
    fit, count = sum(map(service.fits, cluster.hosts)), service.replicas
    if not cluster.having("worker"):
        yield (), "no host has the role worker, so it runs nowhere"
    elif not fit:
        labels = ", ".join(f"{key}: {value}" for key, value in service.labels.items())
        yield ("labels",), f"no worker has {{{labels}}}, so it runs nowhere"
    elif not count.all and count.max > fit:
        those = "worker" if fit == 1 else "workers"
        reason = "has the labels" if fit == 1 else "have the labels"
        there = f"{fit} {those} {reason}" if service.labels else f"there {'is' if fit == 1 else 'are'} {fit} {those}"
        limit = f"up to {count.max}" if count.cpu is not None else str(count.max)
        yield ("replicas",), f"{limit} wanted, but {there}, and a host runs one instance of a service: {fit} at most"
    if service.image is None and service.command and (item := for_a_shell(service.command)):
        yield ("command",), f"{item} reaches the program as it stands, for no shell runs it; for one: [sh, -c, '…']"
    if not count.all and count.max == 0:
        yield ("replicas",), "0, so it runs nowhere"
    if service.domain and not cluster.having("loadbalancer"):
        yield ("domain",), f"no host has the role loadbalancer, so nothing answers for {service.domain}"
