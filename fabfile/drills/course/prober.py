"""The prober: a thread that observes the cluster four times a second. And what in an observation is not well.

It asks managers outside the target first, so that a hurt manager does not delay the answers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ...core.errors import HostError
from ...core.foreign import understood
from ...core.judge.service_health import ServicesHealth, read_services_health
from ...core.model.cluster import Cluster
from ...edge.consul.client import Consul, members
from ...edge.consul.overview import kv_entries
from ...edge.ssh.connection import Remote

PERIOD = 0.25  # seconds between two probes


@dataclass(frozen=True, slots=True)
class Observation:
    """asked_at, answered_at: time.monotonic() when the first question left and when the last answer was there.

    complete: whether services and primary are known too, which takes a raft leader; `why_incomplete` says why not.
    members: node -> alive; empty where nobody answered. watch_output: host -> what the watched command printed there.
    """

    asked_at: float
    answered_at: float
    complete: bool = False
    members: Mapping[str, bool] = field(default_factory=dict)
    services_health: ServicesHealth = field(default_factory=ServicesHealth)
    watch_output: Mapping[str, str] = field(default_factory=dict)
    why_incomplete: str = ""


def not_steady(observation: Observation, cluster: Cluster, exempt: Iterable[str] = ()) -> tuple[str, ...]:
    """What is not as it should be, one clause each; `exempt` hosts need not be alive."""
    return (*unhealthy_hosts(observation, cluster, exempt), *unsettled_services(observation.services_health))


def unhealthy_hosts(observation: Observation, cluster: Cluster, exempt: Iterable[str] = ()) -> tuple[str, ...]:
    """The same for hosts and the primary; where no manager answers, nothing else is known."""
    if not observation.complete:
        reason = f" ({observation.why_incomplete})" if observation.why_incomplete else ""
        return (f"no manager answers{reason}",)
    exempt_names = set(exempt)
    required = [h.name for h in cluster.hosts if h.name not in exempt_names]
    problems = [f"{name} is not alive" for name in required if not observation.members.get(name, False)]
    if observation.services_health.primary is None:
        problems.append("nobody is primary")
    return tuple(problems)


def unsettled_services(services_health: ServicesHealth) -> tuple[str, ...]:
    """The same for services."""
    unsettled = [s for s in services_health.services if not s.settled]
    return tuple(f"{s.name} has {s.passing} of {'all' if s.wanted is None else s.wanted} passing" for s in unsettled)


class Prober(threading.Thread):
    """Calls `on_observation` from this thread. It runs `watch_command`, if there is one, on `watched_hosts`."""

    def __init__(
        self,
        servers: Iterable[Remote],
        on_observation: Callable[[Observation], None],
        watch_command: Sequence[str],
        watched_hosts: Iterable[Remote],
    ) -> None:
        super().__init__(name="prober", daemon=True)
        self._servers, self._on_observation = list(servers), on_observation
        self._watch_command, self._watched_hosts = list(watch_command), list(watched_hosts)
        self._stopping = threading.Event()
        self.error = ""  # our own bug or fault: the numbers end here, and the drill must know it

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                observation = self._probe(time.monotonic())
                self._on_observation(observation)
                self._stopping.wait(max(0.05, PERIOD - (time.monotonic() - observation.asked_at)))
        except Exception as error:  # of any kind: the drill still has a fault to undo
            self.error = f"the probes ended: {type(error).__name__}: {error}"

    def stop(self) -> None:
        self._stopping.set()
        self.join(30)

    def _probe(self, asked_at: float) -> Observation:
        """By the first server that answers in full."""
        watch_output, alive, reason = self._run_watch_command(), dict[str, bool](), ""
        for remote in self._servers:
            consul = Consul(remote)
            try:
                alive = alive or members(consul)
                with understood(remote.host.name, "Consul's state"):
                    return self._full_observation(consul, asked_at, watch_output)
            except HostError as error:
                reason = reason or " ".join(str(error).split())[:120]
        return Observation(asked_at, time.monotonic(), False, alive, watch_output=watch_output, why_incomplete=reason)

    @staticmethod
    def _full_observation(consul: Consul, asked_at: float, watch_output: Mapping[str, str]) -> Observation:
        """From the manager's own copy: a question to the raft leader waits for one, 7 s and more, and a slow probe
        makes the error bar long. Without a leader the copy is old, and proves nothing.
        """
        checks = consul.request("GET", "/v1/health/state/any?stale")
        services_health = read_services_health(kv_entries(consul, stale=True), checks)
        alive, leader = members(consul), consul.status.leader()
        if leader:
            return Observation(asked_at, time.monotonic(), True, alive, services_health, watch_output)
        reason = "there is no raft leader"
        return Observation(asked_at, time.monotonic(), False, alive, watch_output=watch_output, why_incomplete=reason)

    def _run_watch_command(self) -> dict[str, str]:
        """Host -> the command's lines, sorted; without hosts that do not answer."""
        output = {}
        for remote in self._watched_hosts if self._watch_command else ():
            try:
                done = remote.run(self._watch_command, timeout=5, repeat=True)
            except HostError:
                continue
            if done.code == 0:
                output[remote.host.name] = "\n".join(sorted(done.out.decode("utf-8", "replace").split("\n"))).strip()
        return output
