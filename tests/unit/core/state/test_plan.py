"""The difference between a host and its wanted state, and the action list that is made from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.core.model.secrets import KeyPair, Token
from fabfile.core.state.facts import Facts, RulesFact
from fabfile.core.state.manifest import Account, Folder, Manifest, Unit, text_file
from fabfile.core.state.plan import ChangeKind, HostPlan, Verb, actions, diff
from fabfile.core.state.plan_text import describe, summary
from tests.support.samples import AGENTS, CONTEXT, SECRETS, VERSIONS, active, bare_facts, facts_of, wanted

NAMES = st.text("abcdefgh", min_size=1, max_size=3)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
MODES = st.sampled_from(["0644", "0600", "0755", "4755"])
OWNERS = st.sampled_from(["root", "consul", "caddy"])
FILES = st.builds(text_file, PATHS, st.text(max_size=40), MODES, OWNERS, OWNERS)
UNITS = st.builds(Unit, NAMES.map(lambda n: f"{n}.service"), NAMES, NAMES)
MANIFESTS = st.builds(
    Manifest,
    st.lists(st.builds(Account, NAMES, PATHS), max_size=3, unique_by=lambda a: a.name).map(tuple),
    st.lists(st.builds(Folder, PATHS, MODES, OWNERS, OWNERS), max_size=2, unique_by=lambda d: d.path).map(tuple),
    st.lists(FILES, max_size=6, unique_by=lambda f: f.path).map(tuple),
    st.lists(UNITS, max_size=3, unique_by=lambda u: u.name).map(tuple),
)


def unit_plan(unit: Unit, **over: object) -> HostPlan:
    manifest = Manifest(units=(unit,))
    return diff("h1", manifest, replace(facts_of(manifest), **over))  # type: ignore[arg-type]


@given(MANIFESTS)
def test_a_host_that_is_as_wanted_has_an_empty_plan(manifest: Manifest) -> None:
    """The difference between a state and facts made from it is empty, and says so in every form."""
    plan = diff("h1", manifest, facts_of(manifest))
    assert plan.empty
    assert list(describe(plan)) == []
    assert summary(plan) == "nothing"
    assert plan.missing_blobs() == ()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["m1", "w1", "lb1", "mw1", "all1"])
def test_the_rendered_state_is_reached(name: str, version: str) -> None:
    """What the toolkit renders for a host has no difference to a host that has just that."""
    manifest = wanted(name, version)
    assert diff(name, manifest, facts_of(manifest)).empty


@given(MANIFESTS, MANIFESTS)
def test_the_changes_lead_to_the_wanted_files(before: Manifest, after: Manifest) -> None:
    """The file changes of a plan, done to the host's files, give exactly the wanted set."""
    facts = facts_of(before)
    plan = diff("h1", after, facts)
    files = dict(facts.files)
    for item in plan.files:
        if item.wanted is None:
            assert item.kind is ChangeKind.REMOVE
            del files[item.path]
        else:
            assert (item.kind is ChangeKind.CREATE) == (item.path not in files)
            files[item.path] = facts_of(Manifest(files=(item.wanted,))).files[item.path]
    assert files == facts_of(after).files


@given(MANIFESTS, MANIFESTS)
def test_a_plan_that_is_not_empty_has_lines(before: Manifest, after: Manifest) -> None:
    """Whatever would change a host is in at least one line, and in the summary."""
    plan = diff("h1", after, facts_of(before))
    assert plan.empty == (list(describe(plan)) == [])
    assert plan.empty == (summary(plan) == "nothing")


def test_an_interrupted_commit_is_something_to_do() -> None:
    """A host with an interrupted commit has a plan even when its files are as wanted: its next boot changes them."""
    manifest = Manifest(files=(text_file("/a", "a"),))
    assert not diff("h1", manifest, facts_of(manifest, pending="abc")).empty


def test_unmanaged_files_are_left_alone() -> None:
    """A file at a managed path that was never placed by us is neither changed nor removed."""
    files = facts_of(Manifest(files=(text_file("/etc/theirs", "x"),))).files
    assert diff("h1", Manifest(), bare_facts(files=files)).files == ()


def test_a_file_that_is_gone_already_needs_no_removal() -> None:
    """What the kept manifest names and the host lacks is not removed again."""
    old = Manifest(files=(text_file("/etc/x", "x"),))
    assert diff("h1", Manifest(), facts_of(old, files={})).files == ()


UNIT = Unit("consul.service", "r1", "l1")


@pytest.mark.parametrize(
    ("over", "verb"),
    [
        ({}, None),
        ({"units": {}}, Verb.START),
        ({"units": {}, "stamps": {}}, Verb.START),
        ({"units": {}, "stamps": {"consul.service": "r0 l1"}}, Verb.RESTART),
        ({"units": {}, "stamps": {"consul.service": "r1 l0"}}, Verb.RESTART),
        ({"units": {"consul.service": replace(active(), load="not-found", active="inactive")}}, Verb.START),
        ({"units": {"consul.service": replace(active(), active="failed", sub="failed")}}, Verb.RESTART),
        ({"units": {"consul.service": replace(active(), active="activating", sub="auto-restart")}}, Verb.RESTART),
        ({"stamps": {}}, Verb.RESTART),
        ({"stamps": {"consul.service": "r0 l1"}}, Verb.RESTART),
        ({"stamps": {"consul.service": "r0 l0"}}, Verb.RESTART),
        ({"stamps": {"consul.service": "r1 l0"}}, Verb.RELOAD),
        ({"units": {"consul.service": active(enabled=False)}}, Verb.START),
        ({"units": {"consul.service": active(enabled=True)}}, None),
    ],
)
def test_a_unit_gets_the_verb_that_it_needs(over: dict[str, object], verb: Verb | None) -> None:
    """Absent: start; not running or another restart stamp: restart; another reload stamp: reload; else nothing.

    A unit without its file may still run, as what it was: it is started only where that is what is wanted.
    """
    assert [u.verb for u in unit_plan(UNIT, **over).units] == ([verb] if verb else [])


def test_rules_that_are_not_in_force_are_loaded() -> None:
    """Rules that are flushed, or other ones than the unit loaded, are a reload of the firewall with the reason."""
    manifest = wanted("w1")
    (sum_,) = (f.sha256 for f in manifest.files if f.path == "/etc/nexus/firewall.nft")
    assert diff("w1", manifest, facts_of(manifest, rules=RulesFact(sum_, "a", "a"))).empty
    plan = diff("w1", manifest, facts_of(manifest, rules=RulesFact(sum_, "a", None)))
    assert list(describe(plan)) == ["> reload nexus-firewall.service (its rules are not in force)"]
    plan = diff("w1", manifest, facts_of(manifest, rules=RulesFact(sum_, "a", "b")))
    assert list(describe(plan)) == ["> reload nexus-firewall.service (other rules are in force than it loaded)"]


def test_a_unit_that_systemd_has_to_read_again_is_something_to_do() -> None:
    """A unit of ours with another text in systemd than in its file is a line of the plan and of its summary."""
    manifest = wanted("w1")
    units = facts_of(manifest).units
    changed = {**units, "consul.service": replace(active(), outdated=True)}
    plan = diff("w1", manifest, facts_of(manifest, units=changed))
    assert not plan.empty
    assert list(describe(plan)) == ["> daemon-reload (systemd has another text than the file of consul.service)"]
    assert summary(plan) == "daemon-reload"


def test_a_unit_that_leaves_is_stopped() -> None:
    """A unit of the previous generation that is no longer wanted is stopped."""
    plan = diff("h1", Manifest(), facts_of(Manifest(units=(UNIT,))))
    assert [(u.verb, u.name) for u in plan.units] == [(Verb.STOP, "consul.service")]


def test_a_failed_stop_is_tried_again() -> None:
    """A unit whose stop failed, and which therefore kept its stamp, is stopped by the next plan."""
    manifest = Manifest(files=(text_file("/a", "a"),))
    plan = diff("h1", manifest, facts_of(manifest, stamps={"caddy.service": "r l"}))
    assert [(u.verb, u.name) for u in plan.units] == [(Verb.STOP, "caddy.service")]


def test_missing_accounts_are_made() -> None:
    """Only accounts that the host lacks are in the plan."""
    manifest = Manifest(accounts=(Account("consul", "/c"), Account("caddy", "/d")))
    plan = diff("h1", manifest, facts_of(manifest, users=frozenset({"root", "caddy"})))
    assert list(describe(plan)) == ["+ user consul"]


def test_only_missing_bytes_are_uploaded() -> None:
    """A sum that the host's store has is not sent again, and one that two files share is sent once."""
    a, b, c = text_file("/a", "same"), text_file("/b", "same"), text_file("/c", "there")
    plan = diff("h1", Manifest(files=(a, b, c)), bare_facts(store=frozenset({c.sha256})))
    assert [f.sha256 for f in plan.missing_blobs()] == [a.sha256]


def rows(plan: HostPlan, who: str = "ann@laptop deploy") -> list[list[str]]:
    return [line.split("\t") for line in actions(plan, who).splitlines()]


def test_the_action_list_of_a_first_deploy() -> None:
    """A first deploy puts each file, checks each config, starts each unit in order, and ends with the end mark."""
    assert rows(diff("lb1", wanted("lb1"), bare_facts())) == [
        ["base", "-"], ["id", wanted("lb1").id], ["who", "ann@laptop deploy"],
        ["put", "/etc/nexus/host.json"], ["put", "/etc/systemd/system/nexus-recover.service"],
        ["put", "/etc/nexus/firewall.nft"], ["put", "/usr/local/lib/nexus/firewall.sh"],
        ["put", "/etc/systemd/system/nexus-firewall.service"],
        ["put", "/etc/systemd/system/nftables.service.d/nexus-firewall.conf"],
        ["put", "/usr/local/bin/consul"], ["put", "/etc/consul.d/consul.hcl"],
        ["put", "/etc/consul.d/secret-tokens.hcl"], ["put", "/etc/consul.d/tls/ca.pem"],
        ["put", "/etc/consul.d/tls/cert.pem"], ["put", "/etc/consul.d/tls/secret-key.pem"],
        ["put", "/etc/consul.d/secret-gossip.hcl"],
        ["put", "/etc/systemd/system/consul.service"], ["put", "/usr/local/bin/caddy"],
        ["put", "/etc/caddy/Caddyfile"], ["put", "/etc/systemd/system/caddy.service"],
        ["put", "/usr/local/lib/nexus/nexus-agents.pyz"], ["put", "/etc/nexus/balancer.json"],
        ["put", "/etc/nexus/secret-balancer-token"], ["put", "/etc/systemd/system/nexus-balancer.service"],
        ["check", "unit", "/etc/systemd/system/nexus-recover.service"],
        ["check", "nft", "/etc/nexus/firewall.nft"], ["check", "unit", "/etc/systemd/system/nexus-firewall.service"],
        ["check", "consul", "/etc/consul.d"], ["check", "unit", "/etc/systemd/system/consul.service"],
        ["check", "caddy", "/etc/caddy/Caddyfile"], ["check", "unit", "/etc/systemd/system/caddy.service"],
        ["check", "unit", "/etc/systemd/system/nexus-balancer.service"],
        ["unit", "nexus-firewall.service", "start"], ["unit", "consul.service", "start"],
        ["unit", "caddy.service", "start"], ["unit", "nexus-balancer.service", "start"], ["end"],
    ]  # fmt: skip


def test_the_action_list_of_an_upgrade() -> None:
    """A new binary has the config that it reads checked, even where that stays, and its unit restarted."""
    before, after = wanted("w1", "1.17.0"), wanted("w1", "1.22.7")
    config = next(f for f in before.files if f.path.endswith("consul.hcl"))
    after = replace(after, files=tuple(config if f.path == config.path else f for f in after.files))
    assert rows(diff("w1", after, facts_of(before)))[3:] == [
        ["put", "/usr/local/bin/consul"], ["check", "consul", "/etc/consul.d"],
        ["unit", "consul.service", "restart"], ["end"],
    ]  # fmt: skip


_NEW = KeyPair("NEW\n", "NEW KEY\n")


@pytest.mark.parametrize(("over", "verb"), [
    ({"tokens": SECRETS.tokens | {"agent/lb1": Token("a", "new")}}, "reload"),
    ({"certs": SECRETS.certs | {"lb1": _NEW}}, "reload"),
    ({"trusted": (*SECRETS.trusted, _NEW.cert)}, "reload"),
    ({"trusted": (_NEW.cert,)}, "restart"),
    ({"gossip": "bmV3" * 11}, None),
])  # fmt: skip
def test_consul_restarts_for_a_secret_only_when_the_oldest_ca_goes(over: dict[str, Any], verb: str | None) -> None:
    """New tokens and certificates are a reload; only when the oldest CA goes, its connections must end."""
    context = replace(CONTEXT, secrets=replace(SECRETS, **over))
    listed = rows(diff("lb1", wanted("lb1", context=context), facts_of(wanted("lb1"))))
    assert [r[2] for r in listed if r[:2] == ["unit", "consul.service"]] == ([verb] if verb else [])


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 3)])
def test_each_level_of_security_restarts_consul(before: int, after: int) -> None:
    """Consul reads the switches of ACLs, TLS and encryption only when it starts: a reload silently leaves them off."""
    old, new = (wanted("lb1", context=replace(CONTEXT, levels={"lb1": level})) for level in (before, after))
    assert ["unit", "consul.service", "restart"] in rows(diff("lb1", new, facts_of(old)))


@pytest.mark.parametrize(("name", "units"), [
    ("w1", ["worker"]), ("all1", ["orchestrator", "worker", "balancer"])])  # fmt: skip
def test_a_new_program_restarts_only_the_agents(name: str, units: list[str]) -> None:
    """Changed sources of the agents are one file and a restart of each agent; Consul, Caddy and the firewall go on."""
    context = replace(CONTEXT, agents=replace(AGENTS, sha256="b0" * 32))
    assert rows(diff(name, wanted(name, context=context), facts_of(wanted(name))))[3:] == [
        ["put", "/usr/local/lib/nexus/nexus-agents.pyz"],
        *(["unit", f"nexus-{agent}.service", "restart"] for agent in units), ["end"],
    ]  # fmt: skip


def test_a_role_that_goes_takes_its_files_and_unit_with_it() -> None:
    """A host that is no longer a load balancer drops the files of Caddy and of its agent, and stops both units."""
    plan = diff("h", wanted("mw1"), facts_of(wanted("all1")))
    listed = rows(plan)
    assert [r[1] for r in listed if r[0] == "drop"] == [
        "/usr/local/bin/caddy", "/etc/caddy/Caddyfile", "/etc/systemd/system/caddy.service",
        "/etc/nexus/balancer.json", "/etc/nexus/secret-balancer-token",
        "/etc/systemd/system/nexus-balancer.service"]  # fmt: skip
    assert [r[1] for r in listed if r[::2] == ["unit", "stop"]] == ["caddy.service", "nexus-balancer.service"]


@given(st.text())
def test_who_cannot_break_the_action_list(who: str) -> None:
    """Whatever the operator's account or command is called, it stays one field of one line."""
    plan = diff("h1", Manifest(), bare_facts())
    lines = actions(plan, who).split("\n")
    assert len(lines) == 5
    assert lines[2].startswith("who\t")
    assert lines[2].count("\t") == 1
    assert lines[3:] == ["end", ""]


@given(MANIFESTS, MANIFESTS)
def test_a_plan_names_its_base(before: Manifest, after: Manifest) -> None:
    """The plan names the generation that it was made for, so that a host that has changed since can refuse it."""
    facts: Facts = facts_of(before)
    plan = diff("h1", after, facts)
    assert (plan.base, plan.recorded) == (before.id, before.id == after.id)
    assert rows(plan)[0] == ["base", before.id]
