"""Which ports hosts must reach of each other, and what it means where one does not answer. Pure.

Consul's checks ask from the host itself. Another firewall there, or the network between, only shows from outside.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..state.facts import OtherFirewall
from ..text import visible
from .health import Health, HostHealth

CONSUL_PORTS = {8300: "Consul's RPC", 8301: "Consul's gossip"}
_LONGEST = 80  # characters of a reason
_SHOWN = 5  # sources and ports of one line
_OWN_FAULTS = ("Network is unreachable", "Operation not permitted", "Permission denied")  # of the host that asks


@dataclass(frozen=True, slots=True, order=True)
class Port:
    """One port of a host that others must reach. what: for people, such as `service web`."""

    host: str
    address: str
    number: int
    what: str


def ports_to_ask(
    health: Health, addresses: Mapping[str, str], instances: Iterable[Port]
) -> dict[str, tuple[Port, ...]]:
    """By the host that asks. `addresses`: host name -> address in the cluster; `instances`: those that pass.

    The managers' ports from all others, the instances' from the balancers. Consul that does not run is another check's.
    """
    managers = [
        Port(h.host.name, addresses[h.host.name], number, what)
        for h in health.hosts
        if h.host.has("manager") and h.host.name in addresses and h.units.get("consul.service") == "active"
        for number, what in CONSUL_PORTS.items()
    ]
    services = tuple(sorted(set(instances)))
    asked = {}
    for h in (h for h in health.hosts if h.reachable):
        name = h.host.name
        ports = (*(p for p in managers if p.host != name), *(services if h.host.has("loadbalancer") else ()))
        if ports:
            asked[name] = ports
    return asked


def passing_instances(service: str, entries: Sequence[Mapping[str, Mapping[str, object]]]) -> list[Port]:
    """From Consul's /v1/health/service/NAME?passing. Those without a port are not for others to reach.

    TypeError, LookupError, ValueError or AttributeError for an answer of another form.
    """
    found = []
    for entry in entries:
        own, node = entry["Service"], entry["Node"]
        address = str(ipaddress.ip_address(str(own.get("Address") or node["Address"])))
        number = int(str(own["Port"]))
        if 0 < number < 65536:
            found.append(Port(str(node["Node"]), address, number, f"service {service}"))
    return found


def read_answers(output: bytes, count: int) -> tuple[str, ...]:
    """What ask_ports.py printed: for each port why it does not answer, or "". ValueError: something else."""
    answers = json.loads(output)
    if not isinstance(answers, list) or len(answers) != count or not all(isinstance(a, str) for a in answers):
        raise ValueError(f"{count} answers were due")
    return tuple(visible(a)[:_LONGEST] for a in answers)


@dataclass(slots=True)
class _Silence:
    ports: set[Port] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)


def unanswered(
    health: Health, addresses: Mapping[str, str], asked: Mapping[str, Sequence[Port]], answers: Mapping[str, Sequence[str]]
) -> list[str]:
    """A line for each host and reason: who does not answer whom, on which ports, whose rules do that, and the way out."""
    found: dict[tuple[str, str], _Silence] = {}
    for source, given in answers.items():
        for port, answer in zip(asked[source], given, strict=True):
            if answer:
                silence = found.setdefault((port.host, answer), _Silence())
                silence.ports.add(port)
                silence.sources.add(source)
    known = {h.host.name: h for h in health.hosts}
    return [_line(known, addresses, name, reason, silence) for (name, reason), silence in sorted(found.items())]


def _line(
    known: Mapping[str, HostHealth], addresses: Mapping[str, str], name: str, reason: str, silence: _Silence
) -> str:
    ports, sources = sorted(silence.ports), sorted(silence.sources)
    numbers = _few(dict.fromkeys(f"{p.number} ({p.what})" for p in ports))
    if reason in _OWN_FAULTS:
        blame = f"look at the routes and the rules for what goes out of {sources[0]}"
    else:
        blame = _blame(known.get(name), ports[0], addresses.get(sources[0], "ADDRESS"), reason)
    return f"{name} does not answer {_few(sources)} on {numbers}: {reason[:1].lower() + reason[1:]}; {blame}"


def _few(words: Iterable[str]) -> str:
    words = list(words)
    return ", ".join(words[:_SHOWN]) + (f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else "")


def _blame(host: HostHealth | None, port: Port, source: str, reason: str) -> str:
    """Whose rules they are, and the way out. `source`: the address of a host that is refused."""
    firewalls = host.firewalls if host else ()
    for firewall in firewalls:
        if firewall.closed:
            return f"{firewall.name} there refuses what it does not let in itself: {_way_out(firewall, port, source)}"
    if firewalls:
        names = ", ".join(f.name for f in firewalls)
        return f"perhaps by a rule of {names} there: nft list ruleset"
    if reason == "Connection refused":
        return f"nobody listens there at {port.address}, or a firewall rejects it: ss -lnt 'sport = :{port.number}'"
    return "no other firewall is seen there: inv deploy, then look at the network between them (a cloud's security groups)"


def _way_out(firewall: OtherFirewall, port: Port, source: str) -> str:
    """One command of that firewall, for one port and one address; docs/RUNBOOK.md has the rest."""
    name = firewall.name
    if name.startswith("iptables"):
        command = f"{name} -I INPUT -p tcp -s {source} --dport {port.number} -j ACCEPT"
    elif name == "firewalld":
        command = f"firewall-cmd --permanent --zone=trusted --add-source={source}; firewall-cmd --reload"
    elif name == "ufw":
        return f"inv deploy --hosts {port.host}"
    else:
        command = f"nft list {name.removeprefix('nftables ')}, and let it accept tcp port {port.number} from {source}"
    return f"{command} (and so on: docs/RUNBOOK.md, Another firewall on a host)"
