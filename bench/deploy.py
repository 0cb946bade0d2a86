"""bench.deploy: the same hosts to the same end state with three tools, from nothing and with nothing to do."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import machine, tools
from bench.files import EndState, prepare
from bench.measure import Say, Tool, gameday_view, run
from bench.report import COLUMNS, comparison, goal, table
from bench.stats import Sample, ratio
from bench.targets import Target, our_inventory, targets
from bench.tools import ANSIBLE, OURS, PYINFRA, WORK
from bench.wipe import wipe
from fabfile.core.model.cluster import Cluster
from fabfile.edge.disk.inventory import load

Samples = Mapping[str, Sequence[Sample]]
COLD, SAME = "cold", "nothing to do"
_REST = 2.0  # seconds before each run: what the run before has left still ends, on the same cores

NOTES = """Each tool brings the same bytes: the Consul binary, its configuration and `consul.service` as our own code
renders them, the `consul` user, the unit enabled and running. *cold*: before every run the hosts are wiped of all that
(outside the measured time). *nothing to do*: each tool meets the state that our own deploy has left, and the
run counts only if it says itself that it changed nothing.

- What ours does beyond that, in the same time: our agents on every host and Caddy on the load balancer, the recover
  unit, `consul validate` and its kin before anything is placed, a gate on leader and quorum, ACLs made (bootstrap,
  policies, a token for each host and role), a wait until each host is alive in the cluster, and a second probe that must
  find nothing left to do. The peers start all hosts at once and end when systemd has started the unit, whether a
  cluster comes of it or not: with `default_policy = "deny"` and no tokens in Consul, theirs does not work yet.
- LeftoverFault out of ours, because the peers bring nothing like it: the firewall (`firewall: false`) and `services.yml`.
- Ours uploads the binary compressed, as it always does; the peers get the plain file, their usual input.
- Ansible: pipelining, 50 forks, ControlPersist, no fact gathering; connections of the run before are closed first.
  pyinfra: `-y` (no dry pass), its own default parallelism.
- CPU is user + system on the operator's side (Ansible's ssh masters not counted); memory is that of the largest
  single process, the highest of all runs. The hosts run on the same machine and share its cores.
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """All that a run of this benchmark needs. `sockets` is a short path: a Unix socket's name has 108 bytes."""

    cluster: Cluster
    hosts: tuple[Target, ...]
    state: EndState
    binaries: Path
    sockets: Path


def measure(cluster: Cluster, count: int, say: Say) -> tuple[str, list[str]]:
    """Runs both scenarios and leaves the cluster deployed. Consul's version, and its section's parts, as Markdown."""
    WORK.mkdir(mode=0o700, parents=True, exist_ok=True)
    binaries = tools.environment(say)
    hosts = targets(cluster, WORK / "files")
    own, cluster = cluster, _alike(cluster, hosts)
    with tempfile.TemporaryDirectory(prefix="nxb") as sockets:
        _settle(cluster, hosts, say)  # first, so that what is rendered is where a deploy from nothing ends
        stage = Stage(cluster, hosts, prepare(cluster, WORK, say), binaries, Path(sockets))
        say(f"bench.deploy: {COLD}, {len(hosts)} hosts")
        cold = gameday_view(_tools(stage, True), count, WORK, say, lambda: _wiped(hosts))
        say(f"bench.deploy: {SAME}")
        _settle(cluster, hosts, say)
        same = gameday_view(_tools(stage, False), count, WORK, say, lambda: time.sleep(_REST))
    _settle(own, hosts, say)
    head = _head(stage, count)
    return stage.state.version, [head, _rows({COLD: cold, SAME: same}), _goals(cold, same)]


def _alike(cluster: Cluster, hosts: Sequence[Target]) -> Cluster:
    """The same cluster, with no more than the peers bring. Its state folder is the same: it stays one cluster."""
    path = WORK / "hosts.yml"
    path.write_text(our_inventory(cluster, hosts))
    return load(str(path), {**os.environ, "NEXUS_STATE": str(cluster.state.parent)}, WORK)[0]


def _wiped(hosts: Sequence[Target]) -> None:
    wipe(hosts)
    time.sleep(_REST)


def _ours(cluster: Cluster, word: str) -> Tool:
    words = ("deploy", "--hosts", "all", "--yes")
    return tools.inv(OURS, words, cluster.source, tools.says(word), cluster.state.parent)


def _tools(stage: Stage, cold: bool) -> list[Tool]:
    hosts, state, binaries = stage.hosts, stage.state, stage.binaries
    return [
        _ours(stage.cluster, "deployed: " if cold else "nothing changed: "),
        tools.pyinfra(hosts, state, binaries, WORK, changing=cold),
        tools.ansible(hosts, state, binaries, WORK, stage.sockets, changing=cold),
    ]


def _settle(cluster: Cluster, hosts: Sequence[Target], say: Say) -> None:
    """From nothing to the state that all three must find right."""
    wipe(hosts)
    sample = run(_ours(cluster, "deployed: "), WORK)
    say(f"  wiped, and deployed in {sample.wall:.1f} s")


def _head(stage: Stage, count: int) -> str:
    roles = ", ".join(f"{h.name} [{', '.join(h.roles)}]" for h in stage.cluster.hosts)
    return (
        f"{machine.size()}. Consul {stage.state.version}. {tools.versions(stage.binaries)}. {count} runs a tool "
        f"and scenario.\nHosts: {roles}.\n"
    )


def _rows(found: Mapping[str, Samples]) -> str:
    return table(COLUMNS, [row for name, samples in found.items() for row in comparison(name, samples, OURS)])


def _goals(cold: Samples, same: Samples) -> str:
    def times(samples: Samples, peer: str) -> float:
        return ratio(samples[peer], samples[OURS]).median

    return (
        goal(f"{SAME}, times faster than pyinfra (at least 4)", 4, times(same, PYINFRA))
        + goal(f"{SAME}, times faster than Ansible (at least 20)", 20, times(same, ANSIBLE))
        + goal(f"{COLD}, times faster than pyinfra (at least 1.5)", 1.5, times(cold, PYINFRA))
    )
