"""The secrets on the operator's disk: made once, only added to, never shown."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from stat import S_IMODE
from typing import Any

import pytest

from fabfile.core.errors import NexusError, Refused
from fabfile.core.judge.acl import token_names
from fabfile.core.model.cluster import Cluster, Role
from fabfile.core.model.secrets import KeyPair, Secrets, Token, host_names
from fabfile.core.resources import ROOT
from fabfile.edge.disk import atomic
from fabfile.edge.disk.pki import make_authority
from fabfile.edge.disk.state import State
from fabfile.edge.disk.vault import FILE, Vault, gossip_key
from tests.support.samples import CLUSTER, SECRETS, cluster_of

SMALL = cluster_of(m1="manager", w1="worker")


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / ".nexus" / "prod")


def with_roles(cluster: Cluster, name: str, *roles: Role) -> Cluster:
    return replace(cluster, hosts=tuple(replace(h, roles=roles) if h.name == name else h for h in cluster.hosts))


def without(cluster: Cluster, name: str) -> Cluster:
    return replace(cluster, hosts=tuple(h for h in cluster.hosts if h.name != name))


def private(secrets: Secrets) -> Iterator[str]:
    """Everything that nobody else may see."""
    yield from (secrets.gossip, secrets.authority.key, secrets.management or "", secrets.gossip_next or "")
    yield from (pair.key for pair in secrets.certs.values())
    yield from (token.secret for token in secrets.tokens.values())


def test_there_is_nothing_before_the_first_deploy(vault: Vault) -> None:
    """Without a file there are no secrets, and looking for them makes none."""
    assert vault.load() is None
    assert not vault.path.exists()


def test_a_new_cluster_gets_all_that_it_needs(vault: Vault) -> None:
    """Every host has its certificate of this cluster's CA, every token is there, the CA is the one that is trusted."""
    made = vault.ensure(SMALL)
    assert {n: p.names for n, p in made.certs.items()} == {
        "m1": host_names("m1", True, "dc1"), "w1": host_names("w1", False, "dc1")}  # fmt: skip
    assert set(made.tokens) == {t for h in SMALL.hosts for t in token_names(h)}
    assert made.trusted == (made.authority.cert,)
    assert {p.issuer for p in made.certs.values()} == {made.authority.sum}
    assert (made.management, made.gossip_next, made.retired) == (None, None, ())


def test_no_two_secrets_are_alike(vault: Vault, tmp_path: Path) -> None:
    """All keys and tokens differ from each other, and from those of the same cluster made elsewhere."""
    both = (vault.ensure(SMALL), Vault(tmp_path / "else" / "prod").ensure(SMALL))
    made = [s for whole in both for s in private(whole) if s]
    made += [t.accessor for whole in both for t in whole.tokens.values()]
    assert len(set(made)) == len(made) == 2 * (2 + 2 + 4 + 4)


def test_a_gossip_key_is_32_bytes() -> None:
    """A gossip key is 32 random bytes in base64, which Consul takes as AES-256."""
    assert len(base64.b64decode(gossip_key(), validate=True)) == 32
    assert gossip_key() != gossip_key()


def test_they_are_made_once(vault: Vault) -> None:
    """A second look changes not a byte of the file and does not write it again."""
    made = vault.ensure(SMALL)
    before, stamp = vault.path.read_bytes(), vault.path.stat()
    assert vault.ensure(SMALL) == made == Vault(vault.path.parent).load()
    after = vault.path.stat()
    assert vault.path.read_bytes() == before
    assert (after.st_ino, after.st_mtime_ns) == (stamp.st_ino, stamp.st_mtime_ns)


def test_the_inventorys_order_changes_nothing(vault: Vault) -> None:
    """Hosts in another order need no other secrets, and the file stays as it is."""
    vault.ensure(SMALL)
    before = vault.path.read_bytes()
    vault.ensure(replace(SMALL, hosts=SMALL.hosts[::-1]))
    assert vault.path.read_bytes() == before


def test_a_new_host_adds_only_its_own(vault: Vault) -> None:
    """A host that joins gets a certificate and tokens; those of all others, the CA and the gossip key stay."""
    before = vault.ensure(SMALL)
    after = vault.ensure(cluster_of(m1="manager", w1="worker", lb1="loadbalancer"))
    assert set(after.certs) - set(before.certs) == {"lb1"}
    assert set(after.tokens) - set(before.tokens) == {"agent/lb1", "balancer/lb1"}
    certs, tokens = {n: after.certs[n] for n in before.certs}, {n: after.tokens[n] for n in before.tokens}
    assert replace(after, certs=certs, tokens=tokens) == before


def test_a_host_that_is_commented_out_loses_nothing(vault: Vault) -> None:
    """A host that is missing from hosts.yml for a plan has its certificate and tokens when it is back."""
    before = vault.ensure(SMALL)
    away = vault.ensure(without(SMALL, "w1"))
    assert set(away.certs) == {"m1"}
    assert vault.ensure(SMALL) == before


@pytest.mark.parametrize("change", [
    lambda c: with_roles(c, "m1", "worker"), lambda c: with_roles(c, "w1", "manager", "loadbalancer"),
    lambda c: replace(c, datacenter="dc2"), lambda c: replace(c, hosts=c.hosts[:1], datacenter="dc2"),
])  # fmt: skip
def test_a_slip_in_the_inventory_loses_nothing(vault: Vault, change: Any) -> None:
    """Another role or datacenter needs other certificates; taken back, the first ones are there, and so are all tokens."""
    before = vault.ensure(SMALL)
    vault.ensure(change(SMALL))
    after = vault.ensure(SMALL)
    assert after.certs == before.certs
    assert {name: after.tokens[name] for name in before.tokens} == before.tokens


def test_a_spare_certificate_of_a_ca_that_is_gone_is_not_used(vault: Vault) -> None:
    """A certificate that nobody trusts any more is made anew."""
    before = vault.ensure(SMALL)
    vault.ensure(without(SMALL, "w1"))
    new = make_authority("prod")
    vault.update(lambda s: replace(s, authority=new, trusted=(new.cert,)))
    assert vault.ensure(SMALL).certs["w1"].issuer == new.sum != before.certs["w1"].issuer


def test_a_removed_host_is_dropped_by_a_deploy(vault: Vault) -> None:
    """Once a deploy has made a host's tokens void, its key and tokens are in the file no more; all else stays."""
    before = vault.ensure(SMALL)
    vault.ensure(without(SMALL, "w1"))
    vault.forget_removed(without(SMALL, "w1"))
    after = vault.load()
    assert after
    assert (set(after.certs), set(after.tokens)) == ({"m1"}, {"agent/m1", "orchestrator/m1"})
    assert (after.certs["m1"], after.authority, after.gossip) == (before.certs["m1"], before.authority, before.gossip)
    kept = vault.path.read_text()
    assert json.dumps(before.certs["w1"].key) not in kept
    assert before.tokens["agent/w1"].secret not in kept
    back = vault.ensure(SMALL)
    assert back.tokens["agent/w1"] != before.tokens["agent/w1"]
    assert back.certs["w1"] != before.certs["w1"]


_RUN = """
import sys; from pathlib import Path; from tests.support.samples import cluster_of
from fabfile.edge.disk.vault import Vault; from fabfile.edge.disk.state import State
sys.stdin.read(1)
folder = Path(sys.argv[1])
print(State(folder).make_cluster_id(), Vault(folder).ensure(cluster_of(m1="manager", w1="worker")).gossip)
"""


def test_two_first_runs_make_one_set(vault: Vault) -> None:
    """Runs that begin at the same moment end with the same cluster id and the same secrets, which are those on disk."""
    argv = [sys.executable, "-c", _RUN, str(vault.path.parent)]
    runs = [subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(4)]
    for run in runs:
        assert run.stdin
        run.stdin.write("x")
        run.stdin.flush()
    said = {run.communicate(timeout=60)[0] for run in runs}
    assert [run.returncode for run in runs] == [0, 0, 0, 0]
    found = vault.load()
    assert found
    assert said == {f"{State(vault.path.parent).cluster_id} {found.gossip}\n"}


def test_a_change_is_made_to_what_is_there_now(vault: Vault) -> None:
    """What another run has written since we read stays."""
    vault.ensure(SMALL)
    Vault(vault.path.parent).update(lambda s: replace(s, management="m"))
    vault.update(lambda s: replace(s, serial=s.serial + 1))
    after = vault.load()
    assert after
    assert (after.management, after.serial) == ("m", 2)
    with pytest.raises(Refused, match="no secrets yet"):
        Vault(vault.path.parent / "other").update(lambda s: s)


@pytest.mark.parametrize("where", ["top", "authority", "certs.m1", "tokens.agent/m1"])
def test_fields_of_a_newer_version_are_not_lost(vault: Vault, where: str) -> None:
    """A field that this version does not know stops it before it writes the file without that field."""
    vault.ensure(SMALL)
    raw = json.loads(vault.path.read_text())
    at = raw
    for name in where.split(".") if where != "top" else []:
        at = at[name]
    at["of_tomorrow"] = "x"
    vault.path.write_text(json.dumps(raw))
    for look in (vault.load, lambda: vault.ensure(CLUSTER), lambda: vault.update(lambda s: s)):
        with pytest.raises(NexusError, match="of_tomorrow, which this version does not know") as caught:
            look()
        assert "newer version" in caught.value.hint
    assert json.loads(vault.path.read_text()) == raw


def test_another_role_keeps_the_other_tokens(vault: Vault) -> None:
    """A host with one more role keeps the tokens that it has; a deploy takes that role's from one that is no manager now."""
    before = vault.ensure(SMALL)
    more = vault.ensure(with_roles(SMALL, "w1", "worker", "loadbalancer"))
    assert {t: more.tokens[t] for t in before.tokens} == before.tokens
    assert set(more.tokens) - set(before.tokens) == {"balancer/w1"}
    assert more.certs == before.certs  # its names are the same
    other = vault.ensure(with_roles(SMALL, "m1", "worker"))
    vault.forget_removed(with_roles(SMALL, "m1", "worker"))
    assert "orchestrator/m1" not in (vault.load() or before).tokens
    assert other.tokens["agent/m1"] == before.tokens["agent/m1"]


@pytest.mark.parametrize(("name", "role", "server"), [("w1", "manager", True), ("m1", "worker", False)])
def test_a_manager_made_or_unmade_gets_a_new_certificate(vault: Vault, name: str, role: Role, server: bool) -> None:
    """A host that becomes a manager, or is none any more, gets the names that it is due, from the same CA."""
    before = vault.ensure(SMALL)
    after = vault.ensure(with_roles(SMALL, name, role))
    assert after.certs[name].names == host_names(name, server, "dc1")
    assert after.certs[name].cert != before.certs[name].cert
    assert after.certs[name].issuer == before.authority.sum
    (other,) = {"m1", "w1"} - {name}
    assert after.certs[other] == before.certs[other]


def test_what_a_rotation_left_stays(vault: Vault) -> None:
    """Management token, second CA, retired tokens and the next gossip key survive being kept and completed."""
    first = vault.ensure(SMALL)
    midway = replace(first, management="m", gossip_next=gossip_key(), retired=("a", "b"), trusted=("old", *first.trusted))
    vault.save(midway)
    assert vault.load() == vault.ensure(SMALL) == midway
    assert midway.trust_bundle == "old" + first.authority.cert


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_nobody_else_can_read_them(vault: Vault, mask: int, request: pytest.FixtureRequest) -> None:
    """The file is 0600 and its folder 0700, whatever the operator's umask, and git passes over both."""
    before = os.umask(mask)
    request.addfinalizer(lambda: os.umask(before))
    vault.save(SECRETS)
    vault.save(replace(SECRETS, management="m"))
    assert S_IMODE(vault.path.stat().st_mode) == 0o600
    assert S_IMODE(vault.path.parent.stat().st_mode) == 0o700
    assert (vault.path.parent.parent / ".gitignore").read_text() == "*\n"
    assert sorted(p.name for p in vault.path.parent.iterdir()) == [".lock", FILE]


def test_a_file_that_was_open_to_others_is_closed(vault: Vault) -> None:
    """The next write makes a file 0600 that somebody had opened."""
    vault.save(SECRETS)
    vault.path.chmod(0o644)
    vault.save(replace(SECRETS, management="m"))
    assert S_IMODE(vault.path.stat().st_mode) == 0o600


def test_a_write_that_fails_leaves_the_old_secrets(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off in the middle of a write, the file is the old one, and nothing half-written lies beside it."""
    vault.save(SECRETS)

    def fails(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", fails)
    with pytest.raises(OSError, match="No space"):
        vault.save(replace(SECRETS, management="m"))
    assert vault.load() == SECRETS
    assert sorted(p.name for p in vault.path.parent.iterdir()) == [".lock", FILE]


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_named(vault: Vault, keep: float) -> None:
    """A file that was cut off is named with a way out, never taken for an absent one, and stays as it was found."""
    vault.save(SECRETS)
    whole = vault.path.read_bytes()
    vault.path.write_bytes(whole[: int(len(whole) * keep)])
    found = vault.path.read_bytes()
    for look in (vault.load, lambda: vault.ensure(CLUSTER)):
        with pytest.raises(NexusError) as caught:
            look()
        assert str(vault.path) in caught.value.message
        assert "backup" in caught.value.hint
    assert vault.path.read_bytes() == found


def damaged(**change: Any) -> bytes:
    return json.dumps({**asdict(SECRETS), **change}).encode()


NOT_OURS = {
    "bytes": b"\xff\xfe\x00", "null": b"null", "list": b"[]", "number": b"1", "empty object": b"{}", "text": b'"x"',
    "no tokens": json.dumps({k: v for k, v in asdict(SECRETS).items() if k != "tokens"}).encode(),
    "a token that lacks its secret": damaged(tokens={"agent/m1": {"accessor": "a"}}),
    "an authority of text": damaged(authority="x"), "trusted is null": damaged(trusted=None),
    "tokens as a pair": damaged(tokens={"agent/m1": ["a", "b"]}),
}  # fmt: skip


@pytest.mark.parametrize("content", NOT_OURS.values(), ids=NOT_OURS.keys())
def test_garbage_is_named(vault: Vault, content: bytes) -> None:
    """Anything that we did not write is a NexusError with the file's name, and none of its content."""
    vault.save(SECRETS)
    vault.path.write_bytes(content)
    with pytest.raises(NexusError) as caught:
        vault.load()
    assert str(vault.path) in caught.value.message
    assert not [s for s in private(SECRETS) if s and s in str(caught.value) + caught.value.hint]


@pytest.mark.parametrize("change", [{"certs": []}, {"tokens": []}, {"certs": None}])
def test_lists_in_place_of_mappings_are_named(vault: Vault, change: dict[str, Any]) -> None:
    """That holds for certs and tokens that are no mappings, too."""
    vault.save(SECRETS)
    vault.path.write_bytes(damaged(**change))
    with pytest.raises(NexusError):
        vault.load()


def test_a_folder_in_its_place_is_named(vault: Vault) -> None:
    """A folder where the file should be is a NexusError, not a new set of secrets."""
    vault.path.mkdir(parents=True)
    with pytest.raises(NexusError, match=FILE):
        vault.ensure(SMALL)


@pytest.mark.parametrize("form", [repr, str, "{}".format, "{!r}".format, lambda s: repr([s]), lambda s: repr({"a": (s,)})])
def test_no_secret_is_ever_shown(form: Any) -> None:
    """However secrets, key pairs and tokens are printed, keys and tokens stay out; accessors and certificates may show."""
    whole = replace(SECRETS, management="management-token", gossip_next="the-next-key")
    shown = [form(whole), form(whole.authority), *map(form, whole.certs.values()), *map(form, whole.tokens.values())]
    for secret in private(whole):
        assert not [s for s in shown if secret.strip() in s or secret in s]
    assert "accessor agent/m1" in form(whole)
    assert "SECRET" not in form(Token("a", "SECRET")) + form(KeyPair("c", "SECRET"))
