"""The lab's cluster as a bench of faults: commands on its hosts, their power, and the steady state between two runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from bench.targets import targets
from bench.tools import WORK
from bench.watchers import Eyes
from fabfile.core.errors import HostError, NexusError, Refused
from fabfile.core.judge.fencing import ELECTED, Act, check_history, read_acts, since_an_election
from fabfile.core.judge.health import assess
from fabfile.core.model.cluster import Cluster
from fabfile.edge.consul.client import Consul, Refusal
from fabfile.edge.consul.overview import ask
from fabfile.edge.consul.service_operations import events, managers
from fabfile.edge.ssh.connection import Remote
from fabfile.edge.ssh.fanout import each
from fabfile.edge.ssh.fleet import Fleet
from fabfile.lab import engine
from fabfile.lab import service_image as images
from fabfile.lab.compose import NODES
from fabfile.lab.nodes import STATE
from fabfile.lab.power import LabPower

SERVICE, UNIT, PORT = "hello", "nexus-svc-hello.service", 8080  # of the services.yml as shipped
Pids = Mapping[str, Mapping[str, str]]  # host -> unit of a service -> its main process
_PIDS = """systemctl list-units --plain --no-legend 'nexus-svc-*.service' | while read -r unit _; do
  pid=$(systemctl show -P MainPID "$unit"); [ "$pid" = 0 ] || printf '%s %s\\n' "$unit" "$pid"
done"""
_TRIES = 5


def refuse_what_is_no_lab(cluster: Cluster) -> None:
    """Refused unless every host is a node of the lab, by name and address, and three managers or more are among them."""
    targets(cluster, WORK)
    lab = {node.name: node.ssh for node in NODES}
    wrong = [h.name for h in cluster.hosts if lab.get(h.name) != h.ssh]
    if wrong or len(cluster.having("manager")) < 3:
        said = f"{', '.join(wrong)}: no node of the lab" if wrong else "there are fewer than three managers"
        raise Refused(f"{said}; faults are measured there only", "use hosts.yml as shipped")


class Rig:
    """`close` it at the end. Not for use by two threads at once."""

    def __init__(self, cluster: Cluster) -> None:
        docker = engine.find(STATE)
        if docker is None:
            raise NexusError("the lab does not run", "start it: inv lab.up; then inv deploy --hosts all")
        self.cluster, self._power = cluster, LabPower(docker)
        self.fleet = Fleet(cluster)
        self._due: set[str] = set(images.WORKERS)  # hosts on which Docker may not run, as after a boot

    def close(self) -> None:
        for remote in self.fleet:
            remote.close()

    @property
    def managers(self) -> list[str]:
        return [h.name for h in self.cluster.having("manager")]

    def eyes(self, *but: str) -> Eyes:
        """Through the first manager that is none of these."""
        return Eyes(self.fleet[next(name for name in self.managers if name not in but)])

    def on(self, host: str, script: str) -> str:
        """stdout of a shell script, run as root. HostError when it fails."""
        done = self.fleet[host].run(["sh", "-c", f"PATH=$PATH:/usr/sbin:/sbin\n{script}"])  # nft lies there
        if done.code != 0:
            raise HostError(host, f"{script.splitlines()[0]}: {done.err.strip() or f'exit code {done.code}'}")
        return done.out.decode()

    def undo(self, host: str, script: str) -> None:
        """The same, tried again over new connections: a fault must not stay. HostError when all was in vain."""
        for left in reversed(range(_TRIES)):
            try:
                self.on(host, script)
                return
            except HostError:
                self.fleet[host].close()
                if not left:
                    raise
                time.sleep(1)

    def everywhere(self, hosts: Sequence[str], script: str, undo: bool = False) -> None:
        """On these hosts at the same time. HostError of the first that failed."""
        remotes = [self.fleet[name] for name in hosts]
        act = self.undo if undo else self.on
        _, faults = each(remotes, lambda r: act(r.host.name, script))
        if faults:
            raise faults[0]

    def power_off(self, host: str) -> None:
        self._power.off(host)

    def power_on(self, host: str) -> None:
        """However often it is said."""
        self.fleet[host].close()
        self._power.start(host)
        self._due.add(host)

    def pids(self) -> Pids:
        """Of the services on all workers, as systemd there has them. HostError when one cannot be asked."""
        found, faults = each(self.fleet.of(self.cluster.having("worker")), _pids)
        if faults:
            raise faults[0]
        return found

    def check(self) -> None:
        """NexusError when the cluster does not run what the faults are done to."""
        names = {s.name for s in self.eyes().services_health().services}
        if SERVICE not in names:
            raise NexusError(f"the cluster does not run {SERVICE}", "deploy with services.yml as shipped: inv deploy")

    def acts(self) -> tuple[Act, ...]:
        """The history of the primaries' deeds."""
        return read_acts(events(self.fleet, forever=False))

    def steady(self, seconds: float) -> None:
        """Returns when `inv status` would be content, services are settled and autopilot is. NexusError: not in time."""
        until = time.monotonic() + seconds
        while why := self._unsteady():
            if time.monotonic() > until:
                raise NexusError(f"the cluster is not steady after {seconds:.0f} s: {why}", "inv status; inv deploy")
            time.sleep(0.5)

    def _unsteady(self) -> str:
        """The first thing that is not as it should be; empty when all is."""
        for host in sorted(self._due):
            if host in images.WORKERS:
                try:
                    images.ensure([host])
                except NexusError as error:
                    return f"{host}: {error.message}"
            self._due.discard(host)
        facts, faults = self.fleet.probe()
        for fault in faults:
            self.fleet[fault.host].close()  # a connection that died with its host is made anew
        word = ask(managers(self.fleet))
        health = assess(self.cluster, facts, {f.host: f.message for f in faults}, word)
        late = [f"{s.name} is not as wanted" for s in word.services_health.services if not s.settled]
        return next(iter([*health.problems, *late]), "") or self._autopilot()

    def _autopilot(self) -> str:
        try:
            Consul(self.fleet[self.managers[0]]).ask("GET", "/v1/operator/autopilot/health")
        except Refusal:  # 429 when it is not content
            return "a Consul server is not caught up yet"
        except HostError as error:
            return error.message
        return ""


def _pids(remote: Remote) -> Mapping[str, str]:
    done = remote.run(["sh", "-c", _PIDS])
    if done.code != 0:
        raise HostError(remote.host.name, f"its services cannot be seen: {done.err.strip()}")
    return dict(line.split() for line in done.out.decode().splitlines())


def changed(before: Pids, after: Pids) -> list[str]:
    """A sentence for each service whose process is gone or another one. Pure."""
    return [
        f"{unit} on {host} did not go on: process {pid}, then {after.get(host, {}).get(unit, 'none')}"
        for host, units in before.items() for unit, pid in units.items() if after.get(host, {}).get(unit) != pid
    ]  # fmt: skip


def too_many(found: Pids, wanted: Mapping[str, int | None]) -> list[str]:
    """A sentence for each service that runs more often than wanted (None: everywhere). Pure."""
    told = []
    for name, count in wanted.items():
        hosts = [host for host, units in found.items() if f"nexus-svc-{name}.service" in units]
        if count is not None and len(hosts) > count:
            told.append(f"{name} runs on {', '.join(hosts)}, and is wanted {count} times")
    return told


def last_election(acts: Sequence[Act]) -> int:
    """Its place in the order of all acts; 0 when there is none. Pure."""
    return max((act.order for act in acts if act.kind == ELECTED), default=0)


def findings(acts: Sequence[Act], since: int) -> list[str]:
    """What the checker of the history says of all that came from this place on. Pure."""
    return [f"history: {fault}" for fault in check_history(since_an_election([a for a in acts if a.order >= since]))]


__all__ = ["PORT", "SERVICE", "UNIT", "Pids", "Rig", "changed", "findings", "last_election", "too_many"]
