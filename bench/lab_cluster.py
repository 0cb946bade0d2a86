"""The lab's cluster under test: commands on its hosts, their power, and the steady state between two runs.

Below the class: pure checks of processes and of the primaries' history.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from bench.cluster_watcher import ClusterWatcher
from bench.targets import lab_targets
from bench.tools import WORK
from fabfile.core.errors import HostError, NexusError, Refused
from fabfile.core.judge.fencing import ELECTED, Act, check_history, read_acts, since_an_election
from fabfile.core.judge.health import assess
from fabfile.core.model.cluster import Cluster
from fabfile.edge.consul.client import Consul, ConsulApiError
from fabfile.edge.consul.overview import consul_status
from fabfile.edge.consul.service_operations import events, managers
from fabfile.edge.ssh.connection import Remote
from fabfile.edge.ssh.fanout import for_each_host
from fabfile.edge.ssh.fleet import Fleet
from fabfile.lab import engine
from fabfile.lab import service_image as images
from fabfile.lab.compose import NODES
from fabfile.lab.nodes import STATE
from fabfile.lab.power import LabPower

SERVICE, UNIT, PORT = "hello", "nexus-svc-hello.service", 8080  # from services.yml as shipped
Pids = Mapping[str, Mapping[str, str]]  # host -> unit of a service -> its main PID
_PIDS = """systemctl list-units --plain --no-legend 'nexus-svc-*.service' | while read -r unit _; do
  pid=$(systemctl show -P MainPID "$unit"); [ "$pid" = 0 ] || printf '%s %s\\n' "$unit" "$pid"
done"""
_ATTEMPTS = 5


def require_lab(cluster: Cluster) -> None:
    """Refused unless every host is a node of the lab, by name and address, and at least three are managers."""
    lab_targets(cluster, WORK)
    nodes = {node.name: node.ssh for node in NODES}
    foreign = [h.name for h in cluster.hosts if nodes.get(h.name) != h.ssh]
    if foreign or len(cluster.having("manager")) < 3:
        problem = f"{', '.join(foreign)}: no node of the lab" if foreign else "there are fewer than three managers"
        raise Refused(f"{problem}; faults are measured there only", "use hosts.yml as shipped")


class LabCluster:
    """`close` it at the end. Not thread-safe."""

    def __init__(self, cluster: Cluster) -> None:
        docker = engine.find(STATE)
        if docker is None:
            raise NexusError("the lab does not run", "start it: inv lab.up; then inv deploy --hosts all")
        self.cluster, self._power = cluster, LabPower(docker)
        self.fleet = Fleet(cluster)
        self._booted: set[str] = set(images.WORKERS)  # hosts on which Docker may not run yet, as after a boot

    def close(self) -> None:
        for remote in self.fleet:
            remote.close()

    @property
    def managers(self) -> list[str]:
        return [h.name for h in self.cluster.having("manager")]

    def watcher(self, *excluded: str) -> ClusterWatcher:
        """Watches through the first manager that is not excluded."""
        return ClusterWatcher(self.fleet[next(name for name in self.managers if name not in excluded)])

    def run(self, host: str, script: str) -> str:
        """stdout of a shell script, run as root. HostError when it fails."""
        done = self.fleet[host].run(["sh", "-c", f"PATH=$PATH:/usr/sbin:/sbin\n{script}"])  # nft is in /usr/sbin
        if done.code != 0:
            raise HostError(host, f"{script.splitlines()[0]}: {done.err.strip() or f'exit code {done.code}'}")
        return done.out.decode()

    def undo(self, host: str, script: str) -> None:
        """Runs the script, with retries over new connections: a fault must not stay. HostError: all attempts failed."""
        for retries_left in reversed(range(_ATTEMPTS)):
            try:
                self.run(host, script)
                return
            except HostError:
                self.fleet[host].close()
                if not retries_left:
                    raise
                time.sleep(1)

    def run_on_all(self, hosts: Sequence[str], script: str, undo: bool = False) -> None:
        """On these hosts in parallel. HostError of the first that failed."""
        remotes = [self.fleet[name] for name in hosts]
        action = self.undo if undo else self.run
        _, faults = for_each_host(remotes, lambda r: action(r.host.name, script))
        if faults:
            raise faults[0]

    def power_off(self, host: str) -> None:
        self._power.off(host)

    def power_on(self, host: str) -> None:
        """Repeatable. Does not wait for the boot."""
        self.fleet[host].close()
        self._power.start(host)
        self._booted.add(host)

    def pids(self) -> Pids:
        """The services on all workers, as systemd reports them. HostError when a worker does not answer."""
        pids, faults = for_each_host(self.fleet.of(self.cluster.having("worker")), _pids)
        if faults:
            raise faults[0]
        return pids

    def check_services(self) -> None:
        """NexusError when the cluster does not run the service that the faults hit."""
        names = {s.name for s in self.watcher().services_health().services}
        if SERVICE not in names:
            raise NexusError(f"the cluster does not run {SERVICE}", "deploy with services.yml as shipped: inv deploy")

    def acts(self) -> tuple[Act, ...]:
        """What the primaries did, oldest first."""
        return read_acts(events(self.fleet, forever=False))

    def wait_until_steady(self, seconds: float) -> None:
        """Waits until `inv status` and autopilot are healthy and services are settled. NexusError: not in time."""
        deadline = time.monotonic() + seconds
        while problem := self._first_problem():
            if time.monotonic() > deadline:
                message = f"the cluster is not steady after {seconds:.0f} s: {problem}"
                raise NexusError(message, "inv status; inv deploy")
            time.sleep(0.5)

    def _first_problem(self) -> str:
        """Why the cluster is not steady; empty when it is."""
        for host in sorted(self._booted):
            if host in images.WORKERS:
                try:
                    images.ensure([host])
                except NexusError as error:
                    return f"{host}: {error.message}"
            self._booted.discard(host)
        facts, faults = self.fleet.probe()
        for fault in faults:
            self.fleet[fault.host].close()  # a connection that died with its host is opened again
        status = consul_status(managers(self.fleet))
        health = assess(self.cluster, facts, {f.host: f.message for f in faults}, status)
        unsettled = [f"{s.name} is not as wanted" for s in status.services_health.services if not s.settled]
        return next(iter([*health.problems, *unsettled]), "") or self._autopilot_problem()

    def _autopilot_problem(self) -> str:
        try:
            Consul(self.fleet[self.managers[0]]).request("GET", "/v1/operator/autopilot/health")
        except ConsulApiError:  # 429 when it is not healthy
            return "a Consul server is not caught up yet"
        except HostError as error:
            return error.message
        return ""


def _pids(remote: Remote) -> Mapping[str, str]:
    done = remote.run(["sh", "-c", _PIDS])
    if done.code != 0:
        raise HostError(remote.host.name, f"its services cannot be listed: {done.err.strip()}")
    return dict(line.split() for line in done.out.decode().splitlines())


def process_changes(before: Pids, after: Pids) -> list[str]:
    """A sentence for each service whose process is gone or was replaced. Pure."""
    return [
        f"{unit} on {host} did not go on: process {pid}, then {after.get(host, {}).get(unit, 'none')}"
        for host, units in before.items() for unit, pid in units.items() if after.get(host, {}).get(unit) != pid
    ]  # fmt: skip


def duplicates(pids: Pids, wanted: Mapping[str, int | None]) -> list[str]:
    """A sentence for each service with more instances than wanted (None: one on every host). Pure."""
    faults = []
    for name, count in wanted.items():
        hosts = [host for host, units in pids.items() if f"nexus-svc-{name}.service" in units]
        if count is not None and len(hosts) > count:
            faults.append(f"{name} runs on {', '.join(hosts)}, and is wanted {count} times")
    return faults


def last_election(acts: Sequence[Act]) -> int:
    """Its place in Raft's order of all acts; 0 when there is none. Pure."""
    return max((act.order for act in acts if act.kind == ELECTED), default=0)


def history_faults(acts: Sequence[Act], since: int) -> list[str]:
    """What the fencing checker finds in the acts from this place on. Pure."""
    return [f"history: {fault}" for fault in check_history(since_an_election([a for a in acts if a.order >= since]))]
