"""The worker's loop between its orders, systemd and Consul, with a systemd that only records the calls."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from remote_agents.nexus_agents.shared import atomic_files, kv_schema
from remote_agents.nexus_agents.shared.consul_api import ConsulError, set_operation
from remote_agents.nexus_agents.worker import agent as worker
from remote_agents.nexus_agents.worker import consul_registration as registrar
from remote_agents.nexus_agents.worker import systemd
from remote_agents.nexus_agents.worker.consul_registration import FRESH, Registrar
from remote_agents.nexus_agents.worker.instance_steps import DRAIN_TIME, START_GRACE, Unit
from remote_agents.nexus_agents.worker.instance_units import unit_text

SHOWN = """\
Id=nexus-svc-web.service
ActiveState=active
NRestarts=3
MainPID=421
CPUUsageNSec=1234567

CPUUsageNSec=[not set]
MainPID=0
NRestarts=0
Id=nexus-svc-my_job-2.service
ActiveState=activating
"""


def spec(name: str = "web", revision: str = "r1", kind: str = "http") -> dict[str, Any]:
    return {
        "name": name, "revision": revision, "command": ["/bin/run"], "image": None, "port": 8080, "target_port": None,
        "check": {"kind": kind, "path": "/health", "interval": 2.0, "timeout": 1.0}, "env": {}, "user": None,
        "memory_mb": None, "cpu": None, "stop_timeout": 10.0, "replicas": {"all": False, "min": 1, "max": 1, "cpu": None},
        "labels": {},
    }  # fmt: skip


def orders(epoch: int, *specs: dict[str, Any]) -> dict[str, Any]:
    return {"epoch": epoch, "services": {s["name"]: s for s in specs}}


def entries(value: object, index: int = 7) -> list[dict[str, Any]]:
    """As the watch of the orders' key passes them."""
    return [{**set_operation("nexus/placement/w1/orders", value), "ModifyIndex": index}]


class Host:
    """A simulated systemd; `calls` has each verb with its service, `start web`."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.units: dict[str, Unit] = {}
        self.calls: list[str] = []
        self.at = 1000.0
        self.folder = folder
        self.consul = Mock()
        self.consul.clone.return_value = self.consul
        monkeypatch.setattr(worker, "now", lambda: self.at)
        monkeypatch.setattr(registrar, "now", lambda: self.at)
        monkeypatch.setattr(systemd, "units", lambda: (dict(self.units), {}))
        for verb in ("start", "stop", "pause", "kill"):
            monkeypatch.setattr(systemd, verb, self._fake(verb))

    def _fake(self, verb: str) -> Callable[..., None]:
        def call(service: Any, *_: object) -> None:
            name = service["name"] if verb == "start" else service
            self.calls.append(f"{verb} {name}")
            if verb == "start":
                self.units[name] = Unit(service["revision"], "active")
            elif verb == "stop":
                self.units.pop(name, None)

        return call

    def agent(self, **passing: bool) -> worker.Worker:
        """A new agent; its threads are not started. `passing`: what its registrar has read."""
        settings = {"host": "w1", "address": "10.0.0.2", "advertise": "10.0.0.2", "state": str(self.folder)}
        agent = worker.Worker(settings, self.consul)
        agent._registrar.passing = passing
        agent._registrar._checked_at = float("inf") if passing else float("-inf")
        return agent

    def turns(self, agent: worker.Worker, seconds: float, each: float = 1.0) -> None:
        for _ in range(round(seconds / each)):
            self.at += each
            agent._reconcile()

    def store_orders(self, value: object) -> None:
        (self.folder / "orders.json").write_text(value if isinstance(value, str) else json.dumps(value))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


# Orders


def test_orders_are_carried_out_and_stored(host: Host) -> None:
    """New orders are on disk, for this user alone, before any step; the next agent starts with them."""
    agent = host.agent()
    agent._on_orders(entries(orders(3, spec())))
    file = host.folder / "orders.json"
    assert json.loads(file.read_text()) == {**orders(3, spec()), "index": 7}
    assert file.stat().st_mode & 0o777 == 0o600
    host.turns(agent, 1)
    assert host.calls == ["start web"]
    host.units.clear()
    host.turns(host.agent(), 1)
    assert host.calls == ["start web"] * 2


@pytest.mark.parametrize(("index", "taken"), [(6, False), (7, True), (8, True)])
def test_an_older_copy_of_the_same_epoch_is_ignored(index: int, taken: bool, host: Host) -> None:
    """A partitioned manager may show old orders: they stop nothing, also after a restart of the agent."""
    host.agent()._on_orders(entries(orders(3, spec("a"), spec("b"))))
    agent = host.agent()
    agent._on_orders(entries(orders(3, spec("a")), index))
    assert set(agent._orders["services"]) == ({"a"} if taken else {"a", "b"})
    agent._on_orders(entries(orders(4, spec("c")), 1))  # a new primary after a restored snapshot
    assert set(agent._orders["services"]) == {"c"}


@pytest.mark.parametrize(("epoch", "taken"), [(1, False), (2, False), (3, True), (4, True)])
def test_an_older_epoch_is_refused(epoch: int, taken: bool, host: Host) -> None:
    """Orders of a former primary change nothing, neither now nor after a restart of the agent."""
    host.agent()._on_orders(entries(orders(3, spec())))
    agent = host.agent()
    agent._on_orders(entries(orders(epoch, spec("other"))))
    assert set(agent._orders["services"]) == {"other" if taken else "web"}
    assert set(host.agent()._orders["services"]) == {"other" if taken else "web"}


@pytest.mark.parametrize("value", [
    None, [], entries(None), [{"Key": "k", "Value": None}], [{"Key": "k", "Value": "bm8ganNvbg=="}]])  # fmt: skip
def test_a_missing_value_stops_nothing(value: Any, host: Host) -> None:
    """Nor does an empty or damaged one."""
    host.store_orders(orders(3, spec()))
    host.units["web"] = Unit("r1", "active")
    agent = host.agent(web=True)
    agent._on_orders(value)
    host.turns(agent, 5)
    assert host.calls == []


@pytest.mark.parametrize("stored", [None, "", "{", "[]", "null", '"x"', "{}", '{"epoch": 3}', '{"services": {}}'])
def test_without_stored_orders_an_agent_stops_nothing(stored: str | None, host: Host) -> None:
    """With a missing or damaged file it waits for new orders; running services go on, and stay registered."""
    if stored is not None:
        host.store_orders(stored)
    host.units["web"] = Unit("r1", "active")
    agent = host.agent(web=True)
    host.turns(agent, 5)
    join_stop_threads(agent)
    assert host.calls == []
    assert agent._registrar._desired is None or "web" in agent._registrar._desired


def test_a_full_disk_is_no_reason_to_ignore_orders(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders that cannot be stored are carried out all the same, and the watch's thread goes on."""
    agent = host.agent()
    monkeypatch.setattr(worker, "write_atomically", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
    agent._on_orders(entries(orders(3, spec())))
    host.turns(agent, 1)
    assert host.calls == ["start web"]


@pytest.mark.parametrize("value", [{}, {"epoch": 3}, {"services": {}}, {"epoch": "x", "services": {}}])
def test_malformed_orders_do_not_end_the_watch(value: object, host: Host) -> None:
    """Orders without an epoch or services are ignored; an exception would end the watch for good."""
    agent = host.agent()
    agent._on_orders(entries(value))
    agent._on_orders(entries(orders(3, spec())))
    host.turns(agent, 1)
    assert host.calls == ["start web"]


# Turns


def test_restarts_before_the_agents_start_are_no_crashes(host: Host) -> None:
    """A service with sixty restarts that runs and passes is left alone by an agent that has just started."""
    host.store_orders(orders(3, spec()))
    host.units["web"] = Unit("r1", "active", 60, 1)
    host.turns(host.agent(web=True), 60)
    host.turns(host.agent(), 30)
    assert host.calls == []


def test_a_stop_does_not_delay_other_services(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow stop delays no other service, and is not started twice."""
    begun, over = threading.Event(), threading.Event()

    def stop(name: str, _: float) -> None:
        host.calls.append(f"stop {name}")
        begun.set()
        over.wait(10)
        host.units.pop(name)

    monkeypatch.setattr(systemd, "stop", stop)
    host.store_orders(orders(3, spec()))
    host.units["old"] = Unit("r1", "inactive")
    agent = host.agent()
    host.turns(agent, 1)
    assert begun.wait(10)
    host.turns(agent, 5)
    assert sorted(host.calls) == ["start web", "stop old"]
    assert report(agent)["old"]["state"] == "stopping"
    over.set()
    join_stop_threads(agent)
    host.turns(agent, 2)
    assert sorted(host.calls) == ["start web", "stop old"]
    assert "old" not in report(agent)


def test_a_new_agent_drains_too(host: Host) -> None:
    """It may know its orders before the checks' state: a running instance may be serving, so it drains."""
    host.store_orders(orders(3, spec(revision="r2")))
    host.units["web"] = Unit("r1", "active")
    agent = host.agent()
    host.turns(agent, 0.1, 0.1)
    assert host.calls == []
    host.turns(agent, DRAIN_TIME + 1)
    assert host.calls == ["start web"]


def test_without_consul_nothing_is_killed(host: Host) -> None:
    """A check that was critical when Consul's agent went away does not count while it is away."""
    host.store_orders(orders(3, spec()))
    host.units["web"] = Unit("r1", "active")
    agent = host.agent()
    answers: dict[str, Any] = {"/v1/agent/services": {}, "/v1/agent/checks": {
        "c": {"ServiceID": "nexus-svc-web", "Status": "critical"}}}  # fmt: skip
    host.consul.get.side_effect = lambda path, *_: (1, answers[path])
    registrar_turn(agent._registrar)
    assert agent._registrar.passing == {"web": False}
    host.at += FRESH + 0.1
    host.consul.get.side_effect = ConsulError("away")
    for _ in range(round(3 * START_GRACE)):
        registrar_turn(agent._registrar)
        host.turns(agent, 1)
    assert host.calls == []


def registrar_turn(agent: Registrar) -> None:
    """One turn of the registrar's own loop."""
    agent._due.wait = Mock(side_effect=Over)  # type: ignore[method-assign]
    with suppress(Over):
        agent.run()


class Over(Exception):
    """Ends an endless loop."""


def test_without_an_answer_of_systemd_nothing_is_started(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When systemctl fails, as while systemd is upgraded, it is unknown what runs."""
    monkeypatch.setattr(systemd, "units", UNITS)
    units = fake_systemctl(tmp_path, monkeypatch, "echo 'Failed to connect to bus: Connection refused' >&2; exit 1")
    (units / "nexus-svc-web.service").write_text(unit_text(spec()))
    host.store_orders(orders(3, spec()))
    agent = host.agent(web=True)
    with suppress(Exception):  # with or without an exception: no step is taken
        host.turns(agent, 3)
    assert host.calls == []


def join_stop_threads(agent: worker.Worker) -> None:
    for thread in agent._stop_threads.values():
        thread.join(10)


def report(agent: worker.Worker) -> dict[str, Any]:
    return dict(agent._reporter._report["services"])


# The report


def test_a_report_has_the_documented_form(host: Host) -> None:
    """The epoch, and for each service the keys of kv_schema.REPORT; a service that is not there is left out."""
    host.store_orders(orders(7, spec(), spec("api")))
    host.units["web"] = Unit("r1", "active", 2)
    agent = host.agent(web=True)
    host.turns(agent, 1)
    sent = agent._reporter._report
    assert sent["epoch"] == 7
    assert {n: (s["revision"], s["state"], s["restarts"]) for n, s in sent["services"].items()} == {
        "web": ("r1", "running", 2), "api": (None, "starting", 0)}  # fmt: skip
    assert json.loads(json.dumps(sent)) == sent
    documented = {"revision", "state", "cpu", "restarts", "note"}
    assert all(documented <= s.keys() for s in sent["services"].values())
    assert all(key in (kv_schema.__doc__ or "") for s in sent["services"].values() for key in s)


def test_a_report_has_the_last_answer_of_a_check_that_fails(host: Host) -> None:
    """While Consul's agent answers, and where there is nothing else to say."""
    host.store_orders(orders(7, spec()))
    agent = host.agent(web=False)
    agent._registrar.answers = {"web": "HTTP GET http://10.0.0.2:8080/health: 400 Bad Request"}
    host.turns(agent, 3)
    told = report(agent)["web"]
    assert (told["state"], told["note"]) == (
        "starting", "its check says: HTTP GET http://10.0.0.2:8080/health: 400 Bad Request")  # fmt: skip
    agent._registrar._checked_at = float("-inf")
    host.turns(agent, 1)
    assert report(agent)["web"]["note"] == ""


def test_a_change_around_a_running_instance_replaces_nothing(host: Host) -> None:
    """Another domain for its check: only the registration gets it."""
    host.store_orders(orders(3, spec()))
    host.units["web"] = Unit("r1", "active")
    agent = host.agent(web=True)
    host.turns(agent, 3)
    agent._on_orders(entries(orders(3, {**spec(), "check_host": "web.test"}), 9))
    host.turns(agent, 3)
    assert host.calls == []
    assert agent._registrar._desired == {"web": {**spec(), "check_host": "web.test"}}


def test_a_report_is_due_when_a_state_changes(host: Host) -> None:
    """CPU and notes may change each second; only epoch, state and revision are sent at once."""
    agent = host.agent()
    service = {"revision": "r1", "state": "running", "cpu": 1.0, "restarts": 0, "note": ""}
    due = []
    for change in ({}, {}, {"cpu": 9.0}, {"note": "x"}, {"state": "starting"}, {"revision": "r2"}):
        service = {**service, **change}
        agent._reporter.update({"epoch": 1, "services": {"web": dict(service)}})
        due.append(agent._reporter._due.is_set())
        agent._reporter._due.clear()
    assert due == [True, False, False, False, True, True]


# systemd

UNITS = systemd.units


def fake_systemctl(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """Puts a systemctl of these lines first on PATH. Returns a new folder for units."""
    tools, units = folder / "bin", folder / "units"
    tools.mkdir()
    units.mkdir()
    program = tools / "systemctl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setattr(systemd, "FOLDER", str(units))
    return units


def test_units_are_read_from_systemctl_and_from_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loaded units have the revision of their file, if there is one; a unit with only a file is inactive."""
    units = fake_systemctl(tmp_path, monkeypatch, f"cat <<'X'\n{SHOWN}X")
    for name, revision in (("web", "r1"), ("idle", "r2")):
        (units / f"nexus-svc-{name}.service").write_text(unit_text(spec(name, revision)))
    (units / "nexus-svc-x.service.new").write_text("")
    (units / "other.service").write_text("")
    assert systemd.units() == (
        {"web": Unit("r1", "active", 3, 421), "my_job-2": Unit(None, "activating"), "idle": Unit("r2", "inactive")},
        {"web": 1234567, "my_job-2": -1},
    )


def test_without_units_the_result_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a host on which nothing of ours runs, systemctl prints nothing."""
    fake_systemctl(tmp_path, monkeypatch, "exit 0")
    assert systemd.units() == ({}, {})


@pytest.mark.parametrize("cpu", ["CPUUsageNSec=18446744073709551615", "CPUUsageNSec=[not set]", "CPUUsageNSec=", ""])
def test_cpu_that_is_not_measured_is_minus_one(cpu: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd has several forms for that."""
    lines = f"Id=nexus-svc-web.service\nActiveState=active\nNRestarts=0\nMainPID=1\n{cpu}"
    fake_systemctl(tmp_path, monkeypatch, f"cat <<'X'\n{lines}\nX")
    assert systemd.units()[1] == {"web": -1}


def test_a_file_is_written_whole_and_with_its_mode(tmp_path: Path) -> None:
    """Neither a file left over from a crash nor the umask matters, and no other file is left."""
    path = tmp_path / "a.env"
    (tmp_path / "a.env.new").write_text("half")
    (tmp_path / "a.env.new").chmod(0o644)
    before = os.umask(0o000)
    try:
        atomic_files.write_atomically(str(path), "A=ü\n", 0o600)
    finally:
        os.umask(before)
    assert path.read_text(encoding="utf-8") == "A=ü\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["a.env"]


def test_a_file_reaches_the_disk_before_it_replaces_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut the file is the old or the new one, never an empty one: it is synced before the rename."""
    calls = Mock()
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, getattr(calls, name))
        getattr(calls, name).side_effect = real
    atomic_files.write_atomically(str(tmp_path / "orders.json"), "{}", 0o600)
    assert [call[0] for call in calls.mock_calls][:2] == ["fsync", "replace"]


def test_a_started_service_has_its_environment_and_unit_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, reload, then the start; only root can read the environment."""
    log = tmp_path / "log"
    units = fake_systemctl(tmp_path, monkeypatch, f'ls {tmp_path}/units {tmp_path}/env >>{log}; echo "$*" >>{log}')
    monkeypatch.setattr(systemd, "ENV", str(tmp_path / "env"))
    monkeypatch.setattr(systemd, "env_path", lambda name: str(tmp_path / "env" / f"{name}.env"))
    systemd.start(spec(), "w1")
    lines = log.read_text().splitlines()
    expected = ["nexus-svc-web.service", "daemon-reload", "restart --no-block nexus-svc-web.service"]
    assert sorted(expected, key=lines.index) == expected
    assert (units / "nexus-svc-web.service").read_text() == unit_text(spec())
    assert (tmp_path / "env" / "web.env").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "env").stat().st_mode & 0o777 == 0o700
    systemd.stop("web", 5.0)
    assert list(units.iterdir()) == list((tmp_path / "env").iterdir()) == []


@pytest.mark.parametrize("fatal", ["daemon-reload", "restart"])
def test_an_interrupted_start_is_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fatal: str) -> None:
    """Killed between the unit file and the restart: the next agent does not take the old process for the new one."""
    fake_systemctl(tmp_path, monkeypatch, f"[ $1 != show ] || cat <<'X'\n{SHOWN}X")
    monkeypatch.setattr(systemd, "ENV", str(tmp_path / "env"))
    monkeypatch.setattr(systemd, "env_path", lambda name: str(tmp_path / "env" / f"{name}.env"))
    real = systemd.systemctl

    def killed(*args: str, **options: Any) -> str:
        if args[0] == fatal:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(systemd, "systemctl", killed)
    with pytest.raises(KeyboardInterrupt):
        systemd.start(spec(revision="r2"), "w1")
    monkeypatch.setattr(systemd, "systemctl", real)
    assert systemd.units()[0]["web"].revision == systemd.UNFINISHED
    systemd.start(spec(revision="r2"), "w1")
    assert systemd.units()[0]["web"].revision == "r2"
