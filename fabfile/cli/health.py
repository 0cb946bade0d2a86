"""status and verify: is it well, and does it do what it should?"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit

from .base import command, inventory, print_json, say, table

if TYPE_CHECKING:  # every command loads this file: what it does not need itself must cost it nothing
    from ..core.health import Health
    from ..core.serving import Serving


@command()
def status(c: Context, inventory_: str = "", json: bool = False, debug: bool = False) -> None:
    """Show the cluster: primary, raft leader, hosts, units, services. Exit code 1 when something is wrong."""
    from ..edge.fleet import Fleet

    with Fleet(inventory(inventory_)) as fleet:
        health = assessed(fleet)
    if json:
        print_json(health.json())
    else:
        show(health)
    if health.problems:
        raise Exit(code=1)


def assessed(fleet: object) -> Health:
    """Probes every host and asks Consul."""
    from ..core.health import assess
    from ..edge.ask import ask
    from ..edge.fleet import Fleet

    assert isinstance(fleet, Fleet)  # noqa: S101  for the type checker; the import is lazy
    facts, faults = fleet.probe()
    managers = [h for h in fleet.cluster.having("manager") if h.name in facts]
    return assess(fleet.cluster, facts, {f.host: f.message for f in faults}, ask(fleet.of(managers)))


def show(health: Health) -> None:
    word = health.word
    voters = f"{len(word.voters)} of {len(health.cluster.having('manager'))} managers vote"
    primary = f"primary {word.serving.primary or '-'} (epoch {word.serving.epoch})"
    print(f"cluster {health.cluster.name}   {primary}   raft leader {word.leader or '-'}   {voters}")
    table(["host", "roles", "arch", "reachable", "consul", "units"], [
        [h.host.name, " ".join(h.host.roles), h.arch or "-", "yes" if h.reachable else "no", h.consul,
         " ".join(f"{unit.removesuffix('.service')}:{state}" for unit, state in h.units.items())]
        for h in health.hosts
    ])  # fmt: skip
    if word.serving.services:
        print()
        service_table(word.serving)
    if word.services:
        print()
        table(["others' services", "passing"], [[n, f"{p} of {i}"] for n, (p, i) in sorted(word.services.items())])
    for problem in health.problems:
        say(f"problem: {problem}")
    say("healthy" if not health.problems else "NOT healthy")


def service_table(serving: Serving) -> None:
    """Wanted, passing, where; an instance that does not pass bears its state."""
    table(["service", "wanted", "passing", "where"], [
        [s.name, "all" if s.wanted is None else str(s.wanted), str(s.passing),
         " ".join(i.host if i.passing else f"{i.host}:{i.state}" for i in s.instances) or "-"]
        for s in serving.services
    ])  # fmt: skip


@command()
def verify(c: Context, inventory_: str = "", json: bool = False, debug: bool = False) -> None:
    """Run the success criteria as checks, one line each. Exit code 1 when one fails."""
    from ..edge.fleet import Fleet
    from ..edge.verify import verify as checks

    results = []
    with Fleet(inventory(inventory_)) as fleet:
        for check in checks(fleet, assessed(fleet)):
            results.append(check)
            if not json:
                print(f"{'PASS' if check.passed else 'FAIL'}  {check.name}: {check.detail}", flush=True)
    if json:
        print_json([asdict(check) for check in results])
    if not all(check.passed for check in results):
        raise Exit(code=1)
