"""The pure parts of bench.failover: the scenarios, the stored results, the tables."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest

from bench import cluster_watcher, expectations, failover, failover_results, report
from bench.expectations import BACK, EXPECTATIONS, MAIN, NOTICED, Expectation
from bench.failover_results import Run, ScenarioResult
from bench.lab_cluster import duplicates, history_faults, last_election, process_changes
from fabfile.core.errors import HostError, InputError
from fabfile.core.judge.fencing import Act

STOP = next(row for row in EXPECTATIONS if row.scenario == "stop")
OFF, _, ON_AGAIN = (row for row in EXPECTATIONS if row.scenario == "worker-off")


def result(*seconds: float | None, name: str = "stop", version: str = "1.8.7", failed: int = 0) -> ScenarioResult:
    return ScenarioResult(version, name, "2 cores", tuple(Run({MAIN: s}, failed, 100) for s in seconds))


def cells(row: Expectation, measured: ScenarioResult) -> Mapping[str, str]:
    columns = ("median", "ends", "requests", "runs", "verdict")
    return dict(zip(columns, failover_results.cells(row, measured), strict=True))


def document(*results: ScenarioResult) -> str:
    """A document with the section as bench.failover writes it."""
    section = report.render_section(failover_results.COMMAND, failover._section(results))
    return report.replace_section("", failover_results.COMMAND, section)


def test_every_fault_has_its_scenario() -> None:
    """The table and the code name the same faults, and each fault has exactly one main line."""
    assert tuple(failover._scenarios()) == expectations.SCENARIOS
    assert [row.scenario for row in EXPECTATIONS if row.metric == MAIN] == list(expectations.SCENARIOS)


def test_select_scenarios() -> None:
    """The default is all but the leader variants; a list keeps the table's order; --leader adds to the selection."""
    select = expectations.select_scenarios
    assert not [name for name in select("", False) if name.endswith("-leader")]
    assert select("", True) == expectations.SCENARIOS
    assert select("kill, stop,kill", False) == ("stop", "kill")
    assert select("stop,promote", True) == ("stop", "stop-leader", "promote")
    assert select("stop-leader", False) == ("stop-leader",)
    with pytest.raises(InputError, match=r"'killl' is no fault; did you mean kill\?"):
        select("stop,killl", False)
    with pytest.raises(InputError, match="'' is no fault"):
        select(",", False)


def test_leader_variants_have_the_same_promises() -> None:
    """A raft leader that is lost with the primary loosens no promise."""
    variant = next(row for row in EXPECTATIONS if row.scenario == "primary-off-leader")
    plain = next(row for row in EXPECTATIONS if row.scenario == "primary-off")
    assert (variant.limit, variant.aim, variant.fault) == (plain.limit, plain.aim, plain.fault + "; also raft leader")


def test_a_row_of_numbers() -> None:
    """A row has the median, both ends, the requests of all runs, and the verdict on aim and promise."""
    assert cells(STOP, result(0.2, 0.4, 1.9)) == {
        "median": "0.40", "ends": "0.20–1.90", "requests": "0 of 300", "runs": "3", "verdict": "aim met"}  # fmt: skip
    assert cells(STOP, result(0.6, 0.7, 0.8))["verdict"] == "promise kept"
    assert cells(STOP, result(0.2, 0.2, 2.5))["verdict"] == "FAIL: 2.50 s, not 2 s"


def test_never_counts_as_the_slowest_run() -> None:
    """A run that did not recover in time is the slowest, not the fastest; with a majority of them, so is the median."""
    one = cells(STOP, result(0.2, None, 0.4))
    assert (one["median"], one["ends"], one["verdict"]) == ("0.40", "0.20–never", "FAIL: never in 1 of 3 runs")
    most = cells(STOP, result(None, None, 0.4))
    assert (most["median"], most["ends"]) == ("never", "0.40–never")
    assert cells(STOP, result(None))["ends"] == "never–never"


def test_a_run_that_broke_off_has_no_number() -> None:
    """A run that broke off is counted without a time, and its reason is the verdict."""
    broken = ScenarioResult("1.8.7", "stop", "2 cores", (*result(0.2).runs, Run({}, faults=("w1: no way | in",))))
    row = cells(STOP, broken)
    assert (row["median"], row["runs"], row["verdict"]) == ("0.20", "1 of 2", "FAIL: w1: no way / in")
    nothing = cells(STOP, ScenarioResult("1.8.7", "stop", "2 cores", (Run({}),)))
    assert (nothing["median"], nothing["ends"], nothing["verdict"]) == ("-", "-", "FAIL: not measured")


def test_failed_requests_count_where_none_was_promised() -> None:
    """A failed request breaks the promise of a dead worker; for the primary's faults it is only counted."""
    assert cells(OFF, result(5, 6, name="worker-off", failed=1))["verdict"] == "FAIL: 2 requests failed"
    assert cells(STOP, result(0.3, failed=1))["verdict"] == "aim met"


def test_faults_appear_on_the_main_line_only() -> None:
    """A scenario of several lines shows its faults and requests once."""
    run = Run({MAIN: 5.0, NOTICED: 3.0, BACK: 9.0}, 0, 100, ("a", "b"))
    measured = ScenarioResult("1.8.7", "worker-off", "2 cores", (run,))
    assert cells(OFF, measured)["verdict"] == "FAIL: a (and 1 more)"
    assert (cells(ON_AGAIN, measured)["verdict"], cells(ON_AGAIN, measured)["requests"]) == ("", "")
    failing = failover_results.failing
    assert failing([measured], "1.8.7", ["worker-off"]) == [OFF.fault]
    assert failing([measured], "1.8.7", ["stop"]) == failing([measured], "1.22.7", ["worker-off"]) == []


def test_results_survive_the_document() -> None:
    """The document gives back the results that were written, even text that would end a comment."""
    run = Run({MAIN: None, NOTICED: 0.5}, 1, 9, ("m1 --> m2",))
    results = (ScenarioResult("1.8.7", "worker-off", "2 cores", (run,)), result(0.2))
    load = failover_results.load
    assert load(document(*results)) == results
    assert load("") == load("<!-- bench.deploy -->\nx\n<!-- /bench.deploy -->\n") == ()


def test_a_run_on_another_consul_keeps_the_others_column() -> None:
    """Only what was measured again is replaced; versions sort by number, faults in the table's order."""
    old = (result(0.5, version="1.22.7"), result(0.4), result(3.0, name="kill"))
    new = failover_results.merge(failover_results.load(document(*old)), result(0.2))
    assert [(r.version, r.name, r.runs[0].seconds[MAIN]) for r in new] == [
        ("1.8.7", "stop", 0.2), ("1.8.7", "kill", 3.0), ("1.22.7", "stop", 0.5)]  # fmt: skip
    assert failover_results.merge(new, new[0]) == new
    head, _, stop, kill = failover_results.versions_table(new).splitlines()
    assert "| Consul 1.8.7: median s (min–max) | Consul 1.22.7: median s (min–max) |" in head
    assert "| 0.20 (0.20–0.20) | 0.50 (0.50–0.50) |" in stop
    assert kill.endswith("| 3.00 (3.00–3.00) | - |")
    assert failover_results.versions_table(new[:2]) == ""


def test_the_table_of_one_version() -> None:
    """The table names version and machine, has a line for each metric, and lists every fault with its run."""
    bad = ScenarioResult("1.8.7", "kill", "2 cores", (Run({MAIN: 1.0}), Run({MAIN: 1.0}, faults=("two",))))
    text = failover_results.version_table((result(0.2), bad, result(1, version="1.22.7")), "1.8.7")
    assert text.startswith("Consul 1.8.7. 2 cores.\n\n| fault | seed promised | we promise | aim |")
    assert "| primary stopped cleanly: a standby acts | manual restart | 2 s | 0.5 s | 0.20 | 0.20–0.20 |" in text
    assert text.endswith("\n\n- kill, run 2: two\n")
    assert "1.22.7" not in text


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"version": "1"}', '{"version":"1","name":"x","machine":"","runs":[{"a":1}]}']
)
def test_numbers_edited_by_hand_are_refused(line: str) -> None:
    """A document that cannot be read is refused before an hour of measuring, not after it."""
    with pytest.raises(InputError, match="cannot be read"):
        failover_results.load(f"<!-- bench.failover -->\n<!-- numbers\n{line}\n-->\n<!-- /bench.failover -->\n")


def test_process_changes() -> None:
    """A service with another PID, or none, is named with both; a new service is not."""
    before = {"w1": {"a.service": "1", "b.service": "2"}, "w2": {"a.service": "3"}}
    after = {"w1": {"a.service": "1", "b.service": "9"}, "m1": {"c.service": "5"}}
    assert process_changes(before, after) == [
        "b.service on w1 did not go on: process 2, then 9",
        "a.service on w2 did not go on: process 3, then none",
    ]
    assert process_changes(before, before) == []


def test_duplicates() -> None:
    """A service on more hosts than wanted is named; one that runs on every host never is."""
    unit = {"nexus-svc-hello.service": "1"}
    pids = {"m1": unit, "w1": unit, "w2": unit}
    assert duplicates(pids, {"hello": 2, "boxed": 1}) == ["hello runs on m1, w1, w2, and is wanted 2 times"]
    assert duplicates(pids, {"hello": 3}) == duplicates(pids, {"hello": None}) == []


def act(order: int, epoch: int, holder: str, kind: str = "elected") -> Act:
    return Act(order, float(order), epoch, holder, f"session of {holder}", kind)


def test_history_is_checked_from_the_last_election_before_the_fault() -> None:
    """Faults of earlier runs do not count for this one; a stale act in this one does."""
    old = [act(1, 1, "m1"), act(2, 2, "m2"), act(3, 1, "m1", "place")]
    since = last_election(old)
    assert (since, last_election([])) == (2, 0)
    fine = [old[0], old[1], act(5, 3, "m3")]
    assert history_faults(fine, since) == []
    assert any("act of an older epoch" in f for f in history_faults([*fine, act(6, 2, "m2", "place")], since))


def test_seconds_until() -> None:
    """Each metric has its own time; an error counts as not yet; a condition that never held has no time."""
    answers: list[HostError | bool] = [HostError("m1", "gone"), False, True]
    remaining = iter(answers)

    def condition() -> bool:
        answer = next(remaining)
        if isinstance(answer, HostError):
            raise answer
        return answer

    conditions = {NOTICED: lambda: True, BACK: lambda: False, MAIN: condition}
    seconds = cluster_watcher.seconds_until(conditions, time.monotonic(), 5)
    noticed, main = seconds[NOTICED], seconds[MAIN]
    assert noticed is not None
    assert main is not None
    assert seconds[BACK] is None
    assert noticed < 2 * cluster_watcher.POLL_PAUSE <= main
    assert cluster_watcher.seconds_until({MAIN: lambda: False}, time.monotonic(), 0.05) == {MAIN: None}


def test_a_run_in_one_line() -> None:
    """The line has the main time first, then the other metrics, the requests, and the faults."""
    run = Run({NOTICED: 0.05, MAIN: None}, 1, 240, ("m1 acted twice",))
    assert failover.summary(run) == "never, noticed 0.05 s; 1 of 240 requests failed; m1 acted twice"
    assert failover.summary(Run({})) == "not measured; 0 of 0 requests failed"


@pytest.mark.parametrize(("version", "release"), [("1.8.7+dfsg1", "1.8.7"), ("1.22.7", "1.22.7"), ("dev", "dev")])
def test_version(version: str, release: str) -> None:
    """All builds of one Consul release share a column."""
    assert failover._release(version) == release
