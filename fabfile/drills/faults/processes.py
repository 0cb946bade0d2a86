"""Faults of one process: a service's instance, an agent, Caddy, Consul, the primary's orchestrator."""

from __future__ import annotations

from collections.abc import Mapping

from ...core.model.cluster import Role
from ..verdict.record import Promise
from .model import ANY_TARGET, Argument, Fault, GamedayRun

_ORCHESTRATOR = "nexus-orchestrator.service"
_AGENTS: Mapping[str, Role] = {
    "nexus-worker": "worker", "nexus-orchestrator": "manager", "nexus-balancer": "loadbalancer",
}  # fmt: skip

FAULTS = (
    Fault(
        name="kill-service",
        does="Kills the main process of one instance (SIGKILL; of a container: docker kill).",
        measures="How soon the instance runs and passes its check again.",
        target_kinds=("service", "one", "host"), default_target="one", on_service=True,
        unit="nexus-svc-{service}.service", losses=frozenset({"instances"}), in_place=True, ttl=60,
        detection="unit_restarted", recovery="steady", promise=Promise("back and passing in 10 s", 10),
        gameday_position=10,
    ),
    Fault(
        name="hang-service",
        does="Stops all processes of one instance (SIGSTOP; a container is paused): alive, and silent.",
        measures="How soon the failing check is acted upon and the instance passes again.",
        target_kinds=("service", "one", "host"), default_target="one", on_service=True,
        unit="nexus-svc-{service}.service", losses=frozenset({"instances"}), ttl=90,
        detection="instance_not_passing", recovery="steady", promise=Promise("back and passing in 30 s", 30),
        gameday_position=20,
    ),
    Fault(
        name="kill-agent",
        does="Kills one of our agents on a host (SIGKILL).",
        measures="That no service stops, and how soon the agent is back.",
        target_kinds=ANY_TARGET, default_target="one",
        arguments=(Argument("agent", "nexus-worker", "which agent", tuple(_AGENTS)),),
        role_by_value=_AGENTS, unit="{agent}.service", ttl=60,
        detection="unit_restarted", recovery="steady",
        promise=Promise("no service stops; the agent is back in 10 s", 10, failed_requests=0),
        gameday_position=30,
    ),
    Fault(
        name="kill-balancer",
        does="Kills Caddy on a load balancer (SIGKILL).",
        measures="How soon it answers users again.",
        target_kinds=("host", "one"), default_target="one", role="loadbalancer",
        unit="caddy.service", losses=frozenset({"balancer"}), in_place=True, ttl=60,
        detection="unit_restarted", recovery="steady", promise=Promise("the balancer is back in 10 s", 10),  # ours
        gameday_position=40,
    ),
    Fault(
        name="kill-consul",
        does="Kills Consul's agent on a host (SIGKILL).",
        measures="That no service stops, and how soon the agent is back.",
        target_kinds=ANY_TARGET, default_target="one",
        unit="consul.service", losses=frozenset({"quorum"}), in_place=True, ttl=60,
        detection="unit_restarted", recovery="steady",
        promise=Promise("no service stops; Consul's agent is back in 10 s", 10, failed_requests=0),
        gameday_position=50, gameday_runs=(GamedayRun(), GamedayRun("raft-leader")),
    ),
    Fault(
        name="stop-primary",
        does="Stops the primary's orchestrator as systemctl would.",
        measures="How soon a standby acts.",
        target_kinds=("primary",), default_target="primary", role="manager",
        unit=_ORCHESTRATOR, losses=frozenset({"primary"}), ttl=60,
        detection="primary_changed", recovery="steady_elsewhere", promise=Promise("a standby acts in 2 s", 2),
        gameday_position=140,
    ),
    Fault(
        name="kill-primary",
        does="Kills the primary's orchestrator (SIGKILL).",
        measures="How soon a primary acts again.",
        target_kinds=("primary",), default_target="primary", role="manager",
        unit=_ORCHESTRATOR, ttl=60,
        detection="primary_changed", recovery="steady_elsewhere", promise=Promise("a primary acts again in 5 s", 5),
        gameday_position=150,
    ),
    Fault(
        name="freeze-primary",
        does="Stops the primary's orchestrator where it stands (SIGSTOP), and wakes it later.",
        measures="How soon a standby acts, and that the woken one does nothing.",
        target_kinds=("primary",), default_target="primary", role="manager",
        unit=_ORCHESTRATOR, losses=frozenset({"primary"}), ttl=60,
        detection="primary_changed", recovery="steady_elsewhere",
        promise=Promise("a standby acts in 10 s, and on waking the old primary does nothing", 10),
        gameday_position=160,
    ),
)  # fmt: skip
