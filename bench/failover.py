"""bench.failover: faults of every kind, under constant load through the balancer, and how soon the cluster is itself."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from bench import document as book
from bench import machine, outcome
from bench.lab_cluster import Rig
from bench.measure import Say
from bench.outcome import COMMAND, Result, Run, shown
from bench.primaries import FAULTS, arrange, handover, takeover
from bench.promised import LEADER, MAIN, NAMES
from bench.trials import Measured, Trial, hang_service, kill_consul, kill_service, managers_off, worker_off
from fabfile.core.errors import NexusError
from fabfile.core.model.cluster import Cluster
from fabfile.drills.course.load import Load, LoadTarget

HELLO = LoadTarget("127.0.7.6", "hello.lab.test")
RATE = 20.0  # requests a second
LEAD = 1.0  # seconds of load before the fault
BEFORE, AFTER = 240.0, 180.0  # seconds for the steady state before a run, and after it

NOTES = """Each run: steady state (`inv status` content, services as wanted, every Consul server caught up), load, the
fault, its undo, steady state again. Load is 20 GETs a second through the balancer, each over a TLS connection of its
own, from 1 s before the fault until the steady state after the undo; a request fails that has no whole answer below
400 within 15 s.

- Seconds are of the operator's monotonic clock, from just before the fault is sent (`docker kill` of a whole host
  alone takes a part of a second) until the answer came that showed the effect. It is asked for every few hundredths of
  a second, over an SSH connection that is open already, to a manager that is not the target (all managers off: to the
  first of them). "never" is: not within the limit of a minute or more.
- *back and passing*: another process answers on the host, and Consul calls the instance passing. *a standby acts*: the
  lock is held in a newer epoch, which is taken in one transaction with the first act. *elsewhere*: all services as
  wanted, none on the dead host. *no duplicate left*: the host has reported since its boot, and runs only what it is to.
- After each fault of a primary the recorded history of fenced actions is checked: two holders, an act of an older
  epoch or after the next election make the row FAIL. After 12 s a frozen orchestrator wakes by itself; in 30 s
  systemd's watchdog (15 s) has ended it before.
- Where the primary's host is not said to be the raft leader, it is not. "cut off": no packet passes between it and the
  other managers, for at least 15 s; workers and SSH reach it.
- "seed": the description that this project started from, an `install.sh` run by hand on each machine.
- Promises of the cut-off, of `inv promote` and of the 60 s after all managers were off are our own additions to the
  table; failed requests are promised to be none where a worker host dies, and only told elsewhere. "aim met": the
  median is within the aim, and no run beyond the promise.
"""


def _scenarios() -> Mapping[str, tuple[Callable[[Rig], None], Trial]]:
    """name -> what is arranged before the load begins, and the trial."""
    plain: dict[str, Trial] = {
        "kill-service": kill_service, "hang-service": hang_service, "worker-off": worker_off,
        "promote": handover, "kill-consul": kill_consul, "managers-off": managers_off,
    }  # fmt: skip
    found: dict[str, tuple[Callable[[Rig], None], Trial]] = {name: (lambda _: None, t) for name, t in plain.items()}
    for name, fault in FAULTS.items():
        found[name] = (partial(arrange, leader=False), takeover(fault))
        found[name + LEADER] = (partial(arrange, leader=True), takeover(fault))
    return {name: found[name] for name in NAMES}


def measure(cluster: Cluster, names: Sequence[str], count: int, path: Path, say: Say) -> tuple[list[str], list[str]]:
    """Runs these scenarios; each is written into the document when it is over. (The tables, lines that FAIL.)

    NexusError: the lab does not run, or was not steady again; what was measured before is in the document.
    """
    results = outcome.read(path.read_text(encoding="utf-8") if path.exists() else "")
    with closing(Rig(cluster)) as rig:
        rig.check()
        say(f"{COMMAND}: waiting for the steady state")
        rig.steady(BEFORE)
        version = _plain(rig.eyes().version())
        scenarios = _scenarios()
        for name in names:
            say(f"{COMMAND}: {name}, Consul {version}")
            runs, broken = _all_runs(rig, *scenarios[name], count, say)
            results = outcome.merged(results, Result(version, name, machine.size(), tuple(runs)))
            book.write(COMMAND, _section(results), path)
            if broken:
                raise broken
    tables = [outcome.whole_table(results, version), outcome.side_by_side(results)]
    return [table for table in tables if table], outcome.failing(results, version, names)


def _plain(version: str) -> str:
    """`1.8.7` of `1.8.7+dfsg1`."""
    found = re.match(r"\d+(\.\d+)*", version)
    return found[0] if found else version


def _section(results: Sequence[Result]) -> list[str]:
    tables = [outcome.whole_table(results, version) for version in dict.fromkeys(r.version for r in results)]
    parts = [outcome.side_by_side(results), *tables, NOTES, outcome.dumped(results)]
    return [part for part in parts if part]


def _all_runs(
    rig: Rig, ready: Callable[[Rig], None], trial: Trial, count: int, say: Say
) -> tuple[list[Run], NexusError | None]:
    """The error: there was no steady state any more. What led there is told among the runs, too."""
    runs: list[Run] = []
    for number in range(1, count + 1):
        try:
            rig.steady(BEFORE)
        except NexusError as error:
            return [*runs, Run({}, faults=(error.message,))], error
        runs.append(_run(rig, ready, trial))
        say(f"  run {number}/{count}  {told(runs[-1])}")
    return runs, None


def _run(rig: Rig, ready: Callable[[Rig], None], trial: Trial) -> Run:
    """From a steady state. A trial that breaks off is told as a fault; one after which no steady state comes, too."""
    measured, faults = Measured({}), list[str]()
    load = Load(HELLO, RATE)
    try:
        ready(rig)
        with load:
            time.sleep(LEAD)
            measured = trial(rig)
            rig.steady(AFTER)
        faults = [*measured.faults, *measured.after()]
    except NexusError as error:
        faults = [*measured.faults, str(error).splitlines()[0]]
    return Run(measured.seconds, len(load.failed()), len(load.samples), tuple(faults))


def told(run: Run) -> str:
    """`0.61 s, noticed 0.05 s; 0 of 240 requests failed`, and what was wrong."""
    times = [
        f"{part} {_seconds(value)}".strip()
        for part, value in sorted(run.seconds.items(), key=lambda item: item[0] != MAIN)
    ]  # fmt: skip
    words = f"{', '.join(times) or 'not measured'}; {run.failed} of {run.sent} requests failed"
    return "; ".join([words, *run.faults])


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{shown(value)} s"
