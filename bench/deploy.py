"""bench.deploy: three tools bring the same hosts to the same end state, from nothing and with nothing to do."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import machine, tools
from bench.files import EndState, prepare
from bench.measure import Say, Tool, run, run_rounds
from bench.report import COLUMNS, comparison_rows, goal_line, table
from bench.stats import Sample, ratio
from bench.targets import Target, lab_targets, our_inventory
from bench.tools import ANSIBLE, OURS, PYINFRA, WORK
from bench.wipe import wipe
from fabfile.core.model.cluster import Cluster
from fabfile.edge.disk.inventory import load

Samples = Mapping[str, Sequence[Sample]]
COLD, SAME = "cold", "nothing to do"
_PAUSE = 2.0  # seconds before each run: leftovers of the previous run still end, on the same cores

NOTES = """Each tool deploys the same bytes: the Consul binary, its configuration and `consul.service` as our own code
renders them, the `consul` user, the unit enabled and running. *cold*: before every run the hosts are wiped of all that
(outside the measured time). *nothing to do*: each tool meets the state that our own deploy has left, and a run counts
only if the tool itself reports that it changed nothing.

- Ours does more in the same time: our agents on every host and Caddy on the load balancer, the recover unit, checks by
  the programs themselves (`consul validate`, …) before any file is placed, a gate on leader and quorum, ACLs
  (bootstrap, policies, a token for each host and role), a wait until each host is alive in the cluster, and a second
  probe that must find nothing left to do. The peers start all hosts at once and end when systemd has started the unit,
  with or without a working cluster: with `default_policy = "deny"` and no tokens in Consul, theirs does not work yet.
- Left out of ours, because the peers deploy nothing like it: the firewall (`firewall: false`) and `services.yml`.
- Ours uploads the binary compressed, as it always does; the peers get the plain file, their usual input.
- Ansible: pipelining, 50 forks, ControlPersist, no fact gathering; connections of the previous run are closed first.
  pyinfra: `-y` (no dry pass), its own default parallelism.
- CPU is user + system on the operator's side, without Ansible's ssh masters. Memory is that of the largest single
  process, the highest of all runs. The hosts run on the same machine and share its cores.
"""


@dataclass(frozen=True, slots=True)
class Setup:
    """What each run of this benchmark needs. `sockets` is a short path: a Unix socket's path has at most 108 bytes."""

    cluster: Cluster
    targets: tuple[Target, ...]
    state: EndState
    binaries: Path
    sockets: Path


def measure(cluster: Cluster, count: int, say: Say) -> tuple[str, list[str]]:
    """Runs both scenarios and leaves the cluster deployed. Returns Consul's version and the section's Markdown."""
    WORK.mkdir(mode=0o700, parents=True, exist_ok=True)
    binaries = tools.environment(say)
    targets = lab_targets(cluster, WORK / "files")
    comparable = _without_extras(cluster, targets)
    with tempfile.TemporaryDirectory(prefix="nxb") as sockets:
        _redeploy(comparable, targets, say)  # first: the files are rendered from the state that a cold deploy reaches
        setup = Setup(comparable, targets, prepare(comparable, WORK, say), binaries, Path(sockets))
        say(f"bench.deploy: {COLD}, {len(targets)} hosts")
        cold = run_rounds(_tools(setup, True), count, WORK, say, lambda: _wipe_and_pause(targets))
        say(f"bench.deploy: {SAME}")
        _redeploy(comparable, targets, say)
        same = run_rounds(_tools(setup, False), count, WORK, say, lambda: time.sleep(_PAUSE))
    _redeploy(cluster, targets, say)
    head = _head(setup, count)
    return setup.state.version, [head, _table({COLD: cold, SAME: same}), _goals(cold, same)]


def _without_extras(cluster: Cluster, targets: Sequence[Target]) -> Cluster:
    """The same cluster, limited to what the peers deploy too. It keeps its state folder, and so its identity."""
    path = WORK / "hosts.yml"
    path.write_text(our_inventory(cluster, targets))
    return load(str(path), {**os.environ, "NEXUS_STATE": str(cluster.state.parent)}, WORK)[0]


def _wipe_and_pause(targets: Sequence[Target]) -> None:
    wipe(targets)
    time.sleep(_PAUSE)


def _ours(cluster: Cluster, expected: str) -> Tool:
    arguments = ("deploy", "--hosts", "all", "--yes")
    return tools.inv(OURS, arguments, cluster.source, tools.prints(expected), cluster.state.parent)


def _tools(setup: Setup, cold: bool) -> list[Tool]:
    targets, state, binaries = setup.targets, setup.state, setup.binaries
    return [
        _ours(setup.cluster, "deployed: " if cold else "nothing changed: "),
        tools.pyinfra(targets, state, binaries, WORK, changing=cold),
        tools.ansible(targets, state, binaries, WORK, setup.sockets, changing=cold),
    ]


def _redeploy(cluster: Cluster, targets: Sequence[Target], say: Say) -> None:
    """Wipes the hosts and deploys them, to the state in which all three tools must find nothing to do."""
    wipe(targets)
    sample = run(_ours(cluster, "deployed: "), WORK)
    say(f"  wiped, and deployed in {sample.wall:.1f} s")


def _head(setup: Setup, count: int) -> str:
    roles = ", ".join(f"{h.name} [{', '.join(h.roles)}]" for h in setup.cluster.hosts)
    return (
        f"{machine.size()}. Consul {setup.state.version}. {tools.versions(setup.binaries)}. {count} runs a tool "
        f"and scenario.\nHosts: {roles}.\n"
    )


def _table(scenarios: Mapping[str, Samples]) -> str:
    return table(COLUMNS, [row for name, samples in scenarios.items() for row in comparison_rows(name, samples, OURS)])


def _goals(cold: Samples, same: Samples) -> str:
    def times_faster(samples: Samples, peer: str) -> float:
        return ratio(samples[peer], samples[OURS]).median

    return (
        goal_line(f"{SAME}, times faster than pyinfra (at least 4)", 4, times_faster(same, PYINFRA))
        + goal_line(f"{SAME}, times faster than Ansible (at least 20)", 20, times_faster(same, ANSIBLE))
        + goal_line(f"{COLD}, times faster than pyinfra (at least 1.5)", 1.5, times_faster(cold, PYINFRA))
    )
