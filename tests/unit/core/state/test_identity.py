"""Which cluster a host belongs to, and what that forbids: foreign hosts, lost or old secrets, some rollbacks."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fabfile.core.errors import Refused
from fabfile.core.state.consul import FULL_LEVEL, LEVELS
from fabfile.core.state.facts import Facts, FileFact
from fabfile.core.state.identity import (
    IDENTITY,
    Identity,
    check_rollback,
    check_secrets,
    identities,
    settle_cluster_id,
)
from fabfile.core.state.manifest import Manifest, text_file
from tests.support.samples import CLUSTER, CONTEXT, bare_facts, facts_of, wanted
from tests.support.script_host import sha

OURS, THEIRS = Identity("prod", "aaaa"), Identity("prod", "bbbb")


def with_identity(content: bytes | None) -> Facts:
    file = FileFact(sha(content or b""), "0644", "root", "root", len(content or b""), content)
    return bare_facts(files={IDENTITY: file})


def test_the_identity_that_a_deploy_writes_reads_back() -> None:
    """A deployed host has the cluster's name and id, its level and its secrets' serial; a new host has no identity."""
    assert identities({"m1": facts_of(wanted("m1")), "new": bare_facts()}) == {
        "m1": Identity("prod", "0123456789abcdef", 3, 1, ("manager",))}  # fmt: skip


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"null", b"{}", b'{"cluster": "x"}', b"\xff\xfe"])
def test_an_unreadable_identity_is_none(content: bytes | None) -> None:
    """A damaged identity file does not stop the deploy that replaces it."""
    assert identities({"m1": with_identity(content)}) == {}


def test_a_new_cluster_needs_an_id() -> None:
    """Where neither the state folder nor a host has an id, there is none to deploy with yet."""
    assert settle_cluster_id(CLUSTER, None, {}) is None


def test_our_own_hosts_are_accepted() -> None:
    """Hosts with our id, and new ones, may be deployed."""
    assert settle_cluster_id(CLUSTER, "aaaa", {"m1": OURS}) == "aaaa"
    assert settle_cluster_id(CLUSTER, "aaaa", {}) == "aaaa"


def test_a_host_of_another_cluster_is_refused() -> None:
    """A host with another id stops the deploy; the error names the host and both clusters, the hint names the host."""
    with pytest.raises(Refused) as caught:
        settle_cluster_id(CLUSTER, "aaaa", {"m1": OURS, "w1": THEIRS})
    assert "w1 belongs to another cluster: prod (id bbbb), not to prod (id aaaa)" in caught.value.message
    assert "w1" in caught.value.hint
    with pytest.raises(Refused):
        settle_cluster_id(CLUSTER, "aaaa", {"w1": THEIRS}, adopt=True)


def test_a_lost_state_folder_is_named_and_can_be_adopted() -> None:
    """A running cluster of this name that the state folder does not know is refused, and taken over with --adopt."""
    with pytest.raises(Refused) as caught:
        settle_cluster_id(CLUSTER, None, {"m1": OURS})
    assert "m1" in caught.value.message
    assert "--adopt" in caught.value.hint
    assert settle_cluster_id(CLUSTER, None, {"m1": OURS, "w1": OURS}, adopt=True) == "aaaa"


def test_two_clusters_cannot_be_adopted_as_one() -> None:
    """Hosts of two clusters, or of one by another name, are refused even when asked to adopt."""
    with pytest.raises(Refused):
        settle_cluster_id(CLUSTER, None, {"m1": OURS, "w1": THEIRS}, adopt=True)
    with pytest.raises(Refused):
        settle_cluster_id(CLUSTER, None, {"m1": Identity("stage", "cccc")}, adopt=True)


def test_new_and_open_clusters_need_no_secrets() -> None:
    """Where no host runs with secrets, none need to be at hand."""
    check_secrets(CLUSTER, {}, serial=None)
    check_secrets(CLUSTER, {"m1": Identity("prod", "a", 0)}, serial=None)


def test_a_secured_cluster_with_its_secrets_may_change() -> None:
    """With the secrets at hand a secured cluster may be deployed."""
    check_secrets(CLUSTER, {"m1": Identity("prod", "a", FULL_LEVEL)}, serial=1)


@pytest.mark.parametrize("level", LEVELS)
def test_lost_secrets_are_never_replaced(level: int) -> None:
    """One host with secrets, at any level, stops a deploy without them; the error names host, folder and remedy."""
    found = {"m1": Identity("prod", "a", level), "w1": Identity("prod", "a", 0)}
    with pytest.raises(Refused) as caught:
        check_secrets(CLUSTER, found, serial=None)
    assert caught.value.message.startswith("m1 run")
    assert str(CLUSTER.state) in caught.value.message
    assert "secrets.import" in caught.value.hint


def generation(level: int | None) -> Manifest:
    fields = {"cluster": "prod", "id": "a"} | ({} if level is None else {"security": level})
    return Manifest(files=(text_file(IDENTITY, json.dumps(fields)),))


@pytest.mark.parametrize(("before", "now"), [(3, 3), (3, 2), (2, 2), (None, 0), (0, 0)])
def test_a_rollback_to_the_same_security_is_fine(before: int | None, now: int) -> None:
    """A rollback to a generation as secure as the present one, or more, is allowed."""
    check_rollback("m1", generation(before), Identity("prod", "a", now))
    check_rollback("m1", generation(before), None)


@pytest.mark.parametrize(("before", "now"), [(2, 3), (1, 2), (0, 3), (None, 1)])
def test_a_rollback_never_lowers_security(before: int | None, now: int) -> None:
    """A less secure generation is refused with the host and both levels."""
    with pytest.raises(Refused, match=rf"^m1: .*level {before or 0}, now {now}\)"):
        check_rollback("m1", generation(before), Identity("prod", "a", now))


def test_a_generation_without_identity_is_of_the_lowest_level() -> None:
    """A generation without an identity file counts as open."""
    with pytest.raises(Refused):
        check_rollback("m1", Manifest(), Identity("prod", "a", 1))
    check_rollback("m1", Manifest(), Identity("prod", "a", 0))


@pytest.mark.parametrize("level", LEVELS)
def test_a_deployed_generation_has_its_level(level: int) -> None:
    """The level that a deploy writes is the one that a rollback compares."""
    before = wanted("m1", context=replace(CONTEXT, levels={"m1": level}))
    check_rollback("m1", before, Identity("prod", "a", level))
    with pytest.raises(Refused):
        check_rollback("m1", before, Identity("prod", "a", level + 1))


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_identity_in_the_generation_before_is_refused(text: str) -> None:
    """A kept identity that cannot be read counts as open, like a missing one."""
    with pytest.raises(Refused):
        check_rollback("m1", Manifest(files=(text_file(IDENTITY, text),)), Identity("prod", "a", 3))


def test_outdated_secrets_are_refused() -> None:
    """A host whose secrets are newer than ours is refused; one with the same or older secrets may be deployed."""
    found = {"m1": Identity("prod", "a", FULL_LEVEL, 3), "w1": Identity("prod", "a", FULL_LEVEL, 2)}
    with pytest.raises(Refused, match="m1 have newer secrets") as caught:
        check_secrets(CLUSTER, found, serial=2)
    assert "secrets.import" in caught.value.hint
    check_secrets(CLUSTER, found, serial=3)
    check_secrets(CLUSTER, found, serial=4)
