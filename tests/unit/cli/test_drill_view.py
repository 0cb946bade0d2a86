"""What a drill's command says of it: exit codes, the plan in lines, JSON."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fabfile.cli.views.drill_view import exit_code, plan_json, plan_lines, record_json
from fabfile.drills.verdict.record import Record, Verdict
from tests.support.drill_cluster import plan


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (("PASS",), 0), (("PASS", "SKIPPED"), 0), (("PASS", "FAIL", "UNKNOWN"), 1), (("PASS", "UNKNOWN"), 3),
        (("ABORTED",), 3), (("SKIPPED", "SKIPPED"), 3), ((), 3),
    ],
)  # fmt: skip
def test_the_worst_verdict_is_the_exit_code(verdicts: tuple[Verdict, ...], code: int) -> None:
    """A gameday that could do nothing has shown nothing, and is no success."""
    assert exit_code([Record("kill-service", verdict, 0.0) for verdict in verdicts]) == code


def test_a_plan_says_what_is_forced_and_why() -> None:
    """The reasons against it and the one for it, in words and as JSON."""
    forced = plan("partition", "majority", force="to see it")
    lines = dict(plan_lines(forced))
    assert "quorum would go" in lines["FORCED"]
    assert lines["FORCED"].endswith("Because: to see it")
    assert "for 20 s" in lines["lasts"]
    said = plan_json(forced)
    assert (said["forced"], said["hold_s"], said["drill"]) == ("to see it", 20, "partition")
    assert "FORCED" not in dict(plan_lines(plan("kill-service", "service:api")))


def test_a_plan_names_what_else_ends() -> None:
    """Containers that are not the cluster's, before anything happens to them."""
    stops = replace(plan("stop-docker"), others=("theirs on w2", "db on w2"))
    assert dict(plan_lines(stops))["ALSO ENDS"].startswith("theirs on w2, db on w2: not the cluster's")
    assert plan_json(stops)["also_ends"] == ["theirs on w2", "db on w2"]
    assert "ALSO ENDS" not in dict(plan_lines(plan("stop-docker")))


def test_the_json_has_the_promised_keys() -> None:
    """Without the single requests, which stay in the record's file."""
    said = record_json(replace(Record("kill-service", "PASS", 1.0), target="web on w1"), None)
    assert {"drill", "target", "verdict", "detected_s", "recovered_s", "error_s", "requests", "promise", "primaries",
            "timeline"} <= said.keys()  # fmt: skip
    assert {"sent", "failed", "p50_ms", "p99_ms"} <= said["requests"].keys()
    assert "samples" not in said
