"""Faults of what a host offers to what runs on it: disk, processors, memory, clock, Docker, configuration files.

All numbers promised here are ours.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...core.model.cluster import Role
from ..verdict.record import Promise
from .model import ANY_TARGET, SINGLE_HOST, Argument, Fault, SpecialCase, steady_after_undo

_CONSUL_CONFIG = "/etc/consul.d/consul.hcl"
_CONFIGS: Mapping[str, Role] = {
    "/etc/nexus/worker.json": "worker", "/etc/nexus/orchestrator.json": "manager",
    "/etc/nexus/balancer.json": "loadbalancer",
}  # fmt: skip

# An agent reads its file when it starts: it is restarted, and cannot start until the undo.
_AGENT_CASES = tuple(
    SpecialCase(
        path.rpartition("/")[2].removesuffix(".json"), ("path", path), f"of {path}",
        Promise(f"{goes_on}; the agent is back, and all steady, within 10 s of the undo", 10, failed_requests=0),
        "unit_restarted", "steady_after",
    )
    for path, goes_on in (
        ("/etc/nexus/worker.json", "no service stops"), ("/etc/nexus/orchestrator.json", "a standby acts, no service stops"),
        ("/etc/nexus/balancer.json", "users get their answers"),
    )
)  # fmt: skip

FAULTS = (
    Fault(
        name="fill-disk",
        does="Fills the disk of /var/lib/nexus but for a little; refused in a container, whose disk is shared.",
        measures="That what runs goes on, and how soon all is steady once there is room.",
        target_kinds=ANY_TARGET, default_target="one",
        arguments=(Argument("leave", "20", "what is left free", low=1, high=1000000, unit="MB"),),
        needs=("fallocate",), losses=frozenset({"quorum"}), ttl=120, hold=30,
        detection="none", recovery="steady_after", promise=steady_after_undo(30),
        gameday_position=90,
    ),
    Fault(
        name="burn-cpu",
        does="Keeps the processors of a host busy.",
        measures="That nobody is taken for dead by mistake, and how soon all is steady afterwards.",
        target_kinds=ANY_TARGET, default_target="one",
        arguments=(Argument("cores", "all", "how many busy loops, one for each core or so many", ("all",), 1, 256),),
        ttl=120, hold=30,
        detection="none", recovery="steady_after", promise=steady_after_undo(30),
        gameday_position=70,
    ),
    Fault(
        name="eat-memory",
        does="Takes memory of a host; 64 MB are always left.",
        measures="That nobody is killed or taken for dead, and how soon all is steady afterwards.",
        target_kinds=ANY_TARGET, default_target="one",
        arguments=(Argument("mb", "256", "how much", low=1, high=1000000, unit="MB"),),
        needs=("python3",), ttl=120, hold=30,
        detection="none", recovery="steady_after", promise=steady_after_undo(30),
        gameday_position=80,
    ),
    Fault(
        name="skew-clock",
        does="Sets a host's clock forth or back; refused in a container, whose clock is shared.",
        measures="That neither leases nor certificates nor services mind, and how soon all is steady afterwards.",
        target_kinds=SINGLE_HOST, default_target="one",
        arguments=(Argument("seconds", "60", "how far; a negative number sets it back", (), -86400, 86400, "seconds"),),
        needs=("clock",), ttl=120, hold=30,
        detection="none", recovery="steady_after", promise=steady_after_undo(30),
        gameday_position=100,
    ),
    Fault(
        name="stop-docker",
        does="Stops Docker and its socket on a worker where a service runs in a container. All containers there end.",
        measures="How soon the containers that ran there run and pass their checks again.",
        target_kinds=("service",), default_target="service:NAME", containers_only=True, ends_containers=True,
        needs=("docker",), role="worker",
        unit="nexus-svc-{service}.service", losses=frozenset({"instances"}), in_place=True, ttl=120,
        detection="unit_restarted", recovery="steady",
        promise=Promise("services in containers are back and passing in 30 s", 30),
        gameday_position=130,
    ),
    Fault(
        name="corrupt-config",
        does="Breaks a configuration file and has its program read it: Consul reloads, an agent restarts.",
        measures="That Consul goes on, nothing stops for lack of an agent, and how soon all is steady after the undo.",
        target_kinds=SINGLE_HOST, default_target="one",
        arguments=(Argument("path", _CONSUL_CONFIG, "which file", (_CONSUL_CONFIG, *_CONFIGS)),),
        role_by_value=_CONFIGS, file="{path}", unit="consul.service", ttl=120,
        unit_by_value={path: f"nexus-{path.rpartition('/')[2].removesuffix('.json')}.service" for path in _CONFIGS},
        detection="config_differs", recovery="steady_after",
        promise=Promise("Consul refuses it and runs on as the same process; all is steady within 10 s of the undo", 10,
                        failed_requests=0),
        special_cases=_AGENT_CASES,
        gameday_position=60,
    ),
)  # fmt: skip
