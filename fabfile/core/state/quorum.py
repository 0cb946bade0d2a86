"""The servers of Consul's raft quorum, as autopilot sees them, and what a step of a deploy waits for. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Quorum:
    """well: servers that vote and are healthy; others: the rest of the raft configuration, with what each lacks."""

    well: frozenset[str]
    others: Mapping[str, str]

    @property
    def majority(self) -> int:
        """How many servers must be well for the cluster to have a leader."""
        return (len(self.well) + len(self.others)) // 2 + 1

    def lacks(self, names: Collection[str]) -> str:
        """Why these servers are not all well, for people; empty when they are.

        Others may be ill: they were so before, and a step answers only for what it has changed.
        """
        faults = [f"{name} {self.others.get(name, 'is not in the raft quorum')}" for name in sorted({*names} - self.well)]
        return "; ".join(faults)

    def survives_without(self, name: str) -> bool:
        """Whether a leader is left, or elected, while this server restarts."""
        return len(self.well - {name}) >= self.majority or name not in self.well


def read_quorum(answer: Mapping[str, Any]) -> Quorum:
    """From the answer of `/v1/operator/autopilot/health`, which also comes with a status 429 when one server is ill.

    KeyError or TypeError for an answer of another form.
    """
    others = {}
    for server in answer["Servers"]:
        if server.get("SerfStatus", "alive") != "alive":
            others[str(server["Name"])] = "does not answer the others"
        elif not server["Healthy"]:
            others[str(server["Name"])] = "is not caught up yet"
        elif not server["Voter"]:
            others[str(server["Name"])] = "has no vote yet"
    names = frozenset(str(server["Name"]) for server in answer["Servers"])
    return Quorum(names - others.keys(), others)
