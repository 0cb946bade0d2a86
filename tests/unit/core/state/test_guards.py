"""What must hold before a deploy may change anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fabfile.cli.console.output import show_errors
from fabfile.core.errors import HostError, InputError, Refused
from fabfile.core.model.service import Check, Service, Services
from fabfile.core.state.facts import Facts
from fabfile.core.state.firewall import RULES
from fabfile.core.state.guards import (
    check_admin,
    check_hosts,
    check_neighbours,
    check_ports,
    check_primary,
    require_reachable,
)
from fabfile.core.state.topology import Address
from tests.support.samples import ADDRESSES, CLUSTER, bare_facts, facts_of, wanted


@pytest.mark.parametrize("primary", [None, "m1", "mw1", "all1"])
def test_a_known_primary_is_fine(primary: str | None) -> None:
    """No primary, or one of the inventory's managers, lets the deploy go on."""
    check_primary(CLUSTER, primary)


@pytest.mark.parametrize("primary", ["m9", "w1"])
def test_a_foreign_primary_is_refused(primary: str) -> None:
    """A primary that the inventory does not name as a manager stops the deploy; the error names it and the remedy."""
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


def test_all_unfit_hosts_are_named_at_once() -> None:
    """Each fault of each host is a line of its own that names the host."""
    with pytest.raises(InputError) as caught:
        check_hosts({
            "a": bare_facts(machine="riscv64"), "b": bare_facts(python=(3, 9, 2), systemd=241), "ok": bare_facts(),
            "c": bare_facts(python=(), systemd=0, not_regular=frozenset({"/etc/consul.d/consul.hcl"})),
        })  # fmt: skip
    assert list(caught.value.faults) == [
        "a: its architecture riscv64 is not supported (amd64, arm64, armv7 are)",
        "b: needs python3 of version 3.10 or newer, has 3.9.2",
        "b: needs systemd 245 or newer, has 241",
        "c: needs python3 of version 3.10 or newer, has none",
        "c: needs systemd 245 or newer, has none",
        "c: /etc/consul.d/consul.hcl is in the way: it is not a regular file",
    ]


def test_unreachable_hosts_are_named_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Hosts that were to be changed and cannot be reached stop the run, each with a message and a hint of its own."""
    require_reachable([])
    with pytest.raises(InputError) as caught:
        require_reachable([HostError("a", "closed", "is it up?"), HostError("b", "refused", "load the key")])
    assert caught.value.faults == ("a: closed", "b: refused")
    show_errors(caught.value)
    lines = ["error: a: closed", "hint: is it up?", "error: b: refused", "hint: load the key"]
    assert capsys.readouterr().err.splitlines() == lines


def test_a_service_may_not_listen_where_sshd_does() -> None:
    """A service's port must differ from the SSH port of each worker that may run it."""
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


def facts_with_client(client: str | None) -> dict[str, Facts]:
    return {"m1": bare_facts(ssh_client=client, addresses=(("eth0", "10.0.0.1"),)),
            "w1": bare_facts(addresses=(("eth0", "10.0.0.2"),))}  # fmt: skip


@pytest.mark.parametrize(
    ("client", "admin_from"),
    [("203.0.113.7", ()), ("203.0.113.7", ("203.0.113.0/24",)), ("203.0.113.7", ("203.0.113.7/32",)),
     ("203.0.113.7", ("2001:db8::/48", "203.0.113.0/24")), ("2001:db8::1", ("203.0.113.0/24", "2001:db8::/48")),
     ("fe80::1%eth0", ("fe80::/10",)), ("10.0.0.2", ("203.0.113.0/24",)), ("10.0.0.1", ("203.0.113.0/24",)),
     (None, ("203.0.113.0/24",))],
)  # fmt: skip
def test_an_operator_who_stays_inside_may_deploy(client: str | None, admin_from: tuple[str, ...]) -> None:
    """From within admin_from (v4, v6, with a zone), from a host of the cluster, or unknown: the deploy goes on."""
    check_admin(replace(CLUSTER, admin_from=admin_from), facts_with_client(client), ADDRESSES)


@pytest.mark.parametrize(
    ("client", "admin_from"),
    [("198.51.100.1", ("203.0.113.0/24",)), ("198.51.100.1", ("2001:db8::/48",)), ("2001:db9::1", ("2001:db8::/48",)),
     ("2001:db8::1", ("0.0.0.0/0",)), ("10.0.0.9", ("203.0.113.0/24",))],
)  # fmt: skip
def test_an_operator_is_not_shut_out(client: str, admin_from: tuple[str, ...]) -> None:
    """A deploy whose firewall would cut its own connection is refused, and the hint says what to add."""
    with pytest.raises(Refused) as caught:
        check_admin(replace(CLUSTER, admin_from=admin_from), facts_with_client(client), ADDRESSES)
    assert client in caught.value.message
    assert f"add {client} to admin_from in hosts.yml" in caught.value.hint


def test_without_our_firewall_admin_from_has_no_effect() -> None:
    """With `firewall: false` no operator is refused for admin_from."""
    cluster = replace(CLUSTER, admin_from=("203.0.113.0/24",), firewall=False)
    check_admin(cluster, facts_with_client("198.51.100.1"), ADDRESSES)


def test_a_host_that_the_others_rules_let_in_is_fine() -> None:
    """A deploy of one host goes on where the firewalls of all others know it."""
    check_neighbours(CLUSTER, {h.name: facts_of(wanted(h.name)) for h in CLUSTER.hosts}, ADDRESSES, ["w1"])


def test_a_longer_address_does_not_stand_for_a_shorter_one() -> None:
    """Rules that let in 10.0.0.12 do not let in 10.0.0.1: the deploy of that host is refused, with the way out."""
    rules = facts_of(wanted("m1")).files
    content = (rules[RULES].content or b"").replace(b"10.0.0.2,", b"10.0.0.25,")
    facts = {"m1": bare_facts(files={RULES: replace(rules[RULES], content=content)}), "w1": bare_facts()}
    with pytest.raises(Refused, match="the firewall of m1 does not know w1 yet") as caught:
        check_neighbours(CLUSTER, facts, ADDRESSES, ["w1"])
    assert "--hosts all" in caught.value.hint
    check_neighbours(CLUSTER, facts, {**ADDRESSES, "w1": Address("10.0.0.25", "10.0.0.25")}, ["w1"])
