"""What must hold before a deploy may change anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from fabfile.cli.console.output import complain
from fabfile.core.errors import HostError, InputError, Refused
from fabfile.core.model.service import Check, Service, Services
from fabfile.core.state.facts import Facts, FileFact
from fabfile.core.state.guards import Identity, check_hosts, check_ports, check_primary, identities, require, settle_identity
from tests.support.samples import CLUSTER, bare_facts, facts_of, wanted
from tests.support.script_host import sha

OURS, THEIRS = Identity("prod", "aaaa"), Identity("prod", "bbbb")


def with_identity(content: bytes | None) -> Facts:
    whole = FileFact(sha(content or b""), "0644", "root", "root", len(content or b""), content)
    return bare_facts(files={"/etc/nexus/host.json": whole})


def test_what_a_deploy_writes_is_what_the_guard_reads() -> None:
    """A host that was deployed names its cluster and the cluster's id."""
    assert identities({"m1": facts_of(wanted("m1")), "new": bare_facts()}) == {
        "m1": Identity("prod", "0123456789abcdef", 3, 1)}  # fmt: skip


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"null", b"{}", b'{"cluster": "x"}', b"\xff\xfe"])
def test_an_unreadable_identity_is_none(content: bytes | None) -> None:
    """A damaged identity file does not stop the deploy that mends it."""
    assert identities({"m1": with_identity(content)}) == {}


def test_a_new_cluster_needs_an_id() -> None:
    """Where neither the operator nor a host knows an id, one is to be made."""
    assert settle_identity(CLUSTER, None, {}) is None


def test_our_own_hosts_are_welcome() -> None:
    """Hosts that bear our id, and new ones, may be deployed."""
    assert settle_identity(CLUSTER, "aaaa", {"m1": OURS}) == "aaaa"
    assert settle_identity(CLUSTER, "aaaa", {}) == "aaaa"


def test_a_host_of_another_cluster_is_refused() -> None:
    """A host that bears another id stops the deploy, which names the host, both clusters and the way on."""
    with pytest.raises(Refused) as caught:
        settle_identity(CLUSTER, "aaaa", {"m1": OURS, "w1": THEIRS})
    assert "w1 belongs to another cluster: prod (id bbbb), not to prod (id aaaa)" in caught.value.message
    assert "w1" in caught.value.hint
    with pytest.raises(Refused):
        settle_identity(CLUSTER, "aaaa", {"w1": THEIRS}, adopt=True)


def test_a_lost_state_folder_is_named_and_can_be_adopted() -> None:
    """A running cluster of this name that the operator's folder does not know is refused, and taken on if asked."""
    with pytest.raises(Refused) as caught:
        settle_identity(CLUSTER, None, {"m1": OURS})
    assert "m1" in caught.value.message
    assert "--adopt" in caught.value.hint
    assert settle_identity(CLUSTER, None, {"m1": OURS, "w1": OURS}, adopt=True) == "aaaa"


def test_two_clusters_cannot_be_adopted_as_one() -> None:
    """Hosts of two clusters, or of one by another name, are refused even when asked to adopt."""
    with pytest.raises(Refused):
        settle_identity(CLUSTER, None, {"m1": OURS, "w1": THEIRS}, adopt=True)
    with pytest.raises(Refused):
        settle_identity(CLUSTER, None, {"m1": Identity("stage", "cccc")}, adopt=True)


@pytest.mark.parametrize("primary", [None, "m1", "mw1", "all1"])
def test_a_known_primary_is_fine(primary: str | None) -> None:
    """No primary, or one of the inventory's managers, lets the deploy go on."""
    check_primary(CLUSTER, primary)


@pytest.mark.parametrize("primary", ["m9", "w1"])
def test_a_foreign_primary_is_refused(primary: str) -> None:
    """A primary that the inventory does not name as a manager stops the deploy with its name and the way on."""
    with pytest.raises(Refused, match=f"primary manager is {primary}") as caught:
        check_primary(CLUSTER, primary)
    assert primary in caught.value.hint
    assert "hosts.yml" in caught.value.hint


def test_fit_hosts_pass() -> None:
    """Debian 11's and Ubuntu 20.04's systemd and each supported machine are let through."""
    check_hosts({
        "a": bare_facts(systemd=245), "b": bare_facts(machine="aarch64"), "c": bare_facts(machine="armv7l", bits=32),
        "d": bare_facts(python=(3, 10)),
    })  # fmt: skip


def test_all_unfit_hosts_are_told_at_once() -> None:
    """Every reason of every host is a line of its own that names the host."""
    with pytest.raises(InputError) as caught:
        check_hosts({
            "a": bare_facts(machine="riscv64"), "b": bare_facts(python=(3, 9, 2), systemd=241), "ok": bare_facts(),
            "c": bare_facts(python=(), systemd=0, odd=frozenset({"/etc/consul.d/consul.hcl"})),
        })  # fmt: skip
    assert list(caught.value.faults) == [
        "a: its architecture riscv64 is not supported (amd64, arm64, armv7 are)",
        "b: needs python3 of version 3.10 or newer, has 3.9.2",
        "b: needs systemd 245 or newer, has 241",
        "c: needs python3 of version 3.10 or newer, has none",
        "c: needs systemd 245 or newer, has none",
        "c: /etc/consul.d/consul.hcl is in the way: it is not a regular file",
    ]


def test_unreachable_hosts_are_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Hosts that were to be changed and cannot be reached stop the run, each with a line and a way out of its own."""
    require([])
    with pytest.raises(InputError) as caught:
        require([HostError("a", "closed", "is it up?"), HostError("b", "refused", "load the key")])
    assert caught.value.faults == ("a: closed", "b: refused")
    complain(caught.value)
    told = ["error: a: closed", "hint: is it up?", "error: b: refused", "hint: load the key"]
    assert capsys.readouterr().err.splitlines() == told


def test_a_service_may_not_listen_where_sshd_does() -> None:
    """A service's port is compared with the SSH port that each worker that may run it was seen to have."""
    offered = Services(
        tuple(Service(n, Check("tcp"), ("x",), port=p, line=2) for n, p in (("a", 2222), ("b", 8080))), Path("s.yml")
    )
    seen = {name: bare_facts(ssh_port=2222) for name in ("m1", "w1", "mw1")}
    with pytest.raises(InputError) as caught:
        check_ports(CLUSTER, offered, seen)
    assert caught.value.faults == (
        "s.yml:2: services.a.port: 2222 is the SSH port of w1", "s.yml:2: services.a.port: 2222 is the SSH port of mw1",
    )  # fmt: skip
    check_ports(CLUSTER, offered, {"m1": seen["m1"], "w1": bare_facts(ssh_port=22), "mw1": bare_facts()})
    check_ports(CLUSTER, Services((Service("c", Check("ttl"), ("x",)),)), {"w1": bare_facts()})
