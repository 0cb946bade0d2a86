"""bench.scale: one node at N addresses, nothing to do: how time and memory grow with the fleet."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import endpoints, machine, tools
from bench.files import EndState, prepare
from bench.measure import Say, gameday_view, run
from bench.report import COLUMNS, comparison, goal, table
from bench.stats import Sample, ratio
from bench.targets import Target
from bench.tools import OURS, PYINFRA, WORK
from bench.wipe import wipe
from fabfile.edge.disk.inventory import load

_SETTLE = 2.0  # seconds before each run: the sshd sessions of the run before are still ending, on the same cores
Samples = Mapping[str, Sequence[Sample]]

NOTES = """One node (the lab's spare) answers at all N addresses, through a small TCP forwarder on the same machine. So
one sshd and this machine's cores carry all N hosts' share of the work, too: in a real fleet each host would do
its own part, and what a tool asks of the hosts would weigh less. CPU and memory are the operator's side alone.
Before each run there is a pause of 2 s, in which the sessions of the run before end.

- Ours is `inv plan --json --brief`: probe every endpoint, render every host's files, compare, print what differs. It is
  what `inv deploy` does before it says that nothing changed, and a little more: one machine can be as deployed for one
  name only, so the other N - 1 endpoints differ in half a dozen small files (certificates among them), and these are
  named, without diffs: no tool prints any. A run counts only if exactly those N - 1 differ. The firewall is left out
  (`firewall: false`): its rules name every host, so the first endpoint would differ, too.
- pyinfra runs Consul's operations (user, folder, binary, configuration, unit, service; `-y`, its own default
  parallelism) with one and the same set of files for all endpoints; a run counts only if no operation changed
  anything. Its binary is hashed on each endpoint every time (68 MB for Consul 1.8.7); for ours the host looks into
  the ledger that the last deploy left there, and hashes only where inode, size or times no longer match.
- CPU is user + system on the operator's side, the forwarder's own not counted; memory is that of the largest
  single process, the highest of all runs.
"""


def measure(counts: Sequence[int], count: int, say: Say) -> list[str]:
    """Deploys to the spare node, measures at each size, wipes it. The section's parts, as Markdown."""
    work = WORK / "scale"
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    binaries = tools.environment(say)
    most = max(counts)
    node = endpoints.spare(work / "known_hosts", most)
    try:
        wipe([node])
        with endpoints.road(node, most, work / "forward.log"):
            state = _deployed(node, work, say)
            found = {n: _at(n, count, node, state, binaries, work, say) for n in counts}
    finally:
        wipe([node])
    head = f"{machine.size()}. Consul {state.version}. {tools.versions(binaries)}. {count} runs a tool and size.\n"
    rows = [row for n, samples in found.items() for row in comparison(str(n), samples, OURS)]
    return [head, table(("endpoints", *COLUMNS[1:]), rows), goals(found), NOTES]


def _inventory(count: int, node: Target, work: Path) -> Path:
    path = work / f"hosts-{count}.yml"
    path.write_text(endpoints.inventory(count, node.key, node.known_hosts))
    return path


def _deployed(node: Target, work: Path, say: Say) -> EndState:
    """Our own deploy, to the first endpoint; every tool must then find its state right."""
    only = _inventory(1, node, work)
    words = ("deploy", "--hosts", "all", "--yes")
    run(tools.inv("deploy", words, only, tools.says("deployed: "), work / "state"), work)
    cluster, _ = load(str(only), {**os.environ, "NEXUS_STATE": str(work / "state")}, work)
    return prepare(cluster, work, say)


def _at(
    size: int, count: int, node: Target, state: EndState, binaries: Path, work: Path, say: Say
) -> dict[str, list[Sample]]:
    say(f"bench.scale: {size} endpoints")
    check = tools.says(f'"changes": {size - 1},', codes=(0,) if size == 1 else (2,))
    words = ("plan", "--hosts", "all", "--json", "--brief")
    ours = tools.inv(OURS, words, _inventory(size, node, work), check, work / "state")
    run(ours, work)  # the certificates of hosts that were never seen before are made once
    ends = endpoints.endpoints(node, size)
    peer = tools.pyinfra(ends, state, binaries, work, changing=False)
    return gameday_view([ours, peer], count, work, say, lambda: time.sleep(_SETTLE))


def goals(found: Mapping[int, Samples]) -> str:
    """Judged at 100 endpoints; a run that left them out is not judged."""
    if 100 not in found:
        return ""
    samples = found[100]
    memory = max(s.memory for s in samples[OURS])
    return goal(
        "100 endpoints, times faster than pyinfra (at least 10)", 10, ratio(samples[PYINFRA], samples[OURS]).median
    ) + goal("100 endpoints, our memory in MB (at most 200)", 200, memory, more_is_better=False)
