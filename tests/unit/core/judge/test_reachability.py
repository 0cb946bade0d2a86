"""Which ports are asked from where, and what is said of those that do not answer."""

from __future__ import annotations

from typing import Any

import pytest

from fabfile.core.judge.health import ConsulStatus, Health, assess
from fabfile.core.judge.reachability import Port, passing_instances, ports_to_ask, read_answers, unanswered
from fabfile.core.state.facts import OtherFirewall
from tests.support.samples import active, bare_facts, cluster_of

CLUSTER = cluster_of(m1="manager", m2="manager worker", w1="worker", lb1="loadbalancer")
ADDRESSES = {"m1": "10.0.0.1", "m2": "10.0.0.2", "w1": "10.0.0.3", "lb1": "10.0.0.4"}
WEB = Port("w1", "10.0.0.3", 8080, "service web")
CLOSED = OtherFirewall("iptables", True)


def health(*down: str, **firewalls: OtherFirewall) -> Health:
    """All hosts with Consul running, but those that are `down`; each with its other firewall."""
    facts = {
        name: bare_facts(units={"consul.service": active()}, other_firewalls=(firewalls[name],) if name in firewalls else ())
        for name in ADDRESSES
        if name not in down
    }
    return assess(CLUSTER, facts, {}, ConsulStatus())


def told(reason: str, *sources: str, port: Port = WEB, **firewalls: OtherFirewall) -> list[str]:
    """What is said where these hosts asked one port, for the same reason in vain."""
    sources = sources or ("lb1",)
    asked = dict.fromkeys(sources, (port,))
    return unanswered(health(**firewalls), ADDRESSES, asked, dict.fromkeys(sources, (reason,)))


def test_agents_ask_the_managers_and_balancers_the_instances() -> None:
    """8300 and 8301 of each other manager from every host; an instance's port from the balancers only."""
    asked = ports_to_ask(health(), ADDRESSES, [WEB])
    assert {name: [(p.host, p.number) for p in ports] for name, ports in asked.items()} == {
        "m1": [("m2", 8300), ("m2", 8301)],
        "m2": [("m1", 8300), ("m1", 8301)],
        "w1": [("m1", 8300), ("m1", 8301), ("m2", 8300), ("m2", 8301)],
        "lb1": [("m1", 8300), ("m1", 8301), ("m2", 8300), ("m2", 8301), ("w1", 8080)],
    }


def test_who_cannot_answer_is_not_asked() -> None:
    """A manager that is down, or whose address nobody knows, is another check's business; nor does a lost host ask."""
    asked = ports_to_ask(health("m2"), {"m2": "10.0.0.2"}, [])
    assert asked == {}


def test_instances_are_read_as_the_balancers_read_them() -> None:
    """By the service's own address, else the node's; one without a port is not for others to reach."""
    entries: list[Any] = [
        {"Node": {"Node": "w1", "Address": "10.0.0.3"}, "Service": {"Address": "", "Port": 8080}},
        {"Node": {"Node": "w2", "Address": "10.0.0.9"}, "Service": {"Address": "10.1.0.9", "Port": 8080}},
        {"Node": {"Node": "w2", "Address": "10.0.0.9"}, "Service": {"Address": "10.1.0.9", "Port": 0}},
    ]
    assert passing_instances("web", entries) == [WEB, Port("w2", "10.1.0.9", 8080, "service web")]


@pytest.mark.parametrize("output", [b"", b"{}", b'["", ""]', b"[null]", b'[""] more', b"[" * 100_000])
def test_answers_of_another_kind_are_refused(output: bytes) -> None:
    """Anything but one text for each port that was asked."""
    with pytest.raises((ValueError, RecursionError)):
        read_answers(output, 1)


def test_a_hosts_words_are_harmless_and_short() -> None:
    """A reason is one line of bounded length, without what a terminal obeys."""
    (answer,) = read_answers(b'["\\u001b[2J' + b"x" * 500 + b'"]', 1)
    assert answer.startswith("\\x1b[2Jx")
    assert len(answer) == 80


@pytest.mark.parametrize("reason", ["No route to host", "Connection refused", "no answer in 2 s"])
@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("iptables", "iptables -I INPUT -p tcp -s 10.0.0.4 --dport 8080 -j ACCEPT"),
        ("iptables-legacy", "iptables-legacy -I INPUT -p tcp -s 10.0.0.4 --dport 8080 -j ACCEPT"),
        ("firewalld", "firewall-cmd --permanent --zone=trusted --add-source=10.0.0.4"),
        ("nftables table inet mine", "nft list table inet mine, and let it accept tcp port 8080 from 10.0.0.4"),
        ("ufw", "inv deploy --hosts w1"),
    ],
)
def test_whose_rules_they_are_is_named_with_the_way_out(name: str, way_out: str, reason: str) -> None:
    """The host that refuses, the port, from whom, why, whose rules, and the command that lets it through."""
    (line,) = told(reason, w1=OtherFirewall(name, True))
    why = reason[0].lower() + reason[1:]
    assert line.startswith(f"w1 does not answer lb1 on 8080 (service web): {why}; {name} there refuses")
    assert way_out in line


@pytest.mark.parametrize(
    ("reason", "firewalls", "blame"),
    [
        ("No route to host", {"w1": OtherFirewall("nftables table inet f2b", False)}, "perhaps by a rule of nftables table"),
        ("Connection refused", {"lb1": CLOSED}, "nobody listens there at 10.0.0.3, or a firewall rejects it: ss -lnt"),
        ("no answer in 2 s", {}, "no other firewall is seen there: inv deploy, then look at the network between"),
        ("Network is unreachable", {"w1": CLOSED}, "look at the routes and the rules for what goes out of lb1"),
    ],
)
def test_nobody_is_blamed_without_a_reason(reason: str, firewalls: dict[str, OtherFirewall], blame: str) -> None:
    """A rule for some packets is only perhaps the cause; without any, the network or the service is."""
    (line,) = told(reason, **firewalls)
    assert blame in line


def test_one_line_for_a_host_and_a_reason() -> None:
    """Many hosts that are refused alike are named together, and no line grows without bounds."""
    (line,) = told("no answer in 2 s", "m1", "m2", "lb1")
    assert line.startswith("w1 does not answer lb1, m1, m2 on 8080 (service web): no answer in 2 s; ")
    many = tuple(Port("w1", "10.0.0.3", 8000 + n, f"service s{n}") for n in range(40))
    (line,) = unanswered(health(), ADDRESSES, {"lb1": many}, {"lb1": ["Connection refused"] * 40})
    assert " and 35 more: connection refused" in line


def test_who_answers_is_not_named() -> None:
    """No line where every port answers."""
    assert told("") == []
