"""Who may do what in Consul, and which changes bring Consul there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.core.judge import acl
from fabfile.core.judge.acl import (
    DNS,
    MARK,
    Changes,
    Wanted,
    changes,
    clients_without_acls,
    digest,
    policy_name,
    token_names,
    wanted,
)
from fabfile.core.model.cluster import ROLES, Cluster, Host
from fabfile.core.model.secrets import Secrets, Token
from tests.support.samples import CLUSTER, SECRETS, cluster_of

WANT = wanted(CLUSTER, SECRETS)
MANAGERS = [h.name for h in CLUSTER.having("manager")]


def rules(name: str) -> Mapping[str, Any]:
    return acl.rules(name, MANAGERS)

NOTHING = Changes((), (), (), ())
Listed = list[dict[str, Any]]
BUILT_IN: Listed = [{"ID": "00000000-0000-0000-0000-000000000001", "Name": "global-management", "Rules": "acl=..."}]
MANAGEMENT = {"AccessorID": "boot", "Description": "Bootstrap Token (Global Management)",
              "Policies": [{"ID": "1", "Name": "global-management"}]}  # fmt: skip
ANONYMOUS = {"AccessorID": "anon", "Description": "Anonymous Token", "Policies": [{"ID": "2", "Name": DNS}]}


def secrets_of(cluster: Cluster) -> Secrets:
    tokens = {n: Token(f"accessor {n}", f"token-of-{n}") for h in cluster.hosts for n in token_names(h)}
    return replace(SECRETS, tokens=tokens)


def want_of(cluster: Cluster) -> Wanted:
    return wanted(cluster, secrets_of(cluster))


def listed(want: Wanted) -> tuple[Listed, Listed]:
    """Consul's policies and tokens, once all that is wanted has been written."""
    policies = [
        {"ID": f"id of {p.name}", "Name": p.name, "Rules": p.rules, "Description": MARK} for p in want.policies
    ]
    tokens = [
        {
            "AccessorID": g.accessor,
            "Description": MARK + g.name,
            "Policies": [{"ID": f"id of {g.policy}", "Name": g.policy}],
        }
        for g in want.grants
    ]
    return BUILT_IN + policies, [ANONYMOUS, MANAGEMENT, *tokens]


def verdict(kind: str, key: str, rule: Mapping[str, Any]) -> str:
    """What Consul decides: an exact rule first, then that of the longest prefix; nothing said is denied."""
    if key in rule.get(kind, {}):
        return str(rule[kind][key]["policy"])
    prefixes = [p for p in rule.get(f"{kind}_prefix", {}) if key.startswith(p)]
    return str(rule[f"{kind}_prefix"][max(prefixes, key=len)]["policy"]) if prefixes else "deny"


mixes = st.sets(st.sampled_from(ROLES), min_size=1).map(lambda roles: " ".join(r for r in ROLES if r in roles))
clusters = st.dictionaries(st.sampled_from(["a", "b", "c-1", "c"]), mixes, min_size=1).map(lambda d: cluster_of(**d))


@pytest.mark.parametrize(
    ("host", "names"),
    [("m1", ["agent/m1", "orchestrator/m1"]), ("w1", ["agent/w1", "worker/w1"]), ("lb1", ["agent/lb1", "balancer/lb1"]),
     ("all1", ["agent/all1", "orchestrator/all1", "worker/all1", "balancer/all1"])],
)  # fmt: skip
def test_a_host_has_a_token_for_its_agent_and_each_role(host: str, names: list[str]) -> None:
    """A host has its agent's token and one for each of its roles, no more."""
    assert list(token_names(CLUSTER.host(host))) == names


def test_every_grant_has_its_own_policy_and_token() -> None:
    """Each token has a policy of its own that is among the wanted ones, and the accessor that the vault keeps."""
    names = {p.name for p in WANT.policies}
    assert len({g.policy for g in WANT.grants}) == len({g.accessor for g in WANT.grants}) == len(WANT.grants)
    assert {g.policy for g in WANT.grants} == names - {DNS}
    assert all(g.accessor == SECRETS.tokens[g.name].accessor for g in WANT.grants)


@given(clusters)
def test_no_two_tokens_share_a_policy_name(cluster: Cluster) -> None:
    """Policy names are unlike each other and within what Consul allows, whatever the hosts are called."""
    names = [p.name for p in want_of(cluster).policies]
    assert len(set(names)) == len(names)
    assert all(len(n) <= 128 and n.replace("-", "").replace("_", "").isalnum() for n in names)


@given(clusters)
def test_what_was_applied_needs_no_change(cluster: Cluster) -> None:
    """Consul that has exactly what is wanted, beside its own tokens, is left alone."""
    want = want_of(cluster)
    assert changes(want, *listed(want)) == NOTHING


def test_a_new_consul_gets_everything_and_loses_nothing() -> None:
    """Where Consul has only its built-in entries, all policies and grants are written and nothing is dropped."""
    needed = changes(WANT, BUILT_IN, [ANONYMOUS, MANAGEMENT])
    assert needed == Changes(tuple((p, None) for p in WANT.policies), WANT.grants, (), ())


@given(clusters, clusters)
def test_one_application_is_enough(before: Cluster, after: Cluster) -> None:
    """From any cluster to any other: after the changes Consul has what is wanted, and a second comparison is empty."""
    want = want_of(after)
    policies, tokens = listed(want_of(before))
    needed = changes(want, policies, tokens)
    put = {p.name for p, _ in needed.put_policies}
    kept = [p for p in policies if p["ID"] not in needed.drop_policies and p["Name"] not in put]
    made = [
        {"ID": known or "new", "Name": p.name, "Rules": p.rules, "Description": MARK}
        for p, known in needed.put_policies
    ]
    renewed = {g.accessor for g in needed.put_grants}
    stay = [t for t in tokens if t["AccessorID"] not in {*needed.drop_tokens, *renewed}]
    granted = [
        {"AccessorID": g.accessor, "Description": MARK + g.name, "Policies": [{"ID": "x", "Name": g.policy}]}
        for g in needed.put_grants
    ]
    assert changes(want, kept + made, stay + granted) == NOTHING


def test_a_changed_policy_is_written_over_its_own_id() -> None:
    """A policy whose rules were edited is written again under the id that it has."""
    policies, tokens = listed(WANT)
    policies[-1] |= {"Rules": "{}"}
    needed = changes(WANT, policies, tokens)
    assert needed == replace(NOTHING, put_policies=((WANT.policies[-1], policies[-1]["ID"]),))


@pytest.mark.parametrize("held", [None, [], [{"ID": "1", "Name": "global-management"}], "more"])
def test_a_token_with_other_rights_is_set_right(held: Any) -> None:
    """A token of ours that lost its policy, or was given another one or one more, is written again."""
    policies, tokens = listed(WANT)
    tokens[-1]["Policies"] = [*tokens[-1]["Policies"], {"ID": "9", "Name": "extra"}] if held == "more" else held
    needed = changes(WANT, policies, tokens)
    assert needed == replace(NOTHING, put_grants=(WANT.grants[-1],))


@pytest.mark.parametrize("description", ["", "an operator's own", "nexus", "about Nexus Ops: x", None])
def test_others_tokens_stay(description: str | None) -> None:
    """A token without our mark is never dropped, whatever policies it has."""
    policies, tokens = listed(WANT)
    theirs = {"AccessorID": "theirs", "Description": description, "Policies": [{"ID": "1", "Name": "nexus-dns"}]}
    assert changes(WANT, policies, [*tokens, theirs, {"AccessorID": "bare"}]) == NOTHING


def test_others_policies_stay() -> None:
    """A policy that does not begin with our name is never dropped."""
    policies, tokens = listed(WANT)
    assert changes(WANT, [*policies, {"ID": "p", "Name": "backup", "Rules": ""}], tokens) == NOTHING


def test_a_management_token_stays() -> None:
    """A management token is never dropped, not even one with our mark, as a rotation makes."""
    policies, tokens = listed(WANT)
    policy = {"ID": "1", "Name": "global-management"}
    ours = {"AccessorID": "m", "Description": MARK + "management", "Policies": [policy]}
    assert changes(WANT, policies, [*tokens, ours]) == NOTHING


def without(name: str) -> Cluster:
    return replace(CLUSTER, hosts=tuple(h for h in CLUSTER.hosts if h.name != name))


@pytest.mark.parametrize("gone", [h.name for h in CLUSTER.hosts])
def test_a_host_that_left_loses_its_tokens_and_policies(gone: str) -> None:
    """Exactly its tokens and policies are dropped; the other orchestrators may no longer end a session of its."""
    names = token_names(CLUSTER.host(gone))
    needed = changes(wanted(without(gone), SECRETS), *listed(WANT))
    assert needed.put_grants == ()
    assert {p.name for p, _ in needed.put_policies} == {
        policy_name(f"orchestrator/{m}") for m in MANAGERS if m != gone and gone in MANAGERS}  # fmt: skip
    assert not any(f'"{gone}"' in p.rules for p, _ in needed.put_policies)
    assert set(needed.drop_tokens) == {SECRETS.tokens[n].accessor for n in names}
    assert set(needed.drop_policies) == {f"id of {policy_name(n)}" for n in names}


def test_a_lost_role_loses_its_token() -> None:
    """A host that gave up a role keeps its agent's token and loses that role's."""
    hosts = tuple(replace(h, roles=("manager",)) if h.name == "mw1" else h for h in CLUSTER.hosts)
    needed = changes(wanted(replace(CLUSTER, hosts=hosts), SECRETS), *listed(WANT))
    assert needed == Changes((), (), ("accessor worker/mw1",), ("id of nexus-worker-mw1",))


def test_rules_are_canonical_json() -> None:
    """The rules that are written read back as the rules that are meant, as JSON with sorted keys."""
    for grant in WANT.grants:
        (policy,) = (p for p in WANT.policies if p.name == grant.policy)
        assert json.loads(policy.rules) == rules(grant.name)
        assert policy.rules == json.dumps(json.loads(policy.rules), sort_keys=True)


@pytest.mark.parametrize("name", ["", "agent", "server/m1", "management"])
def test_a_token_of_no_kind_has_no_rules(name: str) -> None:
    """An unknown kind of token is our own mistake and gets no rules at all (`agent` alone would name no node)."""
    if name == "agent":
        assert rules(name)["node"] == {"": {"policy": "write"}}
    else:
        with pytest.raises(KeyError):
            rules(name)


@pytest.mark.parametrize(
    ("key", "due"),
    [("nexus/primary", "deny"), ("nexus/", "deny"), ("nexus/services/web", "deny"), ("nexus/placement/w2/web", "deny"),
     ("nexus/placement/w1", "deny"), ("nexus/placement/w11/web", "deny"), ("nexus/report/w2/web", "deny"),
     ("other", "deny"),
     ("nexus/placement/w1/web", "read"), ("nexus/report/w1/web", "write")],
)  # fmt: skip
def test_a_worker_has_its_own_placement_and_report(key: str, due: str) -> None:
    """A worker reads its own placement and writes its own report; the rest of nexus/ and all else is denied."""
    assert verdict("key", key, rules("worker/w1")) == due


def test_what_a_worker_is_denied_is_explicit() -> None:
    """nexus/ is denied to workers by a rule of its own, so that it holds while the cluster's default is still allow."""
    assert rules("worker/w1")["key_prefix"]["nexus/"] == {"policy": "deny"}


@pytest.mark.parametrize("key", ["nexus/primary", "nexus/placement/w1/web", "nexus/services/web"])
def test_only_an_orchestrator_writes_the_clusters_record(key: str) -> None:
    """Of all tokens those of orchestrators, and no others, may write the primary, placements and services."""
    writers = {g.name for g in WANT.grants if verdict("key", key, rules(g.name)) == "write"}
    assert writers == {"orchestrator/m1", "orchestrator/mw1", "orchestrator/all1"}


def test_a_session_is_for_managers_only() -> None:
    """Only orchestrators make or end sessions, and only on managers: a standby ends that of a silent primary."""
    for grant in WANT.grants:
        may = {h.name for h in CLUSTER.hosts if verdict("session", h.name, rules(grant.name)) == "write"}
        kind = grant.name.partition("/")[0]
        assert may == (set(MANAGERS) if kind == "orchestrator" else set())


def test_a_node_is_written_by_its_own_agent_only() -> None:
    """An agent writes its own node, not one whose name begins alike, and no role's token writes any."""
    for grant in WANT.grants:
        may = {n for n in ("m1", "m11", "w1", "lb1", "mw1", "all1") if verdict("node", n, rules(grant.name)) == "write"}
        kind, _, host = grant.name.partition("/")
        assert may == ({host} if kind == "agent" else set())


def test_only_workers_register_services() -> None:
    """Services are written by workers' tokens, read by all."""
    rights: dict[str, set[str]] = {}
    for grant in WANT.grants:
        rights.setdefault(grant.name.partition("/")[0], set()).add(verdict("service", "web", rules(grant.name)))
    assert rights == {"agent": {"read"}, "orchestrator": {"read"}, "worker": {"write"}, "balancer": {"read"}}


def test_a_balancer_sees_routes_and_nothing_else_of_nexus() -> None:
    """A balancer reads nexus/services/ and no other key, and writes none."""
    mine = rules("balancer/lb1")
    assert verdict("key", "nexus/services/web", mine) == "read"
    assert {verdict("key", k, mine) for k in ("nexus/primary", "nexus/placement/w1/web", "x")} == {"deny"}


@pytest.mark.parametrize("kind", ["agent", "orchestrator", "worker", "balancer"])
def test_no_host_has_power_over_acls_or_the_operator_api(kind: str) -> None:
    """No host's token may touch ACLs, the operator's interface, the keyring or all keys."""
    mine = rules(f"{kind}/x")
    assert not set(mine) & {"acl", "operator", "keyring", "mesh", "peering", "query_prefix", "event_prefix"}
    assert "" not in mine.get("key_prefix", {})


def test_a_digest_follows_what_is_wanted() -> None:
    """Equal intent has an equal digest; another host, role or accessor has another one."""
    more = replace(CLUSTER, hosts=(*CLUSTER.hosts, Host("w2", "192.0.2.9", ("worker",))))
    tokens = {**SECRETS.tokens, "agent/w1": Token("new accessor", "s")}
    seen = {
        digest(WANT), digest(wanted(without("w1"), SECRETS)), digest(want_of(more)),
        digest(wanted(CLUSTER, replace(SECRETS, tokens=tokens))),
    }  # fmt: skip
    assert len(seen) == 4
    assert digest(wanted(CLUSTER, SECRETS)) == digest(WANT)


def test_a_digest_is_the_same_on_every_machine() -> None:
    """The digest does not depend on the process, since two operators compare it."""
    assert digest(Wanted((), ())) == hashlib.sha256(b"Wanted(policies=(), grants=())").hexdigest()[:16]


@pytest.mark.parametrize("change", [{"management": "m"}, {"gossip": "other"}, {"retired": ("a",)}])
def test_a_digest_does_not_follow_other_secrets(change: Mapping[str, Any]) -> None:
    """What has nothing to do with policies and grants leaves the digest as it is."""
    assert digest(wanted(CLUSTER, replace(SECRETS, **change))) == digest(WANT)


def test_a_digest_does_not_follow_the_inventorys_order() -> None:
    """Hosts in another order give the same digest, so nothing is synced."""
    assert digest(wanted(replace(CLUSTER, hosts=CLUSTER.hosts[::-1]), SECRETS)) == digest(WANT)


def test_no_secret_is_in_what_is_wanted() -> None:
    """What is compared, hashed and shown has accessors and no token's secret."""
    secrets: Sequence[str] = [t.secret for t in SECRETS.tokens.values()]
    assert not [s for s in secrets if s in repr(WANT)]


@pytest.mark.parametrize(
    ("tags", "late"),
    [
        ({"role": "node", "acls": "3"}, True), ({"role": "node", "acls": "2"}, True),
        ({"role": "node", "acls": "1"}, False), ({"role": "node", "acls": "0"}, False),
        ({"role": "node"}, False), ({"role": "consul", "acls": "3"}, False),
    ],
)  # fmt: skip
def test_clients_that_have_not_noticed_the_acls(tags: dict[str, str], late: bool) -> None:
    """Client agents of an old Consul have a gossip tag for it; current ones have none, and servers do not count."""
    assert clients_without_acls([{"Name": "w1", "Tags": tags}]) == ({"w1"} if late else set())


def consul_lists() -> tuple[Listed, Listed]:
    policies, tokens = listed(WANT)
    real_anonymous = {**ANONYMOUS, "AccessorID": acl.ANONYMOUS}
    return policies, [real_anonymous, *(t for t in tokens if t != ANONYMOUS)]


def test_what_is_as_wanted_has_no_drift() -> None:
    """After a sync there is nothing to tell."""
    assert acl.drift(WANT, *consul_lists()) == ()


def test_a_deleted_token_is_drift() -> None:
    """A token that was deleted by hand, or that a restored snapshot does not have, is told by its name."""
    policies, tokens = consul_lists()
    left = [t for t in tokens if t["Description"] != MARK + "worker/w1"]
    assert acl.drift(WANT, policies, left) == ("+ token worker/w1",)


def test_every_other_difference_is_drift() -> None:
    """So are other rules, a policy that is gone, one too many, a token with another policy, and a DNS without rights."""
    policies, tokens = consul_lists()
    other = [{**p, "Rules": "{}"} if p["Name"] == "nexus-worker-w1" else p for p in policies]
    assert acl.drift(WANT, other, tokens) == ("~ policy nexus-worker-w1",)
    assert acl.drift(WANT, [p for p in policies if p["Name"] != DNS], tokens) == (f"+ policy {DNS}",)
    ours = {"ID": "x", "Name": "nexus-old", "Rules": "{}", "Description": MARK}
    assert acl.drift(WANT, [*policies, ours], tokens) == ("- policy nexus-old",)
    bare = [{**t, "Policies": None} if t["Description"] == MARK + "worker/w1" else t for t in tokens]
    assert acl.drift(WANT, policies, bare) == ("~ token worker/w1",)
    deaf = [{**t, "Policies": None} if t["AccessorID"] == acl.ANONYMOUS else t for t in tokens]
    assert acl.drift(WANT, policies, deaf) == ("~ the anonymous token",)


def test_a_rotation_under_way_is_no_drift() -> None:
    """Its retired tokens are its own to delete."""
    policies, tokens = consul_lists()
    old = {"AccessorID": "old", "Description": MARK + "worker/w1", "Policies": [{"ID": "1", "Name": "nexus-worker-w1"}]}
    assert acl.drift(WANT, policies, [*tokens, old]) == ("- token worker/w1",)
    assert acl.drift(WANT, policies, [*tokens, old], retired=("old",)) == ()


def test_consuls_own_hash_of_a_policy_is_known() -> None:
    """The hash that Consul 1.8.7 gave a policy of these words: it saves a request for each policy."""
    policy = acl.Policy("p1", '{"key_prefix": {"a": {"policy": "read"}}}')
    assert acl.policy_hash(policy) == "U5KQbPBL5OmkCSdmYvKULI4SOrrTbmo9lfgg7AvXP58="
    want = Wanted((policy,), ())
    assert acl.known_rules(want, {"Name": "p1", "Hash": acl.policy_hash(policy)}) == policy.rules
    assert acl.known_rules(want, {"Name": "p1", "Hash": "other"}) is None
    assert acl.known_rules(want, {"Name": "p2", "Hash": acl.policy_hash(policy)}) is None
