"""Asks from each host, over real TCP, the ports that it must reach on others: for `inv verify`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from ...core.errors import HostError
from ...core.foreign import understood
from ...core.judge.health import Health
from ...core.judge.reachability import Port, passing_instances, ports_to_ask, read_answers, unanswered
from ...core.state.scripts import python_script
from ..disk.state import State
from ..ssh.connection import Remote
from ..ssh.fanout import for_each_host
from .client import Consul
from .overview import first_answer
from .published_services import ROUTES

_AT_ONCE = 200  # connections; what one host asks at once (ask_ports.py)


def hosts_reach_each_other(remotes: Mapping[str, Remote], health: Health) -> tuple[bool, str]:
    """Whether all answer, and what to say of it. `remotes`: of the hosts that can be reached by SSH, by name."""
    faults: list[str] = []
    instances: list[Port] = []
    addresses = {name: address.advertise for name, address in State(health.cluster.state).addresses().items()}
    if unknown := [h.name for h in health.cluster.having("manager") if h.name not in addresses]:
        faults.append(f"the address of {', '.join(unknown)} is not known: inv plan finds it")
    if health.cluster.having("loadbalancer"):
        try:
            managers = [h.name for h in health.cluster.having("manager") if h.name in remotes]
            instances = first_answer([remotes[name] for name in managers], _offered_instances)
        except HostError as error:
            faults.append(f"which instances pass is not known: {error.first_line}")
    asked = ports_to_ask(health, addresses, instances)
    answers, lost = for_each_host([remotes[name] for name in asked], lambda r: _ask(r, asked[r.host.name]))
    faults += [fault.first_line for fault in lost] + unanswered(health, addresses, asked, answers)
    count = sum(map(len, asked.values()))
    return not faults, "; ".join(faults) or f"{count} ports asked from {len(asked)} hosts"


def _offered_instances(consul: Consul) -> list[Port]:
    """The passing instances of all services that the balancers offer."""
    _, entry = consul.kv.get(ROUTES, consistency="stale")  # None: nothing was ever published
    offered = json.loads(entry["Value"])["routes"] if entry else []
    names = sorted({str(route["service"]) for route in offered})
    return [
        port
        for name in names
        for port in passing_instances(name, consul.request("GET", f"/v1/health/service/{name}?passing&stale"))
    ]


def _ask(remote: Remote, ports: Sequence[Port]) -> tuple[str, ...]:
    """Why each of the ports does not answer this host; "" where it does. HostError: it could not be asked."""
    targets = [(port.address, port.number) for port in ports]
    text = f"{python_script('ask_ports')}\nmain({targets!r})\n"
    patience = 30 + 5 * len(targets) / _AT_ONCE
    result = remote.run(["python3", "-I", "-"], [text.encode()], timeout=patience, repeat=True)
    with understood(remote.host.name, "which ports it reaches"):
        if result.code != 0:
            raise ValueError(result.err.strip().rpartition("\n")[2] or f"exit code {result.code}")
        return read_answers(result.out, len(ports))
