"""The hosts' addresses within the cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fabfile.core.errors import InputError
from fabfile.core.state.facts import Facts
from fabfile.core.state.topology import Address, addresses
from tests.support.samples import bare_facts, cluster_of

TWO = cluster_of(m1="manager", w1="worker")


def facts_with(*pairs: tuple[str, str], route: str | None = "eth0") -> Facts:
    return bare_facts(addresses=pairs, default_device=route)


def address_of(m1: dict[str, Any], facts: Facts | None, remembered: Address | None = None) -> Address:
    """The address of a host with these keys of hosts.yml, these facts and this memory."""
    cluster = replace(TWO, hosts=(replace(TWO.hosts[0], **m1),))
    return addresses(cluster, {"m1": facts} if facts else {}, {"m1": remembered} if remembered else {})["m1"]


def test_hosts_yml_comes_first() -> None:
    """An address in hosts.yml beats what the probe saw and what was remembered."""
    remembered = Address("10.2.2.2", "10.2.2.2")
    address = address_of({"address": "10.1.1.1"}, facts_with(("eth0", "10.0.0.9")), remembered)
    assert address == Address("10.1.1.1", "10.1.1.1")


def test_the_address_that_ssh_dials_is_next() -> None:
    """Where the host itself has the address that ssh goes to, the cluster uses it, whatever the default route is."""
    facts = facts_with(("eth0", "10.0.0.9"), ("eth1", "192.0.2.1"))
    assert address_of({}, facts) == Address("192.0.2.1", "192.0.2.1")


def test_else_the_default_routes_interface() -> None:
    """Else it is the default route's address, never a container bridge's or a tunnel's."""
    facts = facts_with(("docker0", "172.17.0.1"), ("wg0", "10.9.0.1"), ("eth1", "10.0.1.9"), ("eth0", "10.0.0.9"))
    assert address_of({}, facts).bind == "10.0.0.9"
    assert address_of({}, replace(facts, default_device=None)).bind == "10.0.1.9"


def test_a_loopback_is_no_cluster_address() -> None:
    """A loopback address that SSH dials is never the cluster address."""
    assert address_of({"ssh": "127.0.0.1"}, facts_with(("lo", "127.0.0.1"), ("eth0", "10.0.0.9"))).bind == "10.0.0.9"


def test_a_name_or_alias_is_no_address() -> None:
    """Where ssh goes to a name, the probe decides."""
    assert address_of({"ssh": "m1.example.org"}, facts_with(("eth0", "10.0.0.9"))).bind == "10.0.0.9"


def test_nat_advertises_another_address() -> None:
    """A host behind NAT binds its own address and advertises the one that hosts.yml names."""
    address = address_of({"advertise": "203.0.113.7"}, facts_with(("eth0", "10.0.0.9")))
    assert address == Address("10.0.0.9", "203.0.113.7")


def test_an_unreachable_host_is_remembered() -> None:
    """A host that cannot be reached now keeps the address of earlier runs, so that the others' files stay."""
    assert address_of({}, None, Address("10.0.0.9", "203.0.113.7")) == Address("10.0.0.9", "10.0.0.9")
    assert address_of({"advertise": "203.0.113.8"}, None) == Address("0.0.0.0", "203.0.113.8")


def test_all_unknown_hosts_are_named_at_once() -> None:
    """Hosts without a known address stop the run, each with the path of the key to write."""
    with pytest.raises(InputError) as caught:
        addresses(TWO, {"w1": facts_with(("docker0", "172.17.0.1"))}, {})
    assert [f.split(":")[0] for f in caught.value.faults] == ["hosts.m1.address", "hosts.w1.address"]
    assert "address:" in caught.value.hint


def test_two_hosts_at_one_address_are_refused() -> None:
    """Two hosts with one advertised address are an error that names both."""
    same = facts_with(("eth0", "10.0.0.9"))
    with pytest.raises(InputError, match=r"hosts\.w1: has the same cluster address as m1 \(10\.0\.0\.9\)"):
        addresses(TWO, {"m1": same, "w1": same}, {})


def test_one_inner_address_behind_two_nats_is_fine() -> None:
    """Two hosts may have one address of their own when they advertise different ones."""
    hosts = tuple(replace(h, advertise=f"203.0.113.{n}") for n, h in enumerate(TWO.hosts, 1))
    same = facts_with(("eth0", "10.0.0.9"))
    both = addresses(replace(TWO, hosts=hosts), {"m1": same, "w1": same}, {})
    assert {a.bind for a in both.values()} == {"10.0.0.9"}
