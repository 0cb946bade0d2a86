"""bench.failover's pure parts: which faults, what is kept of them, and what is told."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest

from bench import failover, outcome, promised, report
from bench import watchers as eyes
from bench.lab_cluster import changed, findings, last_election, too_many
from bench.outcome import Result, Run
from bench.promised import BACK, MAIN, NOTICED, ROWS, Row
from fabfile.core.errors import HostError, InputError
from fabfile.core.judge.fencing import Act

STOP = next(row for row in ROWS if row.name == "stop")
OFF, _, ON_AGAIN = (row for row in ROWS if row.name == "worker-off")


def result(*seconds: float | None, name: str = "stop", version: str = "1.8.7", failed: int = 0) -> Result:
    return Result(version, name, "2 cores", tuple(Run({MAIN: s}, failed, 100) for s in seconds))


def told(row: Row, found: Result) -> Mapping[str, str]:
    return dict(zip(("median", "ends", "requests", "runs", "verdict"), outcome.cells(row, found), strict=True))


def document(*results: Result) -> str:
    """A document with the section as it is written."""
    return report.placed("", outcome.COMMAND, report.section(outcome.COMMAND, failover._section(results)))


def test_every_fault_has_its_scenario() -> None:
    """The table and the code name the same faults, and each has exactly one main line."""
    assert tuple(failover._scenarios()) == promised.NAMES
    assert [row.name for row in ROWS if row.part == MAIN] == list(promised.NAMES)


def test_chosen_faults() -> None:
    """By default all but the leader variants; a list keeps the table's order; --leader adds to what is chosen."""
    assert not [name for name in promised.chosen("", False) if name.endswith("-leader")]
    assert promised.chosen("", True) == promised.NAMES
    assert promised.chosen("kill, stop,kill", False) == ("stop", "kill")
    assert promised.chosen("stop,promote", True) == ("stop", "stop-leader", "promote")
    assert promised.chosen("stop-leader", False) == ("stop-leader",)
    with pytest.raises(InputError, match=r"'killl' is no fault; did you mean kill\?"):
        promised.chosen("stop,killl", False)
    with pytest.raises(InputError, match="'' is no fault"):
        promised.chosen(",", False)


def test_leader_variants_are_held_to_the_same() -> None:
    """A raft leader that is lost with the primary loosens no promise."""
    twin = next(row for row in ROWS if row.name == "primary-off-leader")
    plain = next(row for row in ROWS if row.name == "primary-off")
    assert (twin.limit, twin.aim, twin.fault) == (plain.limit, plain.aim, plain.fault + "; also raft leader")


def test_a_row_of_numbers() -> None:
    """Median, both ends, requests of all runs, and what became of aim and promise."""
    assert told(STOP, result(0.2, 0.4, 1.9)) == {
        "median": "0.40", "ends": "0.20–1.90", "requests": "0 of 300", "runs": "3", "verdict": "aim met"}  # fmt: skip
    assert told(STOP, result(0.6, 0.7, 0.8))["verdict"] == "promise kept"
    assert told(STOP, result(0.2, 0.2, 2.5))["verdict"] == "FAIL: 2.50 s, not 2 s"


def test_never_is_never_zero() -> None:
    """A run that did not come back in time is the slowest, not the fastest; most of them: so is the median."""
    one = told(STOP, result(0.2, None, 0.4))
    assert (one["median"], one["ends"], one["verdict"]) == ("0.40", "0.20–never", "FAIL: never in 1 of 3 runs")
    most = told(STOP, result(None, None, 0.4))
    assert (most["median"], most["ends"]) == ("never", "0.40–never")
    assert told(STOP, result(None))["ends"] == "never–never"


def test_what_was_not_measured_is_no_number() -> None:
    """A run that broke off has no time; it is counted, and its reason is the verdict."""
    broken = Result("1.8.7", "stop", "2 cores", (*result(0.2).runs, Run({}, faults=("w1: no way | in",))))
    row = told(STOP, broken)
    assert (row["median"], row["runs"], row["verdict"]) == ("0.20", "1 of 2", "FAIL: w1: no way / in")
    nothing = told(STOP, Result("1.8.7", "stop", "2 cores", (Run({}),)))
    assert (nothing["median"], nothing["ends"], nothing["verdict"]) == ("-", "-", "FAIL: not measured")


def test_failed_requests_count_where_none_was_promised() -> None:
    """A dead worker may cost no request; of the primary's faults that is only told."""
    assert told(OFF, result(5, 6, name="worker-off", failed=1))["verdict"] == "FAIL: 2 requests failed"
    assert told(STOP, result(0.3, failed=1))["verdict"] == "aim met"


def test_faults_stand_on_the_main_line_only() -> None:
    """A scenario of several lines tells its faults once, and requests too."""
    run = Run({MAIN: 5.0, NOTICED: 3.0, BACK: 9.0}, 0, 100, ("a", "b"))
    found = Result("1.8.7", "worker-off", "2 cores", (run,))
    assert told(OFF, found)["verdict"] == "FAIL: a (and 1 more)"
    assert (told(ON_AGAIN, found)["verdict"], told(ON_AGAIN, found)["requests"]) == ("", "")
    assert outcome.failing([found], "1.8.7", ["worker-off"]) == [OFF.fault]
    assert outcome.failing([found], "1.8.7", ["stop"]) == outcome.failing([found], "1.22.7", ["worker-off"]) == []


def test_numbers_survive_the_document() -> None:
    """What is written is read again, also words that would end a comment."""
    run = Run({MAIN: None, NOTICED: 0.5}, 1, 9, ("m1 --> m2",))
    found = (Result("1.8.7", "worker-off", "2 cores", (run,)), result(0.2))
    assert outcome.read(document(*found)) == found
    assert outcome.read("") == outcome.read("<!-- bench.deploy -->\nx\n<!-- /bench.deploy -->\n") == ()


def test_a_run_on_another_consul_keeps_the_others_column() -> None:
    """Only what was measured again is replaced; versions stand by number, faults in the table's order."""
    old = (result(0.5, version="1.22.7"), result(0.4), result(3.0, name="kill"))
    new = outcome.merged(outcome.read(document(*old)), result(0.2))
    assert [(r.version, r.name, r.runs[0].seconds[MAIN]) for r in new] == [
        ("1.8.7", "stop", 0.2), ("1.8.7", "kill", 3.0), ("1.22.7", "stop", 0.5)]  # fmt: skip
    assert outcome.merged(new, new[0]) == new
    head, _, stop, kill = outcome.side_by_side(new).splitlines()
    assert "| Consul 1.8.7: median s (min–max) | Consul 1.22.7: median s (min–max) |" in head
    assert "| 0.20 (0.20–0.20) | 0.50 (0.50–0.50) |" in stop
    assert kill.endswith("| 3.00 (3.00–3.00) | - |")
    assert outcome.side_by_side(new[:2]) == ""


def test_one_versions_table() -> None:
    """Version and machine, a line for each time, and every fault with its run."""
    bad = Result("1.8.7", "kill", "2 cores", (Run({MAIN: 1.0}), Run({MAIN: 1.0}, faults=("two",))))
    text = outcome.whole_table((result(0.2), bad, result(1, version="1.22.7")), "1.8.7")
    assert text.startswith("Consul 1.8.7. 2 cores.\n\n| fault | seed promised | we promise | aim |")
    assert "| primary stopped cleanly: a standby acts | manual restart | 2 s | 0.5 s | 0.20 | 0.20–0.20 |" in text
    assert text.endswith("\n\n- kill, run 2: two\n")
    assert "1.22.7" not in text


@pytest.mark.parametrize("line", ["{", "[]", '{"version": "1"}', '{"version":"1","name":"x","machine":"","runs":[{"a":1}]}'])
def test_numbers_edited_by_hand_are_refused(line: str) -> None:
    """Nothing is measured for an hour to be lost in a document that cannot be read."""
    with pytest.raises(InputError, match="cannot be read"):
        outcome.read(f"<!-- bench.failover -->\n<!-- numbers\n{line}\n-->\n<!-- /bench.failover -->\n")


def test_a_process_that_did_not_go_on() -> None:
    """Another PID, or none, is told with both; a new service is not."""
    before = {"w1": {"a.service": "1", "b.service": "2"}, "w2": {"a.service": "3"}}
    after = {"w1": {"a.service": "1", "b.service": "9"}, "m1": {"c.service": "5"}}
    assert changed(before, after) == [
        "b.service on w1 did not go on: process 2, then 9",
        "a.service on w2 did not go on: process 3, then none",
    ]
    assert changed(before, before) == []


def test_a_duplicate() -> None:
    """More hosts than wanted; of a service that runs everywhere there are never too many."""
    unit = {"nexus-svc-hello.service": "1"}
    found = {"m1": unit, "w1": unit, "w2": unit}
    assert too_many(found, {"hello": 2, "boxed": 1}) == ["hello runs on m1, w1, w2, and is wanted 2 times"]
    assert too_many(found, {"hello": 3}) == too_many(found, {"hello": None}) == []


def act(order: int, epoch: int, holder: str, kind: str = "elected") -> Act:
    return Act(order, float(order), epoch, holder, f"session of {holder}", kind)


def test_history_is_checked_from_the_last_election_before_the_fault() -> None:
    """What happened in earlier runs is not told of this one; a stale act is."""
    old = [act(1, 1, "m1"), act(2, 2, "m2"), act(3, 1, "m1", "place")]
    since = last_election(old)
    assert (since, last_election([])) == (2, 0)
    fine = [old[0], old[1], act(5, 3, "m3")]
    assert findings(fine, since) == []
    assert any("act of an older epoch" in f for f in findings([*fine, act(6, 2, "m2", "place")], since))


def test_seconds_until() -> None:
    """Each part's own time; an answer that does not come is no answer; what never held has none."""
    answers: list[HostError | bool] = [HostError("m1", "gone"), False, True]
    asked = iter(answers)

    def holds() -> bool:
        answer = next(asked)
        if isinstance(answer, HostError):
            raise answer
        return answer

    found = eyes.seconds_until({NOTICED: lambda: True, BACK: lambda: False, MAIN: holds}, time.monotonic(), 5)
    noticed, main = found[NOTICED], found[MAIN]
    assert noticed is not None
    assert main is not None
    assert found[BACK] is None
    assert noticed < 2 * eyes.PAUSE <= main
    assert eyes.seconds_until({MAIN: lambda: False}, time.monotonic(), 0.05) == {MAIN: None}


def test_a_run_in_one_line() -> None:
    """The main time first, then the others by name, requests, and what was wrong."""
    run = Run({NOTICED: 0.05, MAIN: None}, 1, 240, ("m1 acted twice",))
    assert failover.told(run) == "never, noticed 0.05 s; 1 of 240 requests failed; m1 acted twice"
    assert failover.told(Run({})) == "not measured; 0 of 0 requests failed"


@pytest.mark.parametrize(("said", "plain"), [("1.8.7+dfsg1", "1.8.7"), ("1.22.7", "1.22.7"), ("dev", "dev")])
def test_version(said: str, plain: str) -> None:
    """One Consul is one column, whatever its packager adds."""
    assert failover._plain(said) == plain
