"""Hosts that are no manager any more: their orchestrator ends before its token does."""

from __future__ import annotations

from ...core.errors import HostError
from ...core.state.plan import HostPlan, Verb
from ..consul.client import Consul
from ..ssh.connection import Remote
from ..ssh.exec_channel import command_fault
from ..ssh.fanout import for_each_host
from ..ssh.fleet import Fleet
from .draft import Draft
from .progress import ProgressListener

UNIT, SERVICE = "nexus-orchestrator.service", "nexus-orchestrator"


def retire_orchestrators(fleet: Fleet, draft: Draft, progress: ProgressListener) -> None:
    """Stops them and takes them out of their Consul agents.

    Afterwards would be too late: the agent takes a service out of the catalogue with the service's own token, which this
    deploy deletes, and would try for ever. Repeated after a cut, it does nothing.
    """
    retired = [fleet[name] for name, plan in draft.plans.items() if _retires(plan)]
    for remote in retired:
        progress.step(remote.host.name, "is no manager any more: its orchestrator stops first")
    _, faults = for_each_host(retired, _retire)
    if faults:
        raise faults[0]


def _retires(plan: HostPlan) -> bool:
    return any(unit.name == UNIT and unit.verb is Verb.STOP for unit in plan.units)


def _retire(remote: Remote) -> None:
    result = remote.run(["systemctl", "stop", UNIT])
    if result.code != 0:
        raise command_fault(remote.host, result)
    consul = Consul(remote)
    try:
        if SERVICE in consul.request("GET", "/v1/agent/services"):
            consul.request("PUT", f"/v1/agent/service/deregister/{SERVICE}")
    except HostError:
        return  # its Consul is down, and has nothing to say to anybody
