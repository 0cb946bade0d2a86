"""The deploy as every command runs it: shown, confirmed, rolled out, and its services waited for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from invoke.exceptions import Exit

from ...core.errors import Several
from ...core.model.cluster import Cluster, Host
from ...core.model.service import Services
from ...edge.deploy.draft import draft, observe, refuse_if_busy, told
from ...edge.ssh.fleet import Fleet
from ..console.output import confirm, say
from ..views.plan_view import Progress, show_plan

if TYPE_CHECKING:
    from ...core.judge.service_health import ServicesHealth

PATIENCE = 120.0  # seconds for services to become what is wanted


def run_deploy(
    cluster: Cluster, offered: Services, selected: tuple[Host, ...], *, yes: bool, adopt: bool = False, what: str,
    needed: tuple[Host, ...] | None = None, wait: bool = True,
) -> None:  # fmt: skip
    """The deploy as other commands use it, too (add-worker, demo). With `needed`, only these must be reachable: of the
    other selected hosts, those that are. `wait`: for services that changed to be as wanted."""
    progress = Progress()
    with Fleet(cluster) as fleet:
        facts, faults = observe(fleet, selected if needed is None else needed)
        if faults and not any(h.name in facts for h in cluster.having("manager")):
            raise Several(faults)
        selected = tuple(h for h in selected if h.name in facts)
        refuse_if_busy(facts)
        known = told(fleet, facts)
        made = draft(cluster, offered, selected, facts, faults, say, adopt, told=known)
        for fault in faults:
            say(f"warning: {fault.message} (left alone)")
        changing = made.changing
        if not made.changes:
            say(f"nothing changed: {len(selected)} hosts are as {cluster.source.name} says ({progress.seconds:.1f} s)")
            return
        # Consul's client is not for a run with nothing to do
        from ...edge.deploy.rollout import refuse_foreign_primary, roll_out
        from ...edge.disk.state import State

        refuse_foreign_primary(fleet, made)
        show_plan(made, diffs=not yes)
        confirm(f"Change {', '.join(changing) or 'the services and ACLs'} of cluster {cluster.name}?", yes)
        for step in made.steps:
            if len(made.steps) > 1:
                say(f"security level {step} of {made.steps[-1]}")
                facts, faults = observe(fleet, selected)
            roll_out(fleet, draft(cluster, offered, selected, facts, faults, say, adopt, step, known), what, progress)
        if made.service_changes and wait:
            wait_for_services(fleet, offered)
            State(cluster.state).keep_verified(time.time())  # what was logged until now belongs to the deploy
    say(f"deployed: {len(changing)} of {len(selected)} hosts changed, verified ({progress.seconds:.1f} s)")


def wait_for_services(fleet: Fleet, offered: Services, names: set[str] | None = None) -> None:
    """Until they are what services.yml says; exit code 1 with the next step when they are not in time."""
    from ...edge.consul.service_operations import settle

    due = {s.name for s in offered}

    def fresh(now: ServicesHealth) -> bool:
        return due <= {s.name for s in now.services}

    if settle(fleet, names, PATIENCE, lambda text: say(f"services: {text}"), fresh):
        say("services: as wanted")
        return
    say("error: not all services are as wanted")
    say("hint: inv service.list; inv events; inv service.logs NAME")
    raise Exit(code=1)
