"""The deploy of every command: show the plan, confirm, roll out, wait for the services."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from invoke.exceptions import Exit

from ...core.errors import Several
from ...core.model.cluster import Cluster, Host
from ...core.model.service import Services
from ...core.state.moves import Step
from ...edge.deploy.draft import draft
from ...edge.deploy.observe import acl_drift, observe, published_services, refuse_if_busy
from ...edge.ssh.fleet import Fleet
from ..console.output import confirm, say
from ..views.plan_view import Progress, show_plan

if TYPE_CHECKING:
    from ...core.judge.service_health import ServicesHealth

TIMEOUT = 120.0  # seconds for services to be as wanted


def run_deploy(
    cluster: Cluster, services: Services, selected: tuple[Host, ...], *, yes: bool, adopt: bool = False, what: str,
    needed: tuple[Host, ...] | None = None, wait: bool = True,
) -> None:  # fmt: skip
    """Deploys the selected hosts; other commands use it, too (add-worker, demo).

    needed: only these must be reachable, and unreachable others are left alone (default: all selected)
    wait:   until changed services are as wanted
    """
    progress = Progress()
    with Fleet(cluster) as fleet:
        facts, faults = observe(fleet, selected if needed is None else needed)
        if faults and not any(h.name in facts for h in cluster.having("manager")):
            raise Several(faults)
        selected = tuple(h for h in selected if h.name in facts)
        refuse_if_busy(facts)
        published, drift = published_services(fleet, facts), acl_drift(fleet, facts)
        drafted = draft(cluster, services, selected, facts, faults, say, adopt, published=published, drift=drift)
        for fault in faults:
            say(f"warning: {fault.message} (left alone)")
        changing = drafted.changing
        if not drafted.changes:
            say(f"nothing changed: {len(selected)} hosts are as {cluster.source.name} says ({progress.seconds:.1f} s)")
            return
        # a run with nothing to do need not load Consul's client
        from ...edge.deploy.rollout import let_in, refuse_foreign_primary, roll_out
        from ...edge.disk.state import State

        refuse_foreign_primary(fleet, drafted)
        show_plan(drafted, diffs=not yes)
        confirm(f"Change {', '.join(changing) or 'the services and ACLs'} of cluster {cluster.name}?", yes)
        passes = [(level, Step.SETTLE) for level in drafted.levels]
        if drafted.moving and cluster.firewall:
            moves = [(level, Step.MOVE) for level in drafted.levels]
            passes = [(drafted.levels[0], Step.LET_IN), *moves, (drafted.levels[-1], Step.SETTLE)]
        for level, step in passes:
            if len(drafted.levels) > 1:
                say(f"security level {level} of {drafted.levels[-1]}")
            if len(passes) > 1:
                facts, faults = observe(fleet, selected)
                published = published_services(fleet, facts)
            stage = draft(cluster, services, selected, facts, faults, say, adopt, level, published, drift, step)
            if step is Step.LET_IN:
                let_in(fleet, stage, what, progress)
            else:
                roll_out(fleet, stage, what, progress)
        if drafted.service_changes and wait:
            wait_for_services(fleet, services)
            State(cluster.state).keep_verified(time.time())  # log lines until now belong to the deploy
    say(f"deployed: {len(changing)} of {len(selected)} hosts changed, verified ({progress.seconds:.1f} s)")


def wait_for_services(fleet: Fleet, services: Services, names: set[str] | None = None) -> None:
    """Waits until the services are as services.yml says. Exit code 1, with the next step, when they are not in time."""
    from ...edge.consul.service_operations import wait_until_settled

    wanted = {s.name for s in services}

    def lists_all(health: ServicesHealth) -> bool:
        return wanted <= {s.name for s in health.services}

    if wait_until_settled(fleet, names, TIMEOUT, lambda text: say(f"services: {text}"), lists_all):
        say("services: as wanted")
        return
    say("error: not all services are as wanted")
    say("hint: inv service.list; inv events; inv service.logs NAME")
    raise Exit(code=1)
