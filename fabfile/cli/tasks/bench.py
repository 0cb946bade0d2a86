"""Benchmarks on the lab's own hosts: our speed beside pyinfra's and Ansible's, and times after faults. See `bench/`."""

from __future__ import annotations

from pathlib import Path

from invoke.context import Context
from invoke.exceptions import Exit

from ...core.errors import InputError
from ..console.command import command
from ..console.inputs import inventory
from ..console.output import confirm, say

_HELP = {
    "runs": "how often each tool runs, or each fault is done (default: 5; scale: 3)",
    "counts": "sizes of the fleet, a comma list (default: 1,10,50,100)",
    "only": "which faults, a comma list of their names (default: all of them)",
    "leader": "with the primary's faults also where its host is the raft leader",
    "report": "the document that gets the table (default: docs/BENCHMARKS.md)",
}


@command(help=_HELP)
def deploy(
    c: Context, runs: int = 5, inventory_: str = "", report: str = "", yes: bool = False, debug: bool = False
) -> None:
    """Deploy cold and with nothing to do, beside pyinfra and Ansible. Wipes the lab's hosts; leaves them deployed."""
    from bench import deploy as benchmark
    from bench.targets import targets

    cluster = inventory(inventory_)
    hosts = targets(cluster, Path())  # refuses what is no lab host, before the question
    confirm(f"Wipe {', '.join(h.name for h in hosts)} of cluster {cluster.name}, again and again?", yes)
    version, parts = benchmark.measure(cluster, _count(runs), say)
    _tell({"bench.deploy": [benchmark.NOTES], f"bench.deploy, Consul {version}": parts}, report)


@command(help=_HELP)
def scale(
    c: Context, counts: str = "1,10,50,100", runs: int = 3, report: str = "", yes: bool = False, debug: bool = False
) -> None:
    """Find nothing to do on 1 to 100 endpoints, beside pyinfra. Uses the lab's spare node, and wipes it."""
    from bench import scale as benchmark
    from bench.endpoints import counts as parsed

    sizes = parsed(counts)
    confirm("Wipe the lab's node spare (127.0.7.7)?", yes)
    _tell({"bench.scale": benchmark.measure(sizes, _count(runs), say)}, report)


@command(help=_HELP)
def failover(
    c: Context, runs: int = 5, only: str = "", leader: bool = False, inventory_: str = "", report: str = "",
    yes: bool = False, debug: bool = False,
) -> None:  # fmt: skip
    """Hurt the deployed lab in every way, under load, and time its recovery. Exit code 1 when a promise broke."""
    from bench import document as book
    from bench import failover as benchmark
    from bench.lab_cluster import refuse_what_is_no_lab
    from bench.promised import chosen

    cluster, names = inventory(inventory_), chosen(only, leader)
    count, path = _count(runs), Path(report) if report else book.BOOK
    refuse_what_is_no_lab(cluster)
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


def _tell(sections: dict[str, list[str]], report: str) -> None:
    from bench import document as book

    path = Path(report) if report else book.BOOK
    for parts in sections.values():  # first: a document that cannot be written must not cost what an hour has measured
        print("\n".join(parts))
    for name, parts in sections.items():
        book.write(name, parts, path)
    say(f"written to {path}")
