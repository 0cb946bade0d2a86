"""status and verify: the cluster's health, and the success criteria as checks."""

from __future__ import annotations

from dataclasses import asdict

from invoke.context import Context
from invoke.exceptions import Exit

from ..console.command import command
from ..console.inputs import load_inventory
from ..console.output import print_json


@command()
def status(c: Context, inventory_: str = "", json: bool = False, debug: bool = False) -> None:
    """Show the cluster: primary, raft leader, hosts, units, services. Exit code 1 when something is wrong."""
    from ...edge.consul.overview import assess_cluster
    from ...edge.ssh.fleet import Fleet
    from ..views.health_view import show

    with Fleet(load_inventory(inventory_)) as fleet:
        health = assess_cluster(fleet)
    if json:
        print_json(health.json())
    else:
        show(health)
    if health.problems:
        raise Exit(code=1)


@command()
def verify(c: Context, inventory_: str = "", json: bool = False, debug: bool = False) -> None:
    """Run the success criteria as checks, one line each. Exit code 1 when one fails."""
    from ...edge.consul.overview import assess_cluster
    from ...edge.consul.verify import verify as checks
    from ...edge.ssh.fleet import Fleet

    results = []
    with Fleet(load_inventory(inventory_)) as fleet:
        for check in checks(fleet, assess_cluster(fleet)):
            results.append(check)
            if not json:
                print(f"{'PASS' if check.passed else 'FAIL'}  {check.name}: {check.detail}", flush=True)
    if json:
        print_json([asdict(check) for check in results])
    if not all(check.passed for check in results):
        raise Exit(code=1)
