"""Who may do what in Consul: one policy and one token a host and role, each able to do its job and nothing else.

Pure: `wanted` says what should be, `changes` compares with what Consul has. The rules are Consul's own JSON form,
so no value is ever pasted into a rule's text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..model.cluster import Cluster, Host
from ..model.secrets import Secrets

MARK = "Nexus Ops: "  # a token's description begins with it; others' tokens are never touched
ANONYMOUS = "00000000-0000-0000-0000-000000000002"
DNS = "nexus-dns"
_LEGACY, _UNKNOWN = "2", "3"  # an agent's tag `acls`; a current client agent has none
_READ, _WRITE = {"policy": "read"}, {"policy": "write"}
_SEE = {"node_prefix": {"": _READ}, "service_prefix": {"": _READ}}


@dataclass(frozen=True, slots=True)
class Policy:
    """A named rule set. `rules` is canonical JSON."""

    name: str
    rules: str


@dataclass(frozen=True, slots=True)
class Grant:
    """A token that has one policy."""

    name: str
    accessor: str
    policy: str


@dataclass(frozen=True, slots=True)
class Wanted:
    policies: tuple[Policy, ...]
    grants: tuple[Grant, ...]


def token_names(host: Host) -> tuple[str, ...]:
    """The tokens that a host has: its agent's own, and one for each role's agent."""
    roles = {"manager": "orchestrator", "worker": "worker", "loadbalancer": "balancer"}
    return (f"agent/{host.name}", *(f"{roles[r]}/{host.name}" for r in host.roles))


def rules(name: str, managers: Iterable[str]) -> Mapping[str, Any]:
    """The rules of one token, by its name `kind/host`. `managers`: all of the cluster."""
    kind, _, host = name.partition("/")
    if kind == "agent":  # Consul's agent itself: its own node, and the catalogue for DNS and checks
        return {**_SEE, "node": {host: _WRITE}}
    if kind == "orchestrator":  # elects, places, records; may not register services or touch nodes
        own_service = {"service": {"nexus-orchestrator": _WRITE}}  # the check that its session is bound to
        sessions = {"session": dict.fromkeys(managers, _WRITE)}  # a standby ends that of a primary gone silent
        return {**_SEE, **sessions, **own_service, "key_prefix": {"nexus/": _WRITE}, "agent": {host: _READ}}
    if kind == "worker":  # registers what it runs; of the KV store its own placement, and its own report
        return {
            "node_prefix": {"": _READ}, "service_prefix": {"": _WRITE}, "agent": {host: _READ},
            "service": {"nexus-orchestrator": _READ},
            "key_prefix": {"nexus/": {"policy": "deny"}, f"nexus/placement/{host}/": _READ, f"nexus/report/{host}/": _WRITE},
        }  # fmt: skip
    if kind == "balancer":  # sees what is healthy, and which routes are wanted
        return {**_SEE, "key_prefix": {"nexus/services/": _READ}}
    raise KeyError(name)


def wanted(cluster: Cluster, secrets: Secrets) -> Wanted:
    """Everything that the cluster of this inventory should have."""
    names = sorted(name for host in cluster.hosts for name in token_names(host))
    managers = [h.name for h in cluster.having("manager")]
    policies = [Policy(policy_name(name), _canonical(rules(name, managers))) for name in names]
    grants = [Grant(name, secrets.tokens[name].accessor, policy_name(name)) for name in names]
    return Wanted((Policy(DNS, _canonical(_SEE)), *policies), tuple(grants))


def digest(want: Wanted) -> str:
    """One word for all policies and grants: when it changes, Consul is to be brought in line."""
    return hashlib.sha256(repr(want).encode()).hexdigest()[:16]


def policy_name(name: str) -> str:
    """`agent/w1` -> `nexus-agent-w1`: policy names allow letters, digits, `-` and `_`."""
    return "nexus-" + name.replace("/", "-")


def _canonical(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Changes:
    """put_policies: to write, with the id of the one that exists (or None); drop_*: ids of ours that nobody wants."""

    put_policies: tuple[tuple[Policy, str | None], ...]
    put_grants: tuple[Grant, ...]
    drop_tokens: tuple[str, ...]
    drop_policies: tuple[str, ...]


def changes(want: Wanted, policies: Sequence[Mapping[str, Any]], tokens: Sequence[Mapping[str, Any]]) -> Changes:
    """From Consul's own lists. `policies` need ID, Name and Rules; `tokens` AccessorID, Description and Policies."""
    have = {p["Name"]: p for p in policies}
    put = [(p, have.get(p.name, {}).get("ID")) for p in want.policies if have.get(p.name, {}).get("Rules") != p.rules]
    by_accessor = {t["AccessorID"]: t for t in tokens}
    grants = [g for g in want.grants if _policies(by_accessor.get(g.accessor)) != [g.policy]]
    keep = {g.accessor for g in want.grants}
    ours = [t["AccessorID"] for t in tokens if str(t.get("Description", "")).startswith(MARK) and not is_management(t)]
    named = {p.name for p in want.policies}
    stale = [
        p["ID"]
        for name, p in have.items()
        if name not in named and str(p.get("Description", "")).startswith(MARK)
    ]
    return Changes(tuple(put), tuple(grants), tuple(a for a in ours if a not in keep), tuple(stale))


def clients_without_acls(members: Iterable[Mapping[str, Any]]) -> set[str]:
    """Client agents, by name, that go by the rules of a time before ACL tokens, until they ask a server again.

    Before 1.11 an agent that found no leader at its start asks again after twice as long each time, up to half a minute.
    `members`: as Consul's agent lists them, with the tags of the gossip.
    """
    return {
        str(m["Name"]) for m in members if m["Tags"].get("role") == "node" and m["Tags"].get("acls") in (_LEGACY, _UNKNOWN)
    }


def is_management(token: Mapping[str, Any]) -> bool:
    return "global-management" in _policies(token)


def _policies(token: Mapping[str, Any] | None) -> list[str]:
    found: Iterable[Mapping[str, Any]] = (token or {}).get("Policies") or ()
    return [p["Name"] for p in found]
