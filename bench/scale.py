"""bench.scale: how time and memory grow with the fleet: one node at N addresses, with nothing to do."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import endpoints, machine, tools
from bench.files import EndState, prepare
from bench.measure import Say, run, run_rounds
from bench.report import COLUMNS, comparison_rows, goal_line, table
from bench.stats import Sample, ratio
from bench.targets import Target
from bench.tools import OURS, PYINFRA, WORK
from bench.wipe import wipe
from fabfile.edge.disk.inventory import load

_PAUSE = 2.0  # seconds before each run: sshd sessions of the previous run still end, on the same cores
Samples = Mapping[str, Sequence[Sample]]

NOTES = """One node (the lab's spare) answers at all N addresses, through a small TCP forwarder on the same machine. So
one sshd and this machine's cores do all N hosts' share of the work as well; in a real fleet each host does its own
part, and the work on the hosts weighs less. CPU and memory are the operator's side alone. Before each run there is
a pause of 2 s, in which the sessions of the previous run end.

- Ours is `inv plan --json --brief`: probe every endpoint, render every host's files, compare, print what differs.
  `inv deploy` does the same before it reports that nothing changed. Here it is a little more work: one machine can
  match one host only, so the other N - 1 endpoints differ in half a dozen small files (certificates among them). These
  are listed without diffs, because no tool here prints diffs. A run counts only if exactly those N - 1 differ. The
  firewall is left out (`firewall: false`): its rules name every host, so the first endpoint would differ, too.
- pyinfra runs Consul's operations (user, folder, binary, configuration, unit, service; `-y`, its own default
  parallelism) with the same set of files for all endpoints; a run counts only if no operation changed anything. It
  hashes the binary on each endpoint every time (68 MB for Consul 1.8.7). With ours the host reads the ledger of the
  last deploy, and hashes only files whose inode, size or times no longer match.
- CPU is user + system on the operator's side, without the forwarder. Memory is that of the largest single process, the
  highest of all runs.
"""


def measure(counts: Sequence[int], count: int, say: Say) -> list[str]:
    """Deploys to the spare node, measures at each size, wipes the node. Returns the Markdown parts of the section."""
    work = WORK / "scale"
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    binaries = tools.environment(say)
    node = endpoints.spare_node(work / "known_hosts", max(counts))
    try:
        wipe([node])
        with endpoints.forwarding(node, max(counts), work / "forward.log"):
            state = _deploy(node, work, say)
            by_size = {n: _measure_size(n, count, node, state, binaries, work, say) for n in counts}
    finally:
        wipe([node])
    head = f"{machine.size()}. Consul {state.version}. {tools.versions(binaries)}. {count} runs a tool and size.\n"
    rows = [row for n, samples in by_size.items() for row in comparison_rows(str(n), samples, OURS)]
    return [head, table(("endpoints", *COLUMNS[1:]), rows), goals(by_size), NOTES]


def _inventory(count: int, node: Target, work: Path) -> Path:
    path = work / f"hosts-{count}.yml"
    path.write_text(endpoints.inventory(count, node.key, node.known_hosts))
    return path


def _deploy(node: Target, work: Path, say: Say) -> EndState:
    """Deploys the first endpoint with our tool. Each tool must then find nothing to do there."""
    path = _inventory(1, node, work)
    arguments = ("deploy", "--hosts", "all", "--yes")
    run(tools.inv("deploy", arguments, path, tools.prints("deployed: "), work / "state"), work)
    cluster, _ = load(str(path), {**os.environ, "NEXUS_STATE": str(work / "state")}, work)
    return prepare(cluster, work, say)


def _measure_size(
    size: int, count: int, node: Target, state: EndState, binaries: Path, work: Path, say: Say
) -> dict[str, list[Sample]]:
    say(f"bench.scale: {size} endpoints")
    check = tools.prints(f'"changes": {size - 1},', codes=(0,) if size == 1 else (2,))
    arguments = ("plan", "--hosts", "all", "--json", "--brief")
    ours = tools.inv(OURS, arguments, _inventory(size, node, work), check, work / "state")
    run(ours, work)  # certificates of new hosts are created once, outside the measured runs
    targets = endpoints.endpoints(node, size)
    peer = tools.pyinfra(targets, state, binaries, work, changing=False)
    return run_rounds([ours, peer], count, work, say, lambda: time.sleep(_PAUSE))


def goals(by_size: Mapping[int, Samples]) -> str:
    """The goals apply to 100 endpoints; empty when that size was not measured."""
    if 100 not in by_size:
        return ""
    samples = by_size[100]
    memory = max(s.memory for s in samples[OURS])
    return goal_line(
        "100 endpoints, times faster than pyinfra (at least 10)", 10, ratio(samples[PYINFRA], samples[OURS]).median
    ) + goal_line("100 endpoints, our memory in MB (at most 200)", 200, memory, more_is_better=False)
