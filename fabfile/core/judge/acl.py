"""Who may do what in Consul: one policy and one token a host and role, each just enough for its job.

Pure: `wanted` gives the policies and grants of an inventory, `changes` compares them with Consul's own lists. Rules are
in Consul's JSON form, so no value is pasted into a rule's text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..model.cluster import Cluster, Host
from ..model.secrets import Secrets
from ..state.agents import AGENT_OF_ROLE

MARK = "Nexus Ops: "  # descriptions of our tokens and policies begin with it; those without it are never dropped
DESCRIPTION = MARK + "least privilege"  # of each policy
ANONYMOUS = "00000000-0000-0000-0000-000000000002"
DNS = "nexus-dns"
_LEGACY, _UNKNOWN = "2", "3"  # values of a member's tag `acls`; a current client agent has no such tag
_READ, _WRITE = {"policy": "read"}, {"policy": "write"}
_READ_CATALOGUE = {"node_prefix": {"": _READ}, "service_prefix": {"": _READ}}


@dataclass(frozen=True, slots=True)
class Policy:
    """A named set of rules. `rules`: JSON with sorted keys."""

    name: str
    rules: str


@dataclass(frozen=True, slots=True)
class Grant:
    """A token with exactly one policy. name: `kind/host`; accessor: the token's public id."""

    name: str
    accessor: str
    policy: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What Consul should have. `digest` hashes the repr: after a renamed class or field every cluster syncs once."""

    policies: tuple[Policy, ...]
    grants: tuple[Grant, ...]


def token_names(host: Host) -> tuple[str, ...]:
    """The names `kind/host` of a host's tokens: Consul's own agent, and our agent of each role."""
    return (f"agent/{host.name}", *(f"{AGENT_OF_ROLE[role]}/{host.name}" for role in host.roles))


def rules(name: str, managers: Iterable[str]) -> Mapping[str, Any]:
    """The rules of one token, by its name `kind/host`. `managers`: names of all managers. KeyError: unknown kind."""
    kind, _, host = name.partition("/")
    if kind == "agent":  # Consul's own agent: writes its node, reads the catalogue for DNS and checks
        return {**_READ_CATALOGUE, "node": {host: _WRITE}}
    if kind == "orchestrator":  # elects, places, records; may neither register services nor write nodes
        own_service = {"service": {"nexus-orchestrator": _WRITE}}  # has the check that its session is bound to
        sessions = {"session": dict.fromkeys(managers, _WRITE)}  # a standby ends the session of a silent primary
        return {**_READ_CATALOGUE, **sessions, **own_service, "key_prefix": {"nexus/": _WRITE}, "agent": {host: _READ}}
    if kind == "worker":  # registers what it runs; in the KV store it reads its placement and writes its report
        return {
            "node_prefix": {"": _READ}, "service_prefix": {"": _WRITE}, "agent": {host: _READ},
            "service": {"nexus-orchestrator": _READ},
            "key_prefix": {
                "nexus/": {"policy": "deny"}, f"nexus/placement/{host}/": _READ, f"nexus/report/{host}/": _WRITE,
            },
        }  # fmt: skip
    if kind == "balancer":  # reads what is healthy, and which routes are wanted
        return {**_READ_CATALOGUE, "key_prefix": {"nexus/services/": _READ}}
    raise KeyError(name)


def wanted(cluster: Cluster, secrets: Secrets) -> Wanted:
    """All policies and grants for the cluster of this inventory, in a fixed order."""
    names = sorted(name for host in cluster.hosts for name in token_names(host))
    managers = [h.name for h in cluster.having("manager")]
    policies = [Policy(policy_name(name), _canonical(rules(name, managers))) for name in names]
    grants = [Grant(name, secrets.tokens[name].accessor, policy_name(name)) for name in names]
    return Wanted((Policy(DNS, _canonical(_READ_CATALOGUE)), *policies), tuple(grants))


def digest(want: Wanted) -> str:
    """A hash of all policies and grants (16 hex digits). When it changes, Consul's ACLs are to be synced."""
    return hashlib.sha256(repr(want).encode()).hexdigest()[:16]


def policy_name(name: str) -> str:
    """`agent/w1` -> `nexus-agent-w1`: policy names allow letters, digits, `-` and `_`."""
    return "nexus-" + name.replace("/", "-")


def _canonical(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Changes:
    """put_policies: to write, each with the id of the existing one (None: new); put_grants: tokens to write;
    drop_tokens, drop_policies: accessors and ids of ours that are no longer wanted."""

    put_policies: tuple[tuple[Policy, str | None], ...]
    put_grants: tuple[Grant, ...]
    drop_tokens: tuple[str, ...]
    drop_policies: tuple[str, ...]


def changes(want: Wanted, policies: Sequence[Mapping[str, Any]], tokens: Sequence[Mapping[str, Any]]) -> Changes:
    """Compares with Consul's own lists: policies with ID, Name, Rules; tokens with AccessorID, Description, Policies."""
    existing = {p["Name"]: p for p in policies}
    put_policies = tuple(
        (p, existing.get(p.name, {}).get("ID"))
        for p in want.policies
        if existing.get(p.name, {}).get("Rules") != p.rules
    )
    by_accessor = {t["AccessorID"]: t for t in tokens}
    put_grants = tuple(g for g in want.grants if _policy_names(by_accessor.get(g.accessor)) != [g.policy])
    kept_tokens = {g.accessor for g in want.grants}
    our_tokens = [t["AccessorID"] for t in tokens if _has_mark(t) and not is_management(t)]
    kept_policies = {p.name for p in want.policies}
    return Changes(
        put_policies,
        put_grants,
        drop_tokens=tuple(accessor for accessor in our_tokens if accessor not in kept_tokens),
        drop_policies=tuple(p["ID"] for name, p in existing.items() if name not in kept_policies and _has_mark(p)),
    )


def policy_hash(policy: Policy) -> str:
    """The `Hash` that Consul's list gives such a policy of ours, in 1.8 as in 1.22: the list has no rules."""
    text = policy.name + DESCRIPTION + policy.rules
    return base64.b64encode(hashlib.blake2b(text.encode(), digest_size=32).digest()).decode()


def known_rules(want: Wanted, stub: Mapping[str, Any]) -> str | None:
    """The rules of a policy of Consul's list, where its hash tells them; None: they must be read."""
    policy = next((p for p in want.policies if p.name == stub["Name"]), None)
    return policy.rules if policy and stub.get("Hash") == policy_hash(policy) else None


def drift(
    want: Wanted, policies: Sequence[Mapping[str, Any]], tokens: Sequence[Mapping[str, Any]], retired: Collection[str] = ()
) -> tuple[str, ...]:
    """How Consul differs from what is wanted, a line each, for people; empty when it does not. As after a token was
    deleted by hand, or a snapshot restored that is older than a token.

    `retired`: accessors that a rotation under way deletes itself.
    """
    todo = changes(want, policies, tokens)
    present = {t["AccessorID"]: str(t.get("Description", "")) for t in tokens}
    names = {p["ID"]: p["Name"] for p in policies}
    anonymous = next((t for t in tokens if t["AccessorID"] == ANONYMOUS), None)
    return (
        *(f"{'~' if known else '+'} policy {policy.name}" for policy, known in todo.put_policies),
        *(f"{'~' if g.accessor in present else '+'} token {g.name}" for g in todo.put_grants),
        *(() if DNS in _policy_names(anonymous) else ("~ the anonymous token",)),
        *(f"- token {present[a].removeprefix(MARK)}" for a in todo.drop_tokens if a not in retired),
        *(f"- policy {names[policy]}" for policy in todo.drop_policies),
    )


def clients_without_acls(members: Iterable[Mapping[str, Any]]) -> set[str]:
    """Names of client agents that have not noticed yet that the servers use ACL tokens.

    Before Consul 1.11 an agent that found no leader at its start asks again at growing intervals, up to 30 s apart.
    `members`: as Consul's agent lists them, with their gossip tags.
    """
    return {
        str(m["Name"])
        for m in members
        if m["Tags"].get("role") == "node" and m["Tags"].get("acls") in (_LEGACY, _UNKNOWN)
    }


def is_management(token: Mapping[str, Any]) -> bool:
    """Whether the token may do everything; `changes` never drops one."""
    return "global-management" in _policy_names(token)


def _policy_names(token: Mapping[str, Any] | None) -> list[str]:
    policies: Iterable[Mapping[str, Any]] = (token or {}).get("Policies") or ()
    return [p["Name"] for p in policies]


def _has_mark(entry: Mapping[str, Any]) -> bool:
    return str(entry.get("Description", "")).startswith(MARK)
