"""The catalogue of faults, and what follows from a fault and its arguments. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...core.config.schema import nearest
from ...core.config.yaml_tree import shown
from ...core.errors import InputError
from ...core.model.cluster import Role
from .model import Argument, Fault, Word

ANY: tuple[Word, ...] = ("host", "one", "primary", "raft-leader", "minority", "majority", "service")
SINGLE: tuple[Word, ...] = ("host", "one", "primary", "raft-leader", "service")
INSTANCE: tuple[Word, ...] = ("service", "one", "host")
PRIMARY: tuple[Word, ...] = ("primary",)
ORCHESTRATOR = "nexus-orchestrator.service"
LONGEST = 3600  # seconds that a fault may last, in fault.sh as well

_CONFIGS: Mapping[str, Role] = {
    "/etc/nexus/worker.json": "worker", "/etc/nexus/orchestrator.json": "manager",
    "/etc/nexus/balancer.json": "loadbalancer",
}  # fmt: skip
_AGENTS: Mapping[str, Role] = {
    "nexus-worker": "worker", "nexus-orchestrator": "manager", "nexus-balancer": "loadbalancer",
}  # fmt: skip

_ALL = (
    Fault(
        "kill-service", "Kills the main process of one instance (SIGKILL; of a container: docker kill).",
        "How soon the instance runs and passes its check again.",
        INSTANCE, "one", 60, "unit_restarted", "steady",
        loses=frozenset({"instances"}), in_place=True, unit="nexus-svc-{service}.service", on_service=True,
    ),
    Fault(
        "hang-service", "Stops all processes of one instance (SIGSTOP; a container is paused): alive, and silent.",
        "How soon the failing check is acted upon and the instance passes again.",
        INSTANCE, "one", 90, "instance_not_passing", "steady",
        loses=frozenset({"instances"}), unit="nexus-svc-{service}.service", on_service=True,
    ),
    Fault(
        "kill-agent", "Kills one of our agents on a host (SIGKILL).",
        "That no service stops, and how soon the agent is back.",
        ANY, "one", 60, "unit_restarted", "steady", by_value=_AGENTS, unit="{agent}.service",
        arguments=(Argument("agent", "nexus-worker", "which agent", tuple(_AGENTS)),),
    ),
    Fault(
        "kill-balancer", "Kills Caddy on a load balancer (SIGKILL).", "How soon it answers users again.",
        ("host", "one"), "one", 60, "unit_restarted", "steady", role="loadbalancer",
        loses=frozenset({"balancer"}), in_place=True, unit="caddy.service",
    ),
    Fault(
        "kill-consul", "Kills Consul's agent on a host (SIGKILL).", "That no service stops, and how soon the agent is back.",
        ANY, "one", 60, "unit_restarted", "steady", loses=frozenset({"quorum"}), in_place=True, unit="consul.service",
    ),
    Fault(
        "stop-primary", "Stops the primary's orchestrator as systemctl would.", "How soon a standby acts.",
        PRIMARY, "primary", 60, "primary_changed", "steady_elsewhere", role="manager",
        loses=frozenset({"primary"}), unit=ORCHESTRATOR,
    ),
    Fault(
        "kill-primary", "Kills the primary's orchestrator (SIGKILL).", "How soon a primary acts again.",
        PRIMARY, "primary", 60, "primary_changed", "steady_elsewhere", role="manager", unit=ORCHESTRATOR,
    ),
    Fault(
        "freeze-primary", "Stops the primary's orchestrator where it stands (SIGSTOP), and wakes it later.",
        "How soon a standby acts, and that the woken one does nothing.",
        PRIMARY, "primary", 60, "primary_changed", "steady_elsewhere", role="manager",
        loses=frozenset({"primary"}), unit=ORCHESTRATOR,
    ),
    Fault(
        "stop-host", "Takes the power from a host; in the lab by its engine, on a server by an instant restart.",
        "How soon what ran there runs elsewhere, and whether users notice.",
        ANY, "one", 180, "member_failed", "steady_elsewhere", needs=("way-back",),
        loses=frozenset({"instances", "quorum", "balancer"}), hold=20,
        arguments=(Argument("way-back", "none", "how it comes back: nobody knows, or by a restart", ("none", "reboot")),),
    ),
    Fault(
        "partition", "Cuts the network between the target and all other hosts; SSH stays open.",
        "That the cut-off side never acts, and how soon the other side has taken over.",
        ANY, "minority", 120, "member_failed", "steady_elsewhere", needs=("nft",), peers="outside",
        loses=frozenset({"instances", "quorum", "balancer"}), hold=20,
        arguments=(Argument("way", "both", "what is lost: both ways, what comes in, what goes out, or UDP alone (gossip)",
                            ("both", "in", "out", "udp")),),
    ),
    Fault(
        "packet-loss", "Loses a share of the packets between a host and all others, both ways; SSH is spared.",
        "That services and primary hold, and how soon all is steady once the network is well.",
        ANY, "one", 120, "none", "steady_after", hold=30, needs=("nft",), peers="others", loses=frozenset({"quorum"}),
        arguments=(Argument("percent", "20", "the share of packets that is lost", low=1, high=100, unit="%"),),
    ),
    Fault(
        "latency", "Delays what a host sends to all others; SSH is spared.",
        "That services and primary hold, and how soon all is steady once the network is well.",
        ANY, "one", 120, "none", "steady_after", hold=30, needs=("netem",), peers="others", loses=frozenset({"quorum"}),
        arguments=(Argument("ms", "100", "the delay of each packet", low=1, high=10000, unit="milliseconds"),),
    ),
    Fault(
        "fill-disk", "Fills the disk of /var/lib/nexus but for a little; refused in a container, whose disk is shared.",
        "That what runs goes on, and how soon all is steady once there is room.",
        ANY, "one", 120, "none", "steady_after", hold=30, needs=("fallocate",), loses=frozenset({"quorum"}),
        arguments=(Argument("leave", "20", "what is left free", low=1, high=1000000, unit="MB"),),
    ),
    Fault(
        "burn-cpu", "Keeps the processors of a host busy.",
        "That nobody is taken for dead by mistake, and how soon all is steady afterwards.",
        ANY, "one", 120, "none", "steady_after", hold=30,
        arguments=(Argument("cores", "all", "how many busy loops, one for each core or so many", ("all",), 1, 256),),
    ),
    Fault(
        "eat-memory", "Takes memory of a host; 64 MB are always left.",
        "That nobody is killed or taken for dead, and how soon all is steady afterwards.",
        ANY, "one", 120, "none", "steady_after", hold=30, needs=("python3",),
        arguments=(Argument("mb", "256", "how much", low=1, high=1000000, unit="MB"),),
    ),
    Fault(
        "skew-clock", "Sets a host's clock forth or back; refused in a container, whose clock is shared.",
        "That neither leases nor certificates nor services mind, and how soon all is steady afterwards.",
        SINGLE, "one", 120, "none", "steady_after", hold=30, needs=("clock",),
        arguments=(Argument("seconds", "60", "how far; a negative number sets it back", (), -86400, 86400, "seconds"),),
    ),
    Fault(
        "stop-docker", "Stops Docker and its socket on a worker where a service runs in a container.",
        "How soon the containers that ran there run and pass their checks again.",
        ("service",), "service:NAME", 120, "unit_restarted", "steady", needs=("docker",), role="worker",
        loses=frozenset({"instances"}), in_place=True, unit="nexus-svc-{service}.service",
    ),
    Fault(
        "corrupt-config", "Makes a configuration file unreadable, as a bad edit would.",
        "That what runs goes on, and that the next plan sees it.",
        SINGLE, "one", 120, "config_differs", "steady_after", by_value=_CONFIGS,
        arguments=(Argument("path", "/etc/consul.d/consul.hcl", "which file", ("/etc/consul.d/consul.hcl", *_CONFIGS)),),
    ),
)  # fmt: skip
FAULTS: Mapping[str, Fault] = {fault.name: fault for fault in _ALL}


def fault_named(name: str) -> Fault:
    """InputError when there is none of that name."""
    if name not in FAULTS:
        raise InputError([f"there is no fault {shown(name)}; {nearest(name, FAULTS) or 'see the list'}"], "inv chaos.list")
    return FAULTS[name]


def arguments(fault: Fault, given: Mapping[str, str]) -> dict[str, str]:
    """Every argument's value, in order, defaults filled in; InputError with all faults, each `NAME: …`."""
    known = {argument.name: argument for argument in fault.arguments}
    faults = [
        f"{shown(name)}: {fault.name} has no such argument; "
        + (nearest(name, known) or (f"it has {', '.join(known)}" if known else "it has none"))
        for name in given if name not in known
    ]  # fmt: skip
    values = {name: given.get(name, argument.default) for name, argument in known.items()}
    faults += [f"{n}: {shown(v)} is not {known[n].due}" for n, v in values.items() if not known[n].takes(v)]
    if faults:
        raise InputError(faults, f"inv chaos.list explains {fault.name}")
    return values


def role_of(fault: Fault, values: Mapping[str, str]) -> Role | None:
    """The role that a host must have to be hit; None: any host can be."""
    first = next(iter(values.values()), "")
    return fault.by_value.get(first, fault.role)


def unit_of(fault: Fault, values: Mapping[str, str], service: str | None = None) -> str | None:
    """The unit that is hit; None where it is none in particular."""
    return None if fault.unit is None else fault.unit.format_map({**values, "service": service})


def script_arguments(
    fault: Fault, values: Mapping[str, str], service: str | None = None, peers: Sequence[str] = ()
) -> tuple[str, ...]:
    """The WORDs of `fault.sh ROOT arm ID FAULT SECONDS WORD...`; `peers`: of `targets.peers`."""
    own = (service,) if fault.on_service and service else ()
    return (*own, *values.values(), *peers)
