"""Looks at the cluster once, before a drill is planned. Touches no host."""

from __future__ import annotations

from ..core.errors import HostError, Refused
from ..core.topology import Address, addresses
from ..edge import services
from ..edge.ask import ask
from ..edge.consul import Consul, ConsulException
from ..edge.fleet import Fleet
from ..edge.serve import managers
from ..edge.state import State
from .plan import Scene


def look(fleet: Fleet) -> Scene:
    """Refused when no manager answers: what cannot be seen cannot be drilled."""
    cluster = fleet.cluster
    servers = managers(fleet)
    word = ask(servers)
    if word.asked is None or word.leader is None:
        what = "no manager answers" if word.asked is None else "the managers have no raft leader"
        raise Refused(f"{what}: a drill needs a cluster that is well", "inv status")
    facts, _ = fleet.probe()
    where: dict[str, Address] = addresses(cluster, facts, State(cluster.state).addresses())
    return Scene(cluster, word.serving, word.leader, word.members, where, services.load(cluster),
                 _version(fleet, str(word.asked)))  # fmt: skip


def _version(fleet: Fleet, asked: str) -> str:
    try:
        return str(Consul(fleet[asked]).ask("GET", "/v1/agent/self")["Config"]["Version"])
    except (HostError, ConsulException):
        return ""
