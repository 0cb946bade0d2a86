"""Drills on real hosts: each fault is there, is seen by other means than its own, and leaves nothing; whatever happens to
the operator's process meanwhile."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from fabfile.core.errors import NexusError
from fabfile.core.state.topology import Address
from fabfile.drills.course.fault_driver import FaultDriver, FaultUnsupported
from fabfile.drills.faults import catalogue, targets
from fabfile.drills.faults.targets import Target
from fabfile.edge.disk.inventory import load
from fabfile.edge.ssh.fleet import Fleet
from fabfile.lab.compose import NODES

from .conftest import HOSTS, Lab, eventually, hosts_of

pytestmark = pytest.mark.lab
WHERE = {node.name: Address(node.cluster, node.cluster) for node in NODES if node.name in HOSTS}

# All that a fault might leave: tables (sorted, for Docker puts its own in another order when it starts), queues, units and
# timers, files, and what runs.
_STATE = r"""
nft list ruleset | sed -E 's/packets [0-9]+ bytes [0-9]+//; s/# handle [0-9]+//' | sort
tc qdisc show
systemctl list-units --all --plain --no-legend 'nexus*' 'consul*' 'caddy*' 'docker*' 'run-*.timer' | awk '{print $1, $3}'
find /etc/nexus /etc/consul.d /etc/systemd /run/systemd/system /run/systemd/transient -type f -printf '%p %s %m\n' | sort
find /var/lib/nexus/faults -mindepth 1 -maxdepth 1
ps -eo comm= | grep -E '^(consul|caddy|dockerd|python3)' | sort | uniq -c
""".strip()


def state_of(lab: Lab, host: str) -> str:
    return lab.run(host, f"({_STATE}) 2>/dev/null", check=False)


def left(lab: Lab) -> list[str]:
    """Faults that are anywhere on the hosts, by their own folders."""

    def look(host: str) -> list[str]:
        names = lab.run(host, "ls /var/lib/nexus/faults 2>/dev/null", check=False).split()
        return [f"{host}: {name}" for name in names]

    with ThreadPoolExecutor(len(HOSTS)) as pool:
        return [line for lines in pool.map(look, HOSTS) for line in lines]


def main_pid(lab: Lab, host: str, unit: str) -> str:
    return lab.run(host, f"systemctl show -P MainPID {unit}").strip()


def is_stopped(lab: Lab, host: str, unit: str) -> bool:
    """By the kernel's word: T is a process that SIGSTOP stopped."""
    return lab.run(host, f"ps -o stat= -p {main_pid(lab, host, unit)}", check=False).strip().startswith("T")


def drill(lab: Lab, name: str, *words: str, code: int = 0) -> dict[str, Any]:
    """The record of a drill that was run as an operator would."""
    done = lab.inv(f"chaos.{name}", "--yes", "--json", *words, timeout=400)
    assert done.returncode == code, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


class Running:
    """A drill in a process of its own, whose lines can be waited for."""

    def __init__(self, lab: Lab, log: Path, name: str, *words: str) -> None:
        self._log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                lab.argv(f"chaos.{name}", "--yes", *words), env=lab.env(), stdout=file, stderr=file, start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )  # fmt: skip

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def await_line(self, pattern: str, seconds: float = 60) -> None:
        def told() -> bool:
            found = bool(re.search(pattern, self.said, re.M))
            if not found and self.process.poll() is not None:
                pytest.fail(self.said)  # not an AssertionError, which would be waited for
            return found

        eventually(told, seconds, lambda: self.said)

    def send(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)


@pytest.fixture
def steady(services_lab: Lab) -> Iterator[Lab]:
    """All services as wanted and nothing left of any drill, before and after."""
    eventually(lambda: services_lab.status()["healthy"], 60, lambda: services_lab.inv("status").stderr)
    eventually(
        lambda: services_lab.inv("service.list").returncode == 0, 60, lambda: services_lab.inv("service.list").stdout
    )
    assert left(services_lab) == []
    yield services_lab
    if left(services_lab):
        services_lab.inv("chaos.heal")
    assert left(services_lab) == []


# Consul's servers on m1, over the network of the hosts
_REACHES = "python3 -c 'import socket; socket.create_connection((\"198.18.7.11\", 8300), 2)'"

# Fault, its arguments, the host ("hello": where that runs), and a command that says so while it is there, or "":
# what was killed is back at once, and its main process is another one.
# A bracket in a pattern keeps the command that looks from finding itself.
SHAPES: tuple[tuple[str, dict[str, str], str, str], ...] = (
    ("kill-service", {}, "hello", ""),
    ("hang-service", {}, "hello", "ps -o stat= -p $(systemctl show -P MainPID nexus-svc-hello) | grep -q ^T"),
    ("kill-agent", {}, "w2", ""),
    ("kill-balancer", {}, "lb1", ""),
    ("kill-consul", {}, "w1", ""),
    ("stop-primary", {}, "m2", "! systemctl is-active -q nexus-orchestrator"),
    ("kill-primary", {}, "m3", ""),
    ("freeze-primary", {}, "m2", "ps -o stat= -p $(systemctl show -P MainPID nexus-orchestrator) | grep -q ^T"),
    ("partition", {}, "w1", f"! {_REACHES}"),
    ("partition", {"way": "in"}, "w2", f"! {_REACHES}"),
    ("partition", {"way": "udp"}, "lb1", f"{_REACHES} && nft list ruleset | grep -q 'table.*nexus_fault'"),
    ("burn-cpu", {"cores": "1"}, "w2", "ps -eo pcpu=,args= | awk '$1 > 5' | grep -q '[b]urn'"),
    ("eat-memory", {"mb": "100"}, "w1", "ps -eo rss=,args= | awk '$1 > 90000' | grep -q '[l]oad-of'"),
    ("packet-loss", {"percent": "100"}, "w1", f"! {_REACHES}"),
    ("stop-docker", {}, "w1", "! systemctl is-active -q docker.service docker.socket"),
    ("corrupt-config", {}, "w1", "! consul validate -quiet /etc/consul.d/"),
    ("corrupt-config", {"path": "/etc/nexus/worker.json"}, "w2", "! python3 -m json.tool /etc/nexus/worker.json"),
)  # fmt: skip


_IDS = ["-".join([s[0], *s[1].values()]) for s in SHAPES]


@pytest.fixture(scope="module")
def tried(services_lab: Lab) -> dict[str, BaseException | None]:
    """Shape -> what was wrong with it. One at a time on a host, and all hosts at once: each fault is one host's alone."""
    eventually(lambda: services_lab.inv("service.list").returncode == 0, 60)
    there = hosts_of(services_lab, "hello")[0]
    lanes: dict[str, list[int]] = {}
    for number, (_, _, place, _) in enumerate(SHAPES):
        lanes.setdefault(there if place == "hello" else place, []).append(number)

    def lane(host: str) -> list[tuple[str, BaseException | None]]:
        return [(_IDS[n], _wrong(services_lab, host, *SHAPES[n])) for n in lanes[host]]

    with ThreadPoolExecutor(len(lanes)) as pool:
        return {name: error for found in pool.map(lane, lanes) for name, error in found}


def _wrong(lab: Lab, host: str, name: str, given: dict[str, str], _: str, proof: str) -> BaseException | None:
    try:
        _try(lab, host, name, given, proof)
    except (AssertionError, NexusError) as error:
        return error
    return None


def _try(lab: Lab, host: str, name: str, given: dict[str, str], proof: str) -> None:
    fault = catalogue.FAULTS[name]
    values = catalogue.argument_values(fault, given)
    service = "hello" if fault.on_service else None
    unit = catalogue.unit_of(fault, values, service) or ""
    cluster, _ = load(str(lab.inventory), os.environ, Path.cwd())
    words = catalogue.script_arguments(
        fault, values, service, targets.peer_addresses(fault, host, Target((host,), service, host), cluster, WHERE)
    )
    before, pid = state_of(lab, host), main_pid(lab, host, unit) if unit else ""
    driver = FaultDriver(secrets.token_hex(6), name, 60)
    with Fleet(cluster, [cluster.host(host)]) as fleet:
        driver.arm(fleet[host], words)
        assert "nexus-fault" in lab.run(host, "systemctl list-timers --all --no-legend")
        try:
            driver.inject(fleet[host])
            if proof:
                lab.eventually(host, proof, 10)
            else:
                eventually(lambda: main_pid(lab, host, unit) not in (pid, "0"), 20)
        finally:
            driver.revert(fleet[host])
    eventually(lambda: state_of(lab, host) == before, 40, lambda: f"{before}\n---\n{state_of(lab, host)}")
    assert not (proof and shows(lab, host, proof))


def shows(lab: Lab, host: str, proof: str) -> bool:
    try:
        lab.run(host, proof)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("shape", _IDS)
def test_a_fault_is_there_and_then_is_gone_without_a_trace(tried: dict[str, BaseException | None], shape: str) -> None:
    """Observation on the host by other means; after its undo tables, units, files and processes are what they were."""
    if error := tried[shape]:
        raise error


def test_what_a_container_cannot_do_is_refused_before_anything_happens(steady: Lab) -> None:
    """The shared disk and the shared clock of a container; latency where the kernel has no netem, which it says."""
    cluster, _ = load(str(steady.inventory), os.environ, Path.cwd())
    before = state_of(steady, "w1")
    with Fleet(cluster, [cluster.host("w1")]) as fleet:
        for name, words in (("fill-disk", ("20",)), ("skew-clock", ("60",))):
            with pytest.raises(FaultUnsupported, match="container"):
                FaultDriver(secrets.token_hex(6), name, 60).arm(fleet["w1"], words)
    assert state_of(steady, "w1") == before


def test_a_killed_process_and_a_killed_primary_are_drills_that_pass(steady: Lab, tmp_path: Path) -> None:
    """The record has what was promised, measured and seen; managers' history was checked; the page and JUnit are there."""
    junit = tmp_path / "drill.xml"
    record = drill(steady, "kill-service", "--junit", str(junit))
    assert (record["verdict"], record["promise"]["recover_s"]) == ("PASS", 10)
    assert 0 < record["recovered_s"] <= 10
    assert record["error_s"] > 0
    assert record["requests"]["sent"] > 40
    assert {m["kind"] for m in record["timeline"]} >= {"phase", "fault", "detected", "recovered", "healed"}
    assert Path(record["report"]).read_text().startswith("<!")
    suite = ElementTree.parse(junit).getroot()  # noqa: S314  our own file
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("1", "0", "0")
    record = drill(steady, "kill-primary")
    assert (record["verdict"], record["two_primaries"]) == ("PASS", [])
    assert len(record["primaries"]) >= 2
    assert record["primaries"][-1]["epoch"] > record["primaries"][0]["epoch"]
    assert "kill-primary" in steady.inv_ok("chaos.report")


def test_nothing_is_injected_where_the_start_is_not_steady(steady: Lab) -> None:
    """A host that Consul has lost: refused with its name, and no host was armed."""
    steady.run("w2", "systemctl stop consul")
    try:
        eventually(lambda: "w2" in steady.consul("m1", "members | grep -E 'left|failed'", check=False), 30)
        done = steady.inv("chaos.kill-service", "--yes", "--target", "service:boxed")
        assert done.returncode == 1
        assert "w2 is not alive" in done.stderr
        assert "nothing was injected" in done.stderr
        assert left(steady) == []
    finally:
        steady.run("w2", "systemctl start consul")


def test_what_would_take_too_much_is_refused(steady: Lab) -> None:
    """A majority of the managers, the only balancer: not without --force and a reason. A dry run touches nothing."""
    done = steady.inv("chaos.partition", "--target", "majority", "--yes")
    assert done.returncode == 1
    assert "quorum would go" in done.stderr
    done = steady.inv("chaos.stop-host", "--target", "lb1", "--yes")
    assert done.returncode == 1
    assert "No load balancer would be left" in done.stderr
    arguments = ("chaos.partition", "--dry-run", "--json", "--target", "majority", "--force", "to see it")
    plan = json.loads(steady.inv_ok(*arguments))
    assert plan["forced"] == "to see it"
    assert len(plan["hosts"]) == 2
    assert left(steady) == []


def test_a_second_drill_and_a_deploy_are_refused_and_ctrl_c_heals(steady: Lab, tmp_path: Path) -> None:
    """Both are told what holds the cluster; the interrupted drill undoes its fault and is ABORTED, exit code 3."""
    running = Running(steady, tmp_path / "log", "packet-loss", "--target", "w1", "--percent", "5")
    running.await_line(r" fault  +packet-loss on w1")
    for words in (("chaos.kill-service", "--yes"), ("deploy", "--yes")):
        done = steady.inv(*words)
        assert done.returncode == 1
        assert "drill packet-loss on w1" in done.stderr
    assert "nexus_fault" in steady.run("w1", "nft list ruleset")
    running.send(signal.SIGINT)
    assert running.process.wait(60) == 3, running.said
    assert "interrupted by the operator" in running.said
    assert "nexus_fault" not in steady.run("w1", "nft list ruleset")


def test_a_drill_whose_operator_is_killed_ends_by_the_hosts_own_timer(steady: Lab, tmp_path: Path) -> None:
    """kill -9 right after the injection: the frozen primary wakes within its TTL and 2 s, with nobody's help."""
    running = Running(steady, tmp_path / "log", "freeze-primary", "--ttl", "20", "--no-load")
    running.await_line(r" fault  +freeze-primary on (m\d)")
    host = re.search(r"freeze-primary on (m\d)", running.said)[1]  # type: ignore[index]
    armed = time.monotonic()
    eventually(lambda: is_stopped(steady, host, "nexus-orchestrator"), 5)
    running.send(signal.SIGKILL)
    running.process.wait()
    assert left(steady)
    # 20 s and 2; a look at six hosts takes a while of its own
    eventually(lambda: not left(steady), 26 - (time.monotonic() - armed))
    assert not is_stopped(steady, host, "nexus-orchestrator")
    assert "nothing was left" in steady.inv_ok("chaos.heal")


def test_an_undo_that_fails_is_loud_and_heal_finishes_it(steady: Lab, tmp_path: Path) -> None:
    """The tool that undoes it is taken from the host meanwhile: FAIL, whatever was measured; then heal, or the host, which
    tries again every 5 s."""
    running = Running(steady, tmp_path / "log", "packet-loss", "--target", "w2", "--percent", "5")
    running.await_line(r" fault  +packet-loss on w2")
    tool = steady.run("w2", "command -v nft || ls /usr/sbin/nft").strip()
    steady.run("w2", f"mv {tool} {tool}.away")
    try:
        running.send(signal.SIGINT)
        assert running.process.wait(120) == 1, running.said
        assert "THE UNDO FAILED on w2" in running.said
        assert "inv chaos.heal" in running.said
        assert steady.inv("chaos.heal").returncode == 1
        assert "nexus_fault" in steady.run("w2", f"{tool}.away list ruleset")
    finally:
        steady.run("w2", f"mv {tool}.away {tool}")
    assert re.search("packet-loss is undone|nothing was left", steady.inv_ok("chaos.heal"))
    assert "nexus_fault" not in steady.run("w2", "nft list ruleset")


@pytest.mark.long  # a FAIL everyday: test_an_undo_that_fails_is_loud_and_heal_finishes_it
def test_what_does_not_come_back_is_a_fail_at_its_time(steady: Lab, tmp_path: Path) -> None:
    """Caddy cannot start again: before the host undoes it by itself the drill gives up and says FAIL."""
    binary = steady.run("lb1", "readlink -f /usr/local/bin/caddy").strip()
    steady.run("lb1", f"mv {binary} {binary}.away")
    try:
        running = Running(steady, tmp_path / "log", "kill-balancer", "--no-load", "--ttl", "20")
        running.await_line(r" phase  +healing", 60)
    finally:
        steady.run("lb1", f"mv {binary}.away {binary}; systemctl reset-failed caddy; systemctl start caddy")
    assert running.process.wait(60) == 1, running.said
    assert "FAIL" in running.said


@pytest.mark.long  # the same without a drill: test_a_dead_worker_costs_no_request_and_leaves_no_duplicate
def test_a_host_without_power_is_replaced_and_comes_back(steady: Lab) -> None:
    """The plug of a worker with replicas: they run elsewhere in the promised time, and users notice nothing."""
    record = drill(steady, "stop-host", "--target", "service:hello")
    assert record["verdict"] == "PASS", record["why"]
    assert record["requests"]["failed"] == 0
    assert steady.run(record["hosts"][0], "uptime -s")


def test_a_gameday_has_a_table_a_page_and_an_exit_code(steady: Lab) -> None:
    """A short one; what does not fit the cluster is left out with its reason, and does not count."""
    said = steady.inv_ok("chaos.gameday", "--only", "fill-disk,kill-agent", "--yes", timeout=300)
    assert said.count("PASS") >= 2
    assert "SKIPPED" in said
    page = re.search(r"report: (\S+gameday\.html)", said)
    assert page is not None
    text = Path(page[1]).read_text()
    assert "kill-agent" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
