"""bench.failover: injects faults of every kind under constant load, and measures how soon the cluster recovers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from bench import benchmarks_file, failover_results, machine
from bench.expectations import LEADER, MAIN, SCENARIOS
from bench.failover_results import COMMAND, Run, ScenarioResult, format_seconds
from bench.lab_cluster import LabCluster
from bench.measure import Say
from bench.primary_scenarios import FAULTS, handover, move_primary, takeover
from bench.scenarios import Measurement, Scenario, hang_service, kill_consul, kill_service, managers_off, worker_off
from fabfile.core.errors import NexusError
from fabfile.core.model.cluster import Cluster
from fabfile.drills.course.load import Load, LoadTarget

HELLO = LoadTarget("127.0.7.6", "hello.lab.test")
RATE = 20.0  # requests a second
LEAD = 1.0  # seconds of load before the fault
STEADY_BEFORE, STEADY_AFTER = 240.0, 180.0  # seconds within which the cluster must be steady before and after a run
Prepare = Callable[[LabCluster], None]

NOTES = """Each run: steady state (`inv status` healthy, services as wanted, every Consul server caught up), load, the
fault, its undo, steady state again. Load is 20 GETs a second through the balancer, each over its own TLS connection,
from 1 s before the fault until the steady state after the undo. A request fails if it has no complete answer below 400
within 15 s.

- Seconds are of the operator's monotonic clock, from just before the fault is sent (`docker kill` of a whole host
  alone takes a part of a second) until the answer arrives that shows the effect. We ask every few hundredths of a
  second, over an open SSH connection, a manager that is not the target (all managers off: the first of them). "never"
  means: not within the limit of a minute or more.
- *back and passing*: another process answers on the host, and Consul calls the instance passing. *a standby acts*: the
  lock is held in a newer epoch; one transaction takes it and does the first act. *elsewhere*: all services as wanted,
  none on the dead host. *no duplicate left*: the host has reported since its boot, and runs only what its orders say.
- After each fault of a primary the recorded history of fenced actions is checked. Two holders, an act of an older epoch
  or an act after the next election make the row FAIL. After 12 s a frozen orchestrator wakes by itself; a freeze of
  30 s is ended earlier by systemd's watchdog (15 s).
- The primary's host is the raft leader only where the row says so. "cut off": no packet passes between it and the other
  managers for at least 15 s; workers and SSH reach it.
- "seed": the description that this project started from, an `install.sh` run by hand on each machine.
- The promises for the cut-off, for `inv promote` and for the 60 s after all managers were off are our own additions to
  the table. Zero failed requests are promised only where a worker host dies; elsewhere they are only counted. "aim
  met": the median is within the aim, and no run beyond the promise.
"""


def _scenarios() -> Mapping[str, tuple[Prepare, Scenario]]:
    """Name -> the preparation before the load begins, and the scenario."""
    unprepared: dict[str, Scenario] = {
        "kill-service": kill_service, "hang-service": hang_service, "worker-off": worker_off,
        "promote": handover, "kill-consul": kill_consul, "managers-off": managers_off,
    }  # fmt: skip
    scenarios: dict[str, tuple[Prepare, Scenario]] = {name: (lambda _: None, run) for name, run in unprepared.items()}
    for name, fault in FAULTS.items():
        scenarios[name] = (partial(move_primary, to_leader=False), takeover(fault))
        scenarios[name + LEADER] = (partial(move_primary, to_leader=True), takeover(fault))
    return {name: scenarios[name] for name in SCENARIOS}


def measure(cluster: Cluster, names: Sequence[str], count: int, path: Path, say: Say) -> tuple[list[str], list[str]]:
    """Runs these scenarios and writes each into the document when it ends. Returns the tables and the lines that FAIL.

    NexusError: the lab does not run, or did not become steady again; earlier results are in the document.
    """
    results = failover_results.load(path.read_text(encoding="utf-8") if path.exists() else "")
    with closing(LabCluster(cluster)) as lab:
        lab.check_services()
        say(f"{COMMAND}: waiting for the steady state")
        lab.wait_until_steady(STEADY_BEFORE)
        version = _release(lab.watcher().version())
        scenarios = _scenarios()
        for name in names:
            say(f"{COMMAND}: {name}, Consul {version}")
            runs, error = _run_all(lab, *scenarios[name], count, say)
            results = failover_results.merge(results, ScenarioResult(version, name, machine.size(), tuple(runs)))
            benchmarks_file.write_section(COMMAND, _section(results), path)
            if error:
                raise error
    tables = [failover_results.version_table(results, version), failover_results.versions_table(results)]
    return [table for table in tables if table], failover_results.failing(results, version, names)


def _release(version: str) -> str:
    """`1.8.7` of `1.8.7+dfsg1`."""
    numbers = re.match(r"\d+(\.\d+)*", version)
    return numbers[0] if numbers else version


def _section(results: Sequence[ScenarioResult]) -> list[str]:
    tables = [failover_results.version_table(results, version) for version in dict.fromkeys(r.version for r in results)]
    parts = [failover_results.versions_table(results), *tables, NOTES, failover_results.dump(results)]
    return [part for part in parts if part]


def _run_all(
    lab: LabCluster, prepare: Prepare, scenario: Scenario, count: int, say: Say
) -> tuple[list[Run], NexusError | None]:
    """All runs, and the error if the cluster did not become steady; that run is among the runs, with its fault."""
    runs: list[Run] = []
    for number in range(1, count + 1):
        try:
            lab.wait_until_steady(STEADY_BEFORE)
        except NexusError as error:
            return [*runs, Run({}, faults=(error.message,))], error
        runs.append(_run(lab, prepare, scenario))
        say(f"  run {number}/{count}  {summary(runs[-1])}")
    return runs, None


def _run(lab: LabCluster, prepare: Prepare, scenario: Scenario) -> Run:
    """One run from a steady state. A scenario that breaks off, or leaves no steady state, gives a run with a fault."""
    measurement, faults = Measurement({}), list[str]()
    load = Load(HELLO, RATE)
    try:
        prepare(lab)
        with load:
            time.sleep(LEAD)
            measurement = scenario(lab)
            lab.wait_until_steady(STEADY_AFTER)
        faults = [*measurement.faults, *measurement.late_faults()]
    except NexusError as error:
        faults = [*measurement.faults, str(error).splitlines()[0]]
    return Run(measurement.seconds, len(load.failed()), len(load.samples), tuple(faults))


def summary(run: Run) -> str:
    """`0.61 s, noticed 0.05 s; 0 of 240 requests failed`, and the faults."""
    times = [
        f"{metric} {_seconds(value)}".strip()
        for metric, value in sorted(run.seconds.items(), key=lambda item: item[0] != MAIN)
    ]  # fmt: skip
    measured = f"{', '.join(times) or 'not measured'}; {run.failed} of {run.sent} requests failed"
    return "; ".join([measured, *run.faults])


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{format_seconds(value)} s"
