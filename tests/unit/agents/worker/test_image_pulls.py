"""An image is there before its instance starts, or an older version stops: the steps, the unit, what is read of it."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from remote_agents.nexus_agents.worker import agent as worker
from remote_agents.nexus_agents.worker import image_pulls, systemd
from remote_agents.nexus_agents.worker.image_pulls import Pull, image_of, pull_text, read_pull
from remote_agents.nexus_agents.worker.instance_steps import DRAIN_TIME, Evaluation, InstanceHistory, Unit, evaluate
from tests.unit.agents.worker.test_agent import Host, orders, spec
from tests.unit.agents.worker.test_agent import host as host
from tests.unit.agents.worker.test_instance_units import values, words

NEW = {**spec(revision="r2"), "image": "r.test/web:2"}
OLD_RUNS = Unit("r1", "active", 0, 1)
ABSENT = Unit(None, "inactive")
PASSED = InstanceHistory(passed=True)
READY, UNDER_WAY = Pull("r.test/web:2", "ready"), Pull("r.test/web:2", "pulling")
FAILED = Pull("r.test/web:2", "failed", "manifest unknown")


def turn(unit: Unit, pull: Pull | None, history: InstanceHistory = PASSED, now: float = 1000.0) -> Evaluation:
    return evaluate("web", NEW, unit, True, history, now, pull)


def verb(evaluation: Evaluation) -> str | None:
    return evaluation.step.verb if evaluation.step else None


# The steps


@pytest.mark.parametrize("pull", [None, Pull("r.test/web:1", "ready"), Pull("r.test/web:1", "pulling")])
@pytest.mark.parametrize("unit", [ABSENT, OLD_RUNS, Unit("r1", "activating"), Unit("r2", "failed")])
def test_the_image_comes_first(pull: Pull | None, unit: Unit) -> None:
    """Whatever runs or ran here; the pull of another image does not count."""
    evaluation = turn(unit, pull)
    assert (verb(evaluation), evaluation.state, evaluation.pull) == ("pull", "pulling", True)


@pytest.mark.parametrize("pull", [UNDER_WAY, FAILED])
def test_an_older_version_goes_on_for_as_long_as_it_takes(pull: Pull) -> None:
    """An hour, say: it is neither drained nor stopped, and what Consul has of it stays."""
    history = PASSED
    for second in range(3600):
        evaluation = turn(OLD_RUNS, pull, history, 1000.0 + second)
        history = evaluation.history
        assert (evaluation.step, evaluation.registered, evaluation.kept, evaluation.pull) == (None, False, True, True)
        assert history.draining_since is None


def test_where_nothing_ran_nothing_is_kept_in_consul() -> None:
    assert not turn(ABSENT, UNDER_WAY).kept
    assert not turn(Unit("r2", "failed"), UNDER_WAY).kept


def test_a_failure_is_told_in_dockers_words() -> None:
    evaluation = turn(ABSENT, FAILED)
    assert evaluation.state == "pull-failed"
    assert evaluation.note == "cannot pull r.test/web:2, tried every 15 s: manifest unknown"


def test_with_the_image_there_it_goes_on_as_ever() -> None:
    """Drain, then start; the pull is needed to the end of the drain, and no longer: the next start asks anew."""
    first = turn(OLD_RUNS, READY)
    assert (first.step, first.state, first.pull) == (None, "stopping", True)
    then = turn(OLD_RUNS, READY, first.history, 1000.0 + DRAIN_TIME)
    assert (verb(then), then.pull, then.history.started_at) == ("start", False, 1000.0 + DRAIN_TIME)
    assert verb(turn(ABSENT, READY)) == "start"


def test_a_command_needs_no_image() -> None:
    assert verb(evaluate("web", spec(), ABSENT, None, InstanceHistory(), 1000.0)) == "start"


# The agent


class PullingHost:
    """A host whose pulls the test ends; `host.calls` has them as `pull web`."""

    def __init__(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host, self.pulls = host, dict[str, Pull]()
        monkeypatch.setattr(systemd, "pulls", lambda: dict(self.pulls))
        monkeypatch.setattr(systemd, "start_pull", self._start)
        monkeypatch.setattr(systemd, "end_pull", self._end)

    def _start(self, spec: dict[str, Any]) -> None:
        self.host.calls.append(f"pull {spec['name']}")
        self.pulls[spec["name"]] = Pull(spec["image"], "pulling")

    def _end(self, name: str) -> None:
        self.host.calls.append(f"end pull {name}")
        del self.pulls[name]


@pytest.fixture
def pulling(host: Host, monkeypatch: pytest.MonkeyPatch) -> PullingHost:
    host.store_orders(orders(3, NEW))
    return PullingHost(host, monkeypatch)


def registered(agent: worker.Worker) -> dict[str, Any]:
    return dict(agent._registrar._desired or {})


def test_a_long_pull_changes_nothing_and_ends_in_a_start(pulling: PullingHost) -> None:
    """The loop goes on all the while; a new agent finds the pull, and does not begin another."""
    pulling.host.units["web"] = OLD_RUNS
    agent = pulling.host.agent(web=True)
    pulling.host.turns(agent, 600)
    assert registered(agent) == {"web": None}
    assert agent._reporter._report["services"]["web"]["state"] == "pulling"
    agent = pulling.host.agent(web=True)
    pulling.host.turns(agent, 5)
    assert pulling.host.calls == ["pull web"]
    pulling.pulls["web"] = READY
    pulling.host.turns(agent, DRAIN_TIME + 2)
    assert pulling.host.calls == ["pull web", "start web", "end pull web"]
    assert registered(agent) == {"web": NEW}


def test_the_minute_for_a_start_begins_with_the_container(pulling: PullingHost) -> None:
    agent = pulling.host.agent()
    pulling.host.turns(agent, 600)
    assert registered(agent) == {}
    pulling.pulls["web"] = READY
    pulling.host.turns(agent, 1)
    agent._registrar.passing, agent._registrar._checked_at = {"web": False}, float("inf")
    pulling.host.turns(agent, 59)
    assert "kill web" not in pulling.host.calls
    pulling.host.turns(agent, 3)
    assert "kill web" in pulling.host.calls


def test_a_service_that_goes_takes_its_pull_along(pulling: PullingHost) -> None:
    agent = pulling.host.agent()
    pulling.host.turns(agent, 2)
    agent._orders = {**orders(3), "index": 8}
    pulling.host.turns(agent, 1)
    assert pulling.host.calls == ["pull web", "end pull web"]


# The unit


def test_the_unit_has_its_own_limit_and_pause() -> None:
    text = pull_text(NEW)
    assert image_of(text) == "r.test/web:2"
    assert values(text, "TimeoutStartSec") == ["30min"]
    assert (values(text, "Restart"), values(text, "RestartSec")) == (["on-failure"], ["15s"])
    assert (values(text, "Type"), values(text, "RemainAfterExit")) == (["oneshot"], ["yes"])


def run_unit(tmp_path: Path, docker: str) -> tuple[int, list[str], str]:
    """Runs the unit's own command with this as Docker: exit code, Docker's arguments, and the file with its words."""
    program, said, log = tmp_path / "docker", tmp_path / "said", tmp_path / "log"
    program.write_text(f'#!/bin/sh\necho "$*" >>{log}\n{docker}\n')
    program.chmod(0o755)
    [line] = values(pull_text(NEW), "ExecStart")
    shell, flag, script, *rest = words(line.removeprefix(":"))
    assert rest == ["pull", "r.test/web:2", image_pulls.pull_output("web")]
    argv = [shell, flag, script.replace("/usr/bin/docker", shlex.quote(str(program))), *rest[:2], str(said)]
    code = subprocess.run(argv, check=False, timeout=10, capture_output=True).returncode
    return code, log.read_text().splitlines(), said.read_text() if said.exists() else ""


def test_an_image_that_is_there_is_not_asked_for_again(tmp_path: Path) -> None:
    assert run_unit(tmp_path, "exit 0") == (0, ["image inspect r.test/web:2"], "")


@pytest.mark.parametrize("code", [0, 1])
def test_one_that_is_missing_is_pulled(code: int, tmp_path: Path) -> None:
    docker = f'[ "$1" = pull ] || exit 1; echo 2: Pulling; echo manifest unknown >&2; exit {code}'
    pulled = ["image inspect r.test/web:2", "pull --quiet r.test/web:2"]
    assert run_unit(tmp_path, docker) == (code, pulled, "manifest unknown\n")


# What systemd says of it


@pytest.mark.parametrize(("shown", "pull"), [
    ("active exited success", READY),
    ("activating start success", UNDER_WAY),
    ("activating auto-restart exit-code", Pull("r.test/web:2", "failed", "Error response from daemon: manifest unknown")),
    ("activating auto-restart timeout", Pull("r.test/web:2", "failed", "it did not end within 30 minutes")),
    ("inactive dead success", None), ("failed failed resources", None),
])  # fmt: skip
def test_a_pull_is_what_systemd_calls_it(shown: str, pull: Pull | None) -> None:
    properties = dict(zip(("ActiveState", "SubState", "Result"), shown.split(), strict=True))
    said = "Using default tag\nError response from daemon: manifest unknown\n\n"
    assert read_pull("r.test/web:2", properties, said) == pull


def test_pulls_are_read_begun_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the units' files and systemctl; without a file systemctl is not even asked."""
    log, tools = tmp_path / "log", tmp_path / "bin"
    tools.mkdir()
    (tools / "systemctl").write_text(
        f'#!/bin/sh\necho "$*" >>{log}\n[ "$1" != show ] || '
        "printf 'Id=nexus-pull-web.service\\nActiveState=activating\\nSubState=auto-restart\\nResult=exit-code\\n'\n"
    )
    (tools / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setattr(systemd, "FOLDER", str(tmp_path))
    monkeypatch.setattr(systemd, "ENV", str(tmp_path / "env"))
    monkeypatch.setattr(image_pulls, "ENV", str(tmp_path / "env"))
    assert systemd.pulls() == {}
    assert not log.exists()
    systemd.start_pull(NEW)
    assert log.read_text().splitlines() == [
        "daemon-reload", "reset-failed nexus-pull-web.service", "restart --no-block nexus-pull-web.service"]  # fmt: skip
    Path(image_pulls.pull_output("web")).write_text("no route to host\n")
    assert systemd.pulls() == {"web": Pull("r.test/web:2", "failed", "no route to host")}
    systemd.end_pull("web")
    assert systemd.pulls() == {}
    assert [p.name for p in tmp_path.rglob("*pull*")] == []
