"""The cluster's health on the screen: hosts, units, services, problems."""

from __future__ import annotations

from ...core.judge.health import Health
from ...core.judge.service_health import ServicesHealth
from ..console.output import say, table


def show(health: Health) -> None:
    status = health.consul
    voters = f"{len(status.voters)} of {len(health.cluster.having('manager'))} managers vote"
    primary = f"primary {status.services_health.primary or '-'} (epoch {status.services_health.epoch})"
    print(f"cluster {health.cluster.name}   {primary}   raft leader {status.leader or '-'}   {voters}")
    table(["host", "roles", "arch", "reachable", "consul", "units"], [
        [h.host.name, " ".join(h.host.roles), h.arch or "-", "yes" if h.reachable else "no", h.consul,
         " ".join(f"{unit.removesuffix('.service')}:{state}" for unit, state in h.units.items())]
        for h in health.hosts
    ])  # fmt: skip
    if status.services_health.services:
        print()
        service_table(status.services_health)
    if status.foreign_services:
        print()
        table(["others' services", "passing"], [[n, f"{p} of {i}"] for n, (p, i) in sorted(status.foreign_services.items())])
    for line in (*kept_off_lines(status.services_health), *health.notes):
        say(f"note: {line}")
    for problem in health.problems:
        say(f"problem: {problem}")
    say("healthy" if not health.problems else "NOT healthy")


def kept_off_lines(services_health: ServicesHealth) -> list[str]:
    """Where services could not live, and why: they run elsewhere, so it is no problem of the cluster's."""
    return [f"{s.name} is kept off {host} for now: {why}" for s in services_health.services for host, why in s.kept_off]


def service_table(services_health: ServicesHealth) -> None:
    """Wanted and passing instances and their hosts; an instance that does not pass is shown with its state."""
    table(["service", "wanted", "passing", "where"], [
        [s.name, "all" if s.wanted is None else str(s.wanted), str(s.passing),
         " ".join(i.host if i.passing else f"{i.host}:{i.state}" for i in s.instances) or "-"]
        for s in services_health.services
    ])  # fmt: skip
