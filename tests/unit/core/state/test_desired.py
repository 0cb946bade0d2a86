"""The wanted states of many hosts take a time that grows with their number, not with its square."""

from __future__ import annotations

import time
from dataclasses import replace

from fabfile.core.judge.acl import token_names
from fabfile.core.model.cluster import Host
from fabfile.core.model.secrets import KeyPair, Token
from fabfile.core.state.desired import ClusterContext
from fabfile.core.state.plan import diff
from fabfile.core.state.topology import Address
from tests.support.samples import AGENTS, CLUSTER, SECRETS, bare_facts, wanted


def large(size: int) -> ClusterContext:
    """A cluster of three managers and workers."""
    places = [f"10.1.{n // 250}.{n % 250 + 1}" for n in range(size)]
    hosts = tuple(Host(f"h{n}", at, ("manager",) if n < 3 else ("worker",)) for n, at in enumerate(places))
    secrets = replace(
        SECRETS, certs={h.name: KeyPair("C", "K") for h in hosts},
        tokens={name: Token(name, name) for h in hosts for name in token_names(h)},
    )  # fmt: skip
    addresses = {h.name: Address(h.ssh, h.ssh) for h in hosts}
    return ClusterContext(replace(CLUSTER, hosts=hosts), "0123456789abcdef", addresses, secrets, AGENTS)


def test_a_thousand_hosts_are_planned_within_seconds() -> None:
    """On the operator's machine: it is 1 s, and was 17 s while each host's rules were worked out for themselves."""
    began = time.process_time()
    context = large(1000)
    plans = [diff(host.name, wanted(host.name, context=context), bare_facts()) for host in context.cluster.hosts]
    assert time.process_time() - began < 6
    assert all(not plan.empty for plan in plans)


def test_what_is_worked_out_once_follows_its_sources() -> None:
    """A context with other addresses has other rules: nothing of the first one is left."""
    context = large(5)
    moved = replace(context, addresses={**context.addresses, "h0": Address("10.9.9.9", "10.9.9.9")}, former=("10.8.8.8",))
    assert moved.let_in == ("10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.8.8.8", "10.9.9.9")
    assert moved.managers == ("10.9.9.9", "10.1.0.2", "10.1.0.3")
    assert wanted("h4", context=moved) != wanted("h4", context=context)
