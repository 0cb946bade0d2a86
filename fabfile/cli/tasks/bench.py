"""bench.*: benchmarks on the lab: our speed beside pyinfra's and Ansible's, and recovery times. See `bench/`."""

from __future__ import annotations

from pathlib import Path

from invoke.context import Context
from invoke.exceptions import Exit

from ...core.errors import InputError
from ..console.command import command
from ..console.inputs import load_inventory
from ..console.output import confirm, say

_HELP = {
    "runs": "how often each tool runs, or each fault is done (default: 5; scale: 3)",
    "counts": "sizes of the fleet, a comma list (default: 1,10,50,100)",
    "only": "which faults, a comma list of their names (default: all of them)",
    "leader": "with the primary's faults also where its host is the raft leader",
    "report": "the document that gets the table (default: docs/BENCHMARKS.md)",
}


@command(checkout_only=True, help=_HELP)
def deploy(
    c: Context, runs: int = 5, inventory_: str = "", report: str = "", yes: bool = False, debug: bool = False
) -> None:
    """Deploy cold and with nothing to do, beside pyinfra and Ansible. Wipes the lab's hosts; leaves them deployed."""
    from bench import deploy as benchmark
    from bench.targets import lab_targets

    cluster = load_inventory(inventory_)
    targets = lab_targets(cluster, Path())  # refuses other hosts than the lab's, before the question
    confirm(f"Wipe {', '.join(t.name for t in targets)} of cluster {cluster.name}, again and again?", yes)
    version, parts = benchmark.measure(cluster, _count(runs), say)
    _publish({"bench.deploy": [benchmark.NOTES], f"bench.deploy, Consul {version}": parts}, report)


@command(checkout_only=True, help=_HELP)
def scale(
    c: Context, counts: str = "1,10,50,100", runs: int = 3, report: str = "", yes: bool = False, debug: bool = False
) -> None:
    """Find nothing to do on 1 to 100 endpoints, beside pyinfra. Uses the lab's spare node, and wipes it."""
    from bench import scale as benchmark
    from bench.endpoints import parse_counts

    sizes = parse_counts(counts)
    confirm("Wipe the lab's node spare (127.0.7.7)?", yes)
    _publish({"bench.scale": benchmark.measure(sizes, _count(runs), say)}, report)


@command(checkout_only=True, help=_HELP)
def failover(
    c: Context, runs: int = 5, only: str = "", leader: bool = False, inventory_: str = "", report: str = "",
    yes: bool = False, debug: bool = False,
) -> None:  # fmt: skip
    """Inject faults into the deployed lab, under load, and time its recovery. Exit code 1 when a promise breaks."""
    from bench import benchmarks_file
    from bench import failover as benchmark
    from bench.expectations import select_scenarios
    from bench.lab_cluster import require_lab

    cluster, names = load_inventory(inventory_), select_scenarios(only, leader)
    count, path = _count(runs), Path(report) if report else benchmarks_file.BENCHMARKS
    require_lab(cluster)
    confirm(f"Do {', '.join(names)} to cluster {cluster.name}, {count} times each?", yes)
    tables, failing = benchmark.measure(cluster, names, count, path, say)
    print("\n".join(tables))
    say(f"written to {path}")
    for fault in failing:
        say(f"FAIL: {fault}")
    if failing:
        raise Exit(code=1)


def _count(runs: int) -> int:
    if runs < 1:
        raise InputError([f"--runs: {runs} is not 1 or more"], "--runs 5")
    return runs


def _publish(sections: dict[str, list[str]], report: str) -> None:
    from bench import benchmarks_file

    path = Path(report) if report else benchmarks_file.BENCHMARKS
    # print first: if the document cannot be written, an hour of results must not be lost
    for parts in sections.values():
        print("\n".join(parts))
    for name, parts in sections.items():
        benchmarks_file.write_section(name, parts, path)
    say(f"written to {path}")
