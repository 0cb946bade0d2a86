"""The worker's loop between its orders, systemd and Consul, with hands that only note what they are told to do."""

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

from remote_agents.nexus_agents.shared import atomic_files as files
from remote_agents.nexus_agents.shared import kv_schema
from remote_agents.nexus_agents.shared.consul_api import ConsulError, putting
from remote_agents.nexus_agents.worker import agent as worker
from remote_agents.nexus_agents.worker import consul_registration as registrar
from remote_agents.nexus_agents.worker import systemd
from remote_agents.nexus_agents.worker.consul_registration import FRESH, Registrar
from remote_agents.nexus_agents.worker.instance_steps import DRAIN, START_GRACE, Unit
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
    """As a watch of the orders' key gives them."""
    return [{**putting("nexus/placement/w1/orders", value), "ModifyIndex": index}]


class Host:
    """systemd of a few lines; `said` is what it was told, `web start`."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.units: dict[str, Unit] = {}
        self.said: list[str] = []
        self.at = 1000.0
        self.folder = folder
        self.consul = Mock()
        self.consul.again.return_value = self.consul
        monkeypatch.setattr(worker, "now", lambda: self.at)
        monkeypatch.setattr(registrar, "now", lambda: self.at)
        monkeypatch.setattr(systemd, "units", lambda: (dict(self.units), {}))
        for verb in ("start", "stop", "pause", "kill"):
            monkeypatch.setattr(systemd, verb, self._hand(verb))

    def _hand(self, verb: str) -> Callable[..., None]:
        def do(what: Any, *_: object) -> None:
            name = what["name"] if verb == "start" else what
            self.said.append(f"{verb} {name}")
            if verb == "start":
                self.units[name] = Unit(what["revision"], "active")
            elif verb == "stop":
                self.units.pop(name, None)

        return do

    def agent(self, **passing: bool) -> worker.Worker:
        """An agent that comes; its threads are not started. `passing`: what its registrar has read."""
        settings = {"host": "w1", "address": "10.0.0.2", "advertise": "10.0.0.2", "state": str(self.folder)}
        made = worker.Worker(settings, self.consul)
        made._registrar.passing = passing
        made._registrar._looked_at = float("inf") if passing else float("-inf")
        return made

    def turns(self, made: worker.Worker, seconds: float, each: float = 1.0) -> None:
        for _ in range(round(seconds / each)):
            self.at += each
            made._reconcile()

    def keep(self, value: object) -> None:
        (self.folder / "orders.json").write_text(value if isinstance(value, str) else json.dumps(value))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


# Orders


def test_orders_are_carried_out_and_kept(host: Host) -> None:
    """New orders are on disk, for this user alone, before anything is started; the next agent begins with them."""
    made = host.agent()
    made._on_orders(entries(orders(3, spec())))
    file = host.folder / "orders.json"
    assert json.loads(file.read_text()) == {**orders(3, spec()), "index": 7}
    assert file.stat().st_mode & 0o777 == 0o600
    host.turns(made, 1)
    assert host.said == ["start web"]
    host.units.clear()
    host.turns(host.agent(), 1)
    assert host.said == ["start web"] * 2


@pytest.mark.parametrize(("index", "taken"), [(6, False), (7, True), (8, True)])
def test_an_older_copy_of_the_same_epoch_is_passed_over(index: int, taken: bool, host: Host) -> None:
    """A manager that is cut off or catches up may show what was: it stops nothing, also after a restart of the agent."""
    host.agent()._on_orders(entries(orders(3, spec("a"), spec("b"))))
    made = host.agent()
    made._on_orders(entries(orders(3, spec("a")), index))
    assert set(made._orders["services"]) == ({"a"} if taken else {"a", "b"})
    made._on_orders(entries(orders(4, spec("c")), 1))  # a new primary after a restored snapshot
    assert set(made._orders["services"]) == {"c"}


@pytest.mark.parametrize(("epoch", "taken"), [(1, False), (2, False), (3, True), (4, True)])
def test_an_older_epoch_is_refused(epoch: int, taken: bool, host: Host) -> None:
    """Orders of a primary that is none any more change nothing, neither now nor after a restart of the agent."""
    host.agent()._on_orders(entries(orders(3, spec())))
    made = host.agent()
    made._on_orders(entries(orders(epoch, spec("other"))))
    assert set(made._orders["services"]) == {"other" if taken else "web"}
    assert set(host.agent()._orders["services"]) == {"other" if taken else "web"}


@pytest.mark.parametrize("word", [
    None, [], entries(None), [{"Key": "k", "Value": None}], [{"Key": "k", "Value": "bm8ganNvbg=="}]])  # fmt: skip
def test_no_word_is_no_order(word: Any, host: Host) -> None:
    """A key that is gone, empty or damaged stops nothing."""
    host.keep(orders(3, spec()))
    host.units["web"] = Unit("r1", "active")
    made = host.agent(web=True)
    made._on_orders(word)
    host.turns(made, 5)
    assert host.said == []


@pytest.mark.parametrize("kept", [None, "", "{", "[]", "null", '"x"', "{}", '{"epoch": 3}', '{"services": {}}'])
def test_without_its_own_orders_an_agent_stops_nothing(kept: str | None, host: Host) -> None:
    """An agent that finds its file missing or damaged waits for new orders; what runs goes on, and stays registered."""
    if kept is not None:
        host.keep(kept)
    host.units["web"] = Unit("r1", "active")
    made = host.agent(web=True)
    host.turns(made, 5)
    wait_for_hands(made)
    assert host.said == []
    assert made._registrar._listed is None or "web" in made._registrar._listed


def test_a_full_disk_is_no_reason_to_ignore_orders(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders that cannot be kept are carried out all the same, and the thread that brought them lives on."""
    made = host.agent()
    monkeypatch.setattr(worker, "write", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
    made._on_orders(entries(orders(3, spec())))
    host.turns(made, 1)
    assert host.said == ["start web"]


@pytest.mark.parametrize("value", [{}, {"epoch": 3}, {"services": {}}, {"epoch": "x", "services": {}}])
def test_orders_that_are_none_do_not_end_the_watch(value: object, host: Host) -> None:
    """What has no epoch or no services is refused with a word; an exception would leave this worker deaf."""
    made = host.agent()
    made._on_orders(entries(value))
    made._on_orders(entries(orders(3, spec())))
    host.turns(made, 1)
    assert host.said == ["start web"]


# Turns


def test_what_ran_before_the_agent_came_is_no_crash(host: Host) -> None:
    """A service with sixty restarts that runs and passes is left alone by an agent that has just started."""
    host.keep(orders(3, spec()))
    host.units["web"] = Unit("r1", "active", 60, 1)
    host.turns(host.agent(web=True), 60)
    host.turns(host.agent(), 30)
    assert host.said == []


def test_what_is_not_in_the_orders_is_stopped_beside_all_else(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop that takes its time holds nobody up, and is not begun twice."""
    begun, over = threading.Event(), threading.Event()

    def stop(name: str, _: float) -> None:
        host.said.append(f"stop {name}")
        begun.set()
        over.wait(10)
        host.units.pop(name)

    monkeypatch.setattr(systemd, "stop", stop)
    host.keep(orders(3, spec()))
    host.units["old"] = Unit("r1", "inactive")
    made = host.agent()
    host.turns(made, 1)
    assert begun.wait(10)
    host.turns(made, 5)
    assert sorted(host.said) == ["start web", "stop old"]
    assert report(made)["old"]["state"] == "stopping"
    over.set()
    wait_for_hands(made)
    host.turns(made, 2)
    assert sorted(host.said) == ["start web", "stop old"]
    assert "old" not in report(made)


def test_an_agent_that_has_just_come_drains_too(host: Host) -> None:
    """What it was told of the checks may be a moment later than its orders: what runs may be serving, so it drains."""
    host.keep(orders(3, spec(revision="r2")))
    host.units["web"] = Unit("r1", "active")
    made = host.agent()
    host.turns(made, 0.1, 0.1)
    assert host.said == []
    host.turns(made, DRAIN + 1)
    assert host.said == ["start web"]


def test_without_consul_nothing_is_killed(host: Host) -> None:
    """A check that was critical when Consul's agent went is not held against the service for as long as it is away."""
    host.keep(orders(3, spec()))
    host.units["web"] = Unit("r1", "active")
    made = host.agent()
    answers: dict[str, Any] = {"/v1/agent/services": {}, "/v1/agent/checks": {
        "c": {"ServiceID": "nexus-svc-web", "Status": "critical"}}}  # fmt: skip
    host.consul.get.side_effect = lambda path, *_: (1, answers[path])
    look(made._registrar)
    assert made._registrar.passing == {"web": False}
    host.at += FRESH + 0.1
    host.consul.get.side_effect = ConsulError("away")
    for _ in range(round(3 * START_GRACE)):
        look(made._registrar)
        host.turns(made, 1)
    assert host.said == []


def look(made: Registrar) -> None:
    """One round of the registrar's own loop."""
    made._due.wait = Mock(side_effect=Over)  # type: ignore[method-assign]
    with suppress(Over):
        made.run()


class Over(Exception):
    """Ends an endless loop."""


def test_a_systemd_that_does_not_answer_is_no_dead_service(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When systemctl fails, as while systemd is upgraded, nobody knows what runs: then nothing is started anew."""
    monkeypatch.setattr(systemd, "units", UNITS)
    units = fake_systemctl(tmp_path, monkeypatch, "echo 'Failed to connect to bus: Connection refused' >&2; exit 1")
    (units / "nexus-svc-web.service").write_text(unit_text(spec()))
    host.keep(orders(3, spec()))
    made = host.agent(web=True)
    with suppress(Exception):  # whether by an exception or without one: no step is taken
        host.turns(made, 3)
    assert host.said == []


def wait_for_hands(made: worker.Worker) -> None:
    for hand in made._stop_threads.values():
        hand.join(10)


def report(made: worker.Worker) -> dict[str, Any]:
    return dict(made._reports._report["services"])


# The report


def test_a_report_is_as_the_others_read_it(host: Host) -> None:
    """Epoch, and of each service what wire.REPORT says; what is not there is not told of."""
    host.keep(orders(7, spec(), spec("api")))
    host.units["web"] = Unit("r1", "active", 2)
    made = host.agent(web=True)
    host.turns(made, 1)
    said = made._reports._report
    assert said["epoch"] == 7
    assert {n: (s["revision"], s["state"], s["restarts"]) for n, s in said["services"].items()} == {
        "web": ("r1", "running", 2), "api": (None, "starting", 0)}  # fmt: skip
    assert json.loads(json.dumps(said)) == said
    documented = {"revision", "state", "cpu", "restarts", "note"}
    assert all(documented <= s.keys() for s in said["services"].values())
    assert all(key in (kv_schema.__doc__ or "") for s in said["services"].values() for key in s)


def test_a_report_is_due_when_a_state_is_new(host: Host) -> None:
    """CPU and notes may change each second; only epoch, state and revision are sent at once."""
    made = host.agent()
    told = {"revision": "r1", "state": "running", "cpu": 1.0, "restarts": 0, "note": ""}
    due = []
    for change in ({}, {}, {"cpu": 9.0}, {"note": "x"}, {"state": "starting"}, {"revision": "r2"}):
        told = {**told, **change}
        made._reports.tell({"epoch": 1, "services": {"web": dict(told)}})
        due.append(made._reports._due.is_set())
        made._reports._due.clear()
    assert due == [True, False, False, False, True, True]


# systemd's word

UNITS = systemd.units


def fake_systemctl(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """A systemctl of these lines first on PATH, and a folder for units, which is returned."""
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
    """What runs, with the revision of its file if it has one; what only has a file is inactive."""
    units = fake_systemctl(tmp_path, monkeypatch, f"cat <<'X'\n{SHOWN}X")
    for name, revision in (("web", "r1"), ("idle", "r2")):
        (units / f"nexus-svc-{name}.service").write_text(unit_text(spec(name, revision)))
    (units / "nexus-svc-x.service.new").write_text("")
    (units / "other.service").write_text("")
    assert systemd.units() == (
        {"web": Unit("r1", "active", 3, 421), "my_job-2": Unit(None, "activating"), "idle": Unit("r2", "inactive")},
        {"web": 1234567, "my_job-2": -1},
    )


def test_no_units_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host on which nothing of ours runs: systemctl answers with nothing."""
    fake_systemctl(tmp_path, monkeypatch, "exit 0")
    assert systemd.units() == ({}, {})


@pytest.mark.parametrize("cpu", ["CPUUsageNSec=18446744073709551615", "CPUUsageNSec=[not set]", "CPUUsageNSec=", ""])
def test_cpu_that_is_not_measured_is_told_so(cpu: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd has several ways to say that it does not know."""
    lines = f"Id=nexus-svc-web.service\nActiveState=active\nNRestarts=0\nMainPID=1\n{cpu}"
    fake_systemctl(tmp_path, monkeypatch, f"cat <<'X'\n{lines}\nX")
    assert systemd.units()[1] == {"web": -1}


def test_a_file_is_written_whole_and_with_its_mode(tmp_path: Path) -> None:
    """Neither a file left over from a crash nor the umask gets in the way, and nothing else is left."""
    path = tmp_path / "a.env"
    (tmp_path / "a.env.new").write_text("half")
    (tmp_path / "a.env.new").chmod(0o644)
    before = os.umask(0o000)
    try:
        files.write(str(path), "A=ü\n", 0o600)
    finally:
        os.umask(before)
    assert path.read_text(encoding="utf-8") == "A=ü\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["a.env"]


def test_what_is_kept_reaches_the_disk_before_it_replaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut the file is the old one or the new one, not an empty one: its bytes are synced before the rename."""
    calls = Mock()
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, getattr(calls, name))
        getattr(calls, name).side_effect = real
    files.write(str(tmp_path / "orders.json"), "{}", 0o600)
    assert [call[0] for call in calls.mock_calls][:2] == ["fsync", "replace"]


def test_a_started_service_has_its_environment_and_unit_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, reload, then the start; the environment is readable by root alone."""
    log = tmp_path / "log"
    units = fake_systemctl(tmp_path, monkeypatch, f'ls {tmp_path}/units {tmp_path}/env >>{log}; echo "$*" >>{log}')
    monkeypatch.setattr(systemd, "ENV", str(tmp_path / "env"))
    monkeypatch.setattr(systemd, "env_path", lambda name: str(tmp_path / "env" / f"{name}.env"))
    systemd.start(spec(), "w1")
    lines = log.read_text().splitlines()
    wanted = ["nexus-svc-web.service", "daemon-reload", "restart --no-block nexus-svc-web.service"]
    assert sorted(wanted, key=lines.index) == wanted
    assert (units / "nexus-svc-web.service").read_text() == unit_text(spec())
    assert (tmp_path / "env" / "web.env").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "env").stat().st_mode & 0o777 == 0o700
    systemd.stop("web", 5.0)
    assert list(units.iterdir()) == list((tmp_path / "env").iterdir()) == []


@pytest.mark.parametrize("fatal", ["daemon-reload", "restart"])
def test_a_start_that_was_cut_off_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fatal: str) -> None:
    """Killed between the unit's file and its restart: the next agent does not take the old process for the new."""
    fake_systemctl(tmp_path, monkeypatch, f"[ $1 != show ] || cat <<'X'\n{SHOWN}X")
    monkeypatch.setattr(systemd, "ENV", str(tmp_path / "env"))
    monkeypatch.setattr(systemd, "env_path", lambda name: str(tmp_path / "env" / f"{name}.env"))
    real = systemd.systemctl

    def killed(*words: str, **more: Any) -> str:
        if words[0] == fatal:
            raise KeyboardInterrupt
        return real(*words, **more)

    monkeypatch.setattr(systemd, "systemctl", killed)
    with pytest.raises(KeyboardInterrupt):
        systemd.start(spec(revision="r2"), "w1")
    monkeypatch.setattr(systemd, "systemctl", real)
    assert systemd.units()[0]["web"].revision == systemd.UNFINISHED
    systemd.start(spec(revision="r2"), "w1")
    assert systemd.units()[0]["web"].revision == "r2"
