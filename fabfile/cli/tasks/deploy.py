"""detect, plan, deploy, rollback, unlock: the commands of the deploy."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit

from ...core.model.cluster import Host
from ..console.command import command
from ..console.inputs import load_inventory, load_with_services, select_hosts
from ..console.output import confirm, print_json, say, show_errors, table

if TYPE_CHECKING:
    from ...core.state.facts import Facts


_ADOPT = "take over a running cluster of this name whose state folder was lost"


@command()
def detect(c: Context, hosts: str = "all", inventory_: str = "", json: bool = False, debug: bool = False) -> None:
    """Show what each host is: architecture, OS, memory, disk, Python, clock. Changes nothing."""
    from ...edge.ssh.fleet import Fleet

    cluster = load_inventory(inventory_)
    with Fleet(cluster, select_hosts(cluster, hosts)) as fleet:
        facts, faults = fleet.probe()
        now = time.time()
    if json:
        reachable = [_fact_json(cluster.host(n), f, now) for n, f in facts.items()]
        unreachable = [{"name": f.host, "reachable": False, "error": f.message, "hint": f.hint} for f in faults]
        print_json({"hosts": reachable + unreachable})
    elif facts:
        columns = ["host", "arch", "os", "address", "cpu", "memory", "disk", "python", "systemd", "docker", "clock"]
        table(columns, [_fact_row(n, f, now) for n, f in facts.items()])
    show_errors(*faults)
    unsupported = [n for n, f in facts.items() if f.arch is None]
    for name in unsupported:
        say(f"error: {name}: its architecture {facts[name].machine} is not supported (amd64, arm64, armv7 are)")
    if faults or unsupported:
        raise Exit(code=1)


def _fact_json(host: Host, fact: Facts, now: float) -> dict[str, object]:
    return {
        "name": host.name, "roles": host.roles, "reachable": True, "arch": fact.arch, "machine": fact.machine,
        "os": fact.os_name, "addresses": [ip for _, ip in fact.addresses],
        "address": host.address or fact.default_address(),
        "cpus": fact.cpus, "memory_mb": fact.memory_kb // 1024, "disk_free_mb": fact.disk_kb // 1024,
        "python": ".".join(map(str, fact.python)), "systemd": fact.systemd, "docker": fact.docker,
        "clock_offset_s": round(fact.now - now, 1), "root": True,
    }  # fmt: skip


def _fact_row(name: str, fact: Facts, now: float) -> list[str]:
    return [
        name, fact.arch or f"{fact.machine}?", f"{fact.os_id} {fact.os_version}", fact.default_address() or "-",
        str(fact.cpus),
        f"{fact.memory_kb / 1048576:.1f}G", f"{fact.disk_kb / 1048576:.0f}G",
        ".".join(map(str, fact.python[:2])) or "none", str(fact.systemd or "none"),
        fact.docker, f"{fact.now - now:+.1f}s",
    ]  # fmt: skip


@command(help={"brief": "name what changes, without the diffs", "adopt": _ADOPT})
def plan(
    c: Context, hosts: str = "all", inventory_: str = "", json: bool = False, brief: bool = False, adopt: bool = False,
    debug: bool = False,
) -> None:  # fmt: skip
    """Show what deploy would change, as diffs. Exit code 0: nothing, 2: changes, 1: error."""
    from ...edge.deploy.draft import draft
    from ...edge.deploy.observe import acl_drift, observe, published_services
    from ...edge.ssh.fleet import Fleet
    from ..views.plan_view import plan_json, show_plan

    cluster, services = load_with_services(inventory_)
    selected = select_hosts(cluster, hosts)
    with Fleet(cluster) as fleet:
        facts, faults = observe(fleet, selected)
        published, drift = published_services(fleet, facts), acl_drift(fleet, facts)
        drafted = draft(cluster, services, selected, facts, faults, say, adopt, published=published, drift=drift)
    if json:
        print_json(plan_json(drafted, not brief))
    else:
        show_plan(drafted, not brief)
    if drafted.changes:
        raise Exit(code=2)


@command(help={"adopt": _ADOPT})
def deploy(
    c: Context, hosts: str = "all", inventory_: str = "", yes: bool = False, adopt: bool = False, debug: bool = False
) -> None:
    """Bring the hosts to what hosts.yml says: shows the plan, asks, applies it in safe waves, verifies."""
    from ..flows.deploy import run_deploy

    cluster, services = load_with_services(inventory_)
    selected = select_hosts(cluster, hosts)
    run_deploy(cluster, services, selected, yes=yes, adopt=adopt, what=f"deploy --hosts {hosts}")


@command()
def rollback(c: Context, hosts: str = "all", inventory_: str = "", yes: bool = False, debug: bool = False) -> None:
    """Restore the previous generation on the hosts that have one."""
    from ...edge.deploy.draft import rollback_draft
    from ...edge.deploy.observe import observe, refuse_if_busy
    from ...edge.deploy.rollout import refuse_foreign_primary, roll_out
    from ...edge.ssh.fleet import Fleet
    from ..views.plan_view import Progress, show_plan

    cluster = load_inventory(inventory_)
    selected = select_hosts(cluster, hosts)
    progress = Progress()
    with Fleet(cluster) as fleet:
        facts, faults = observe(fleet, selected, previous=True)
        refuse_if_busy(facts)
        drafted = rollback_draft(cluster, selected, facts, faults)
        for host in selected:
            if host.name not in drafted.plans:
                say(f"{host.name}: has no generation before this one")
        refuse_foreign_primary(fleet, drafted)
        show_plan(drafted)
        if not drafted.changes:
            say("nothing to roll back")
            return
        confirm(f"Put back the generation before on {', '.join(drafted.plans)}?", yes)
        roll_out(fleet, drafted, f"rollback --hosts {hosts}", progress)
    say(f"rolled back: {', '.join(drafted.plans)} ({progress.seconds:.1f} s); the next deploy would undo this")


@command()
def unlock(c: Context, inventory_: str = "", yes: bool = False, debug: bool = False) -> None:
    """Remove the lock that a dead deploy or drill has left. Names its holder and asks."""
    from ...edge.deploy.lock import busy, release
    from ...edge.ssh.fleet import Fleet

    cluster = load_inventory(inventory_)
    with Fleet(cluster) as fleet:
        facts, faults = fleet.probe()
        show_errors(*faults)
        locks = {fact.lock.id: fact.lock for fact in facts.values() if fact.lock}
        for lock in locks.values():
            say(busy(lock).message)
        if locks:
            confirm("Take this lock away? A deploy that still runs would go on.", yes)
        not_released = [fault for id_ in locks for fault in release(fleet.of([cluster.host(n) for n in facts]), id_)]
        show_errors(*not_released)
    result = "the lock is gone" if locks else "no lock stands"
    unknown = {fault.host for fault in (*faults, *not_released)}
    if not unknown:
        say(result)
        return
    answered = ", ".join(name for name in facts if name not in unknown)
    say(f"{result} on {answered}; what the others have is not known" if answered else "no host answered")
    raise Exit(code=1)
