"""Services come back by themselves, users notice nothing, and one primary acts at any moment. Under constant load."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fabfile.core.judge.fencing import check_history, read_acts, since_an_election
from fabfile.drills.course.load import Load, LoadTarget
from fabfile.lab import compose
from fabfile.lab import service_image as images

from . import other_pythons
from .conftest import HOSTS, MANAGERS, ROOT, Lab, consul_pids, eventually, hosts_of

pytestmark = pytest.mark.lab
WORKERS = ("m1", "w1", "w2")
HELLO = LoadTarget("127.0.7.6", "hello.lab.test")
BOXED = LoadTarget("127.0.7.6", "boxed.lab.test")


def settled(lab: Lab) -> bool:
    return lab.inv("service.list").returncode == 0


def running(lab: Lab, unit: str) -> dict[str, str]:
    """Host -> main PID, seen by systemd itself, of hosts where the unit runs."""
    found = {}
    for host in WORKERS:
        pid = lab.run(host, f"systemctl show -P MainPID {unit}", check=False).strip()
        if pid not in ("", "0"):
            found[host] = pid
    return found


def primary(lab: Lab, but: str = "") -> tuple[str, int]:
    """(host, epoch) by the lock itself, read from a manager's Consul, not by our code. `but`: whom not to ask, for one
    that is cut off knows the old lock only."""
    for host in (m for m in MANAGERS if m != but):
        said = lab.consul(host, "kv get -stale -detailed nexus/primary", check=False)
        if re.search(r"^Session\s+[0-9a-f-]{36}$", said, re.M):
            value = json.loads(re.search(r"^Value\s+(\{.*\})$", said, re.M)[1])  # type: ignore[index]
            return str(value["host"]), int(value["epoch"])
    return "", 0


def other_primary(lab: Lab, than: str) -> Callable[[], bool]:
    return lambda: primary(lab, but=than)[0] not in ("", than)


def history(lab: Lab) -> tuple[str, ...]:
    """The two-primary checker over all that the primaries have done."""
    lines = lab.inv_ok("events", "--json", "--lines", "0").splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    assert len(events) > 3
    return check_history(since_an_election(read_acts(events)))


def test_users_get_the_service_with_https_and_security_headers(services_lab: Lab) -> None:
    """By name, over TLS by the balancer's own CA; plain HTTP is sent there; headers are set; the rest is 404."""
    curl = "curl -s --max-time 10 --resolve hello.lab.test:443:127.0.7.6 --resolve hello.lab.test:80:127.0.7.6"
    eventually(lambda: "hello from" in _shell(f"{curl} -k https://hello.lab.test/"), 30)
    head = _shell(f"{curl} -k -D - -o /dev/null https://hello.lab.test/").lower()
    for name in ("strict-transport-security", "content-security-policy", "x-frame-options", "x-content-type-options"):
        assert f"\n{name}: " in head
    assert "\nserver: caddy" not in head
    assert "location: https://hello.lab.test/" in _shell(f"{curl} -D - -o /dev/null http://hello.lab.test/").lower()
    assert _shell("curl -s -o /dev/null -w '%{http_code}' http://127.0.7.6/") == "404"
    assert int(services_lab.run("lb1", "grep -c hello.lab.test /var/log/caddy/access.log")) > 2


def _shell(command: str) -> str:
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, timeout=30).stdout


def test_a_second_deploy_changes_nothing(services_lab: Lab) -> None:
    """services.yml is part of what a deploy compares."""
    assert "nothing changed" in services_lab.deploy()


# Another process, which answers, and Consul's agent calls it passing.
_BACK = """p=$(systemctl show -P MainPID {unit}); test $p != 0 && test $p != {before} &&
  curl -sf -m 1 localhost:8080 >/dev/null && curl -sf -m 1 -o /dev/null -H "X-Consul-Token: \
  $(cat /etc/nexus/secret-worker-token)" localhost:8500/v1/agent/health/service/id/nexus-svc-hello"""


@pytest.mark.parametrize("times", [20, pytest.param(50, marks=pytest.mark.long)])
def test_many_kills_in_a_row(services_lab: Lab, times: int) -> None:
    """On two hosts at once, half of them each, or all on one: each time the process comes back with another PID; it passes
    at the end, and is no crash loop. The instances that are left serve."""
    hosts = 2 if times == 20 else 1
    services_lab.inv_ok("service.scale", "hello", str(hosts + 1), "--yes")
    victims = hosts_of(services_lab, "hello")[:hosts]
    with Load(HELLO, rate=10) as load, ThreadPoolExecutor(hosts) as pool:
        list(pool.map(lambda host: kills(services_lab, host, times // hosts), victims))
    eventually(lambda: settled(services_lab), 20)
    assert "crashed" not in services_lab.inv_ok("service.list")
    assert len(load.failed()) <= len(load.samples) // 4  # a request under way may be lost
    services_lab.inv_ok("service.scale", "hello", "2", "--yes")
    eventually(lambda: len(running(services_lab, "nexus-svc-hello.service")) == 2, 20)  # the third is drained first


def kills(lab: Lab, host: str, times: int) -> None:
    unit = "nexus-svc-hello.service"
    for _ in range(times):
        before = lab.run(host, f"systemctl show -P MainPID {unit}; systemctl kill -s KILL {unit}").split()[0]
        lab.eventually(host, _BACK.format(unit=unit, before=before), 10)
        time.sleep(0.5)  # the worker looks twice a second; one that it never sees pass between five ends crashes in a loop


def refused(lab: Lab, token: str) -> bool:
    """Whether the API on m1 knows this token no more. The token goes in on stdin."""
    ask = "curl -s -o /dev/null -w '%{http_code}' -H @- http://127.0.0.1:8500/v1/acl/token/self"
    return lab.run("m1", ask, stdin=f"X-Consul-Token: {token}") == "403"


def token_files(lab: Lab) -> dict[str, str]:
    return {h: lab.run(h, "sha256sum </etc/consul.d/secret-tokens.hcl") for h in HOSTS}


def test_a_token_rotation_voids_the_old_ones(services_lab: Lab) -> None:
    """Killed half way and run again, it ends with new tokens for everybody; the old ones, management's too, are refused.
    No Consul and no service was restarted."""
    old, pids = services_lab.secrets(), consul_pids(services_lab)
    ours = running(services_lab, "nexus-svc-hello.service")
    files = token_files(services_lab)
    first = services_lab.start_inv("secrets.rotate", "tokens", "--yes")
    eventually(lambda: token_files(services_lab) != files, 30)
    assert first.poll() is None
    os.killpg(first.pid, signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    time.sleep(1)  # what a host has begun it finishes
    assert any(now == files[host] for host, now in token_files(services_lab).items())
    services_lab.inv_ok("secrets.rotate", "tokens", "--yes")
    new = services_lab.secrets()
    assert new["management"] != old["management"]
    assert new["retired"] == []
    assert all(now != files[host] for host, now in token_files(services_lab).items())
    for name, token in old["tokens"].items():
        assert refused(services_lab, token["secret"]), name
    assert refused(services_lab, str(old["management"]))
    assert not refused(services_lab, str(new["management"]))
    assert consul_pids(services_lab) == pids
    assert running(services_lab, "nexus-svc-hello.service") == ours
    assert services_lab.status()["healthy"]


def passing(lab: Lab, service: str) -> str:
    """What a server, not the host's own agent, knows of the service's instances that pass."""
    ask = f"curl -s -H @- 'http://127.0.0.1:8500/v1/health/service/{service}?passing&consistent'"
    return lab.run("m2", ask, stdin=f"X-Consul-Token: {lab.secrets()['management']}")


def test_a_hung_process_is_restarted(services_lab: Lab) -> None:
    """SIGSTOP: the check turns critical, for the servers as well, and the worker agent kills what does not answer.

    This is right after a rotation of tokens: the agents still speak for what was registered before it.
    """
    host = hosts_of(services_lab, "hello")[0]
    before = running(services_lab, "nexus-svc-hello.service")[host]
    eventually(lambda: f'"Node":"{host}"' in passing(services_lab, "hello"), 10)
    services_lab.run(host, "systemctl kill -s STOP nexus-svc-hello.service")
    eventually(lambda: f'"Node":"{host}"' not in passing(services_lab, "hello"), 10)
    eventually(lambda: running(services_lab, "nexus-svc-hello.service").get(host) not in (None, before), 30)
    eventually(lambda: settled(services_lab), 20)
    for host in HOSTS:
        log = "journalctl -u consul -o cat --since -5s | grep -E 'ACL not found|blocked by ACLs'"
        assert services_lab.run(host, log, check=False) == ""


def test_a_dead_worker_costs_no_request_and_leaves_no_duplicate(services_lab: Lab) -> None:
    """Power off: no GET fails, the replicas are elsewhere; back on: exactly as many instances as wanted."""
    host = next(h for h in hosts_of(services_lab, "hello") if h != "m1")
    node = compose.container(host)
    with Load(HELLO, rate=20) as load:
        time.sleep(1)
        subprocess.run(["docker", "kill", node], check=True, capture_output=True)
        try:
            eventually(lambda: len([h for h in hosts_of(services_lab, "hello") if h != host]) == 2, 30)
            eventually(
                lambda: bool(hosts_of(services_lab, "boxed")) and host not in hosts_of(services_lab, "boxed"), 30
            )
            for count in ("1", "2"):  # what an operator does with a dead host: it must not be in the way
                assert f"{host}: " in services_lab.inv_ok("service.scale", "hello", count, "--yes")
        finally:
            subprocess.run(["docker", "start", node], check=True, capture_output=True)
    eventually(lambda: images.ensure([host]) is None, 30)  # type: ignore[func-returns-value]
    assert load.failed() == []
    eventually(lambda: services_lab.status()["healthy"], 60)
    eventually(lambda: settled(services_lab), 30)
    assert host not in running(services_lab, "nexus-svc-hello.service")
    assert len(running(services_lab, "nexus-svc-hello.service")) == 2


def stop(lab: Lab, host: str) -> Callable[[], object]:
    lab.run(host, "systemctl stop nexus-orchestrator")
    return lambda: lab.run(host, "systemctl start nexus-orchestrator")


def kill(lab: Lab, host: str) -> Callable[[], object]:
    lab.run(host, "systemctl kill -s KILL nexus-orchestrator")
    return lambda: None


def freeze(lab: Lab, host: str) -> Callable[[], object]:
    lab.run(host, "systemctl kill -s STOP nexus-orchestrator")
    return lambda: lab.run(host, "systemctl kill -s CONT nexus-orchestrator")


def power_off(lab: Lab, host: str) -> Callable[[], object]:
    subprocess.run(["docker", "kill", compose.container(host)], check=True, capture_output=True)
    return lambda: subprocess.run(["docker", "start", compose.container(host)], check=True, capture_output=True)


def cut_off(lab: Lab, host: str) -> Callable[[], object]:
    peers = ", ".join(n.cluster for n in compose.NODES if n.name in MANAGERS and n.name != host)
    lab.run(host, f"""nft add table inet cut; nft add chain inet cut i '{{ type filter hook input priority -200; }}'
        nft add chain inet cut o '{{ type filter hook output priority -200; }}'
        nft add rule inet cut i ip saddr {{ {peers} }} drop; nft add rule inet cut o ip daddr {{ {peers} }} drop""")
    return lambda: lab.run(host, "nft delete table inet cut")


# a stopped and a killed primary are drilled as well
@pytest.mark.parametrize(("fault", "promised"), [
    pytest.param(stop, 2, marks=pytest.mark.long), pytest.param(kill, 5, marks=pytest.mark.long), (freeze, 10),
    (power_off, 15), (cut_off, 15)])  # fmt: skip
def test_a_standby_takes_over(
    services_lab: Lab, fault: Callable[[Lab, str], Callable[[], object]], promised: int
) -> None:
    """Another manager is primary soon; the old one comes back as a standby; never two in the recorded history."""
    eventually(lambda: services_lab.status()["healthy"], 60)
    before, epoch = primary(services_lab)
    undo = fault(services_lab, before)
    try:
        eventually(other_primary(services_lab, before), promised + 10)  # a generous limit; bench.failover has the times
        after, later = primary(services_lab, but=before)
    finally:
        undo()
    assert later > epoch
    eventually(lambda: services_lab.status()["healthy"], 60)
    assert primary(services_lab) == (after, later)  # the old one has woken up by now, and has not taken it back
    assert history(services_lab) == ()


def test_a_stale_holders_write_is_refused(services_lab: Lab) -> None:
    """A write that is fenced with a session that lost the lock comes back as a conflict, and changes nothing."""
    before = services_lab.consul("m1", "kv get nexus/placement/w1/orders")
    txn = json.dumps([
        {"KV": {"Verb": "check-session", "Key": "nexus/primary", "Session": "00000000-0000-0000-0000-000000000001"}},
        {"KV": {"Verb": "set", "Key": "nexus/placement/w1/orders", "Value": "e30="}},
    ])  # fmt: skip
    token = services_lab.secrets()["management"]
    put = (
        "umask 077; cat >/tmp/h; curl -s -w '%{http_code}' -H @/tmp/h -X PUT "
        f"-d '{txn}' http://127.0.0.1:8500/v1/txn; rm /tmp/h"
    )
    answer = services_lab.run("m1", put, stdin=f"X-Consul-Token: {token}\n")
    assert answer.endswith("409")
    assert services_lab.consul("m1", "kv get nexus/placement/w1/orders") == before


def test_promote_hands_over_at_once(services_lab: Lab) -> None:
    """The named manager is primary, an epoch later; to the one that is already, nothing is done."""
    before, epoch = primary(services_lab)
    to = next(m for m in MANAGERS if m != before)
    services_lab.inv_ok("promote", to, "--yes")
    assert primary(services_lab) == (to, epoch + 1)
    assert "already" in services_lab.inv_ok("promote", to, "--yes")
    assert services_lab.inv("promote", "w1", "--yes").returncode == 1
    assert history(services_lab) == ()


def test_promote_to_one_that_cannot_write_changes_nothing(services_lab: Lab) -> None:
    """Cut off from the other managers it cannot say that it is ready: declined, with the reason; the primary acts on."""
    eventually(lambda: services_lab.status()["healthy"], 60)
    before = primary(services_lab)
    to = next(m for m in MANAGERS if m not in (before[0], services_lab.status()["raft_leader"]))
    undo = cut_off(services_lab, to)
    try:
        done = services_lab.inv("promote", to, "--yes")
        assert done.returncode == 1
        assert f"{to} was to be primary, and " in done.stderr
        assert primary(services_lab, but=to) == before
    finally:
        undo()
    eventually(lambda: services_lab.status()["healthy"], 60)
    assert primary(services_lab) == before
    services_lab.inv_ok("promote", to, "--yes")
    assert history(services_lab) == ()


def beat(lab: Lab, but: str) -> str:
    host = next(m for m in MANAGERS if m != but)
    return lab.consul(host, "kv get -stale nexus/beat", check=False)


def test_a_lost_raft_leader_leaves_a_primary_that_acts(services_lab: Lab) -> None:
    """The leader's host, which is not the primary's, without power: writes go on as soon as there is another leader."""
    eventually(lambda: services_lab.status()["healthy"], 60)
    leader = services_lab.status()["raft_leader"]
    if primary(services_lab)[0] == leader:
        services_lab.inv_ok("promote", next(m for m in MANAGERS if m != leader), "--yes")
    beats: set[str] = set()
    undo = power_off(services_lab, leader)
    try:
        eventually(lambda: beats.add(beat(services_lab, leader)) or len(beats - {""}) >= 3, 25)  # type: ignore[func-returns-value]
    finally:
        undo()
    eventually(lambda: images.ensure(["m1"]) is None, 30)  # type: ignore[func-returns-value]
    eventually(lambda: services_lab.status()["healthy"], 60)
    assert history(services_lab) == ()


def test_without_managers_the_services_go_on(services_lab: Lab) -> None:
    """All managers' Consul and orchestrators off: no process changes, a killed one returns; on again: it heals alone."""
    pids = running(services_lab, "nexus-svc-hello.service")
    for host in MANAGERS:
        services_lab.run(host, "systemctl stop nexus-orchestrator consul")
    time.sleep(12)  # longer than any timer of ours; bench.failover has them off for two minutes
    assert running(services_lab, "nexus-svc-hello.service") == pids
    host = next(h for h in pids if h != "m1")
    services_lab.run(host, "systemctl restart nexus-worker; systemctl kill -s KILL nexus-svc-hello.service")
    eventually(lambda: running(services_lab, "nexus-svc-hello.service").get(host) not in (None, pids[host]), 15)
    for host in MANAGERS:
        services_lab.run(host, "systemctl start --no-block consul nexus-orchestrator")
    eventually(lambda: services_lab.status()["healthy"], 60)
    eventually(lambda: settled(services_lab), 30)
    assert history(services_lab) == ()


def test_a_dead_consul_agent_costs_its_services_nothing(services_lab: Lab) -> None:
    """Its services keep their PIDs, and are registered again."""
    host = next(h for h in hosts_of(services_lab, "hello") if h != "m1")
    pid = running(services_lab, "nexus-svc-hello.service")[host]
    services_lab.run(host, "systemctl kill -s KILL consul; sleep 0.5")
    eventually(lambda: host in hosts_of(services_lab, "hello"), 20)
    time.sleep(5)
    assert running(services_lab, "nexus-svc-hello.service")[host] == pid
    eventually(lambda: settled(services_lab), 20)


def test_a_container_comes_back(services_lab: Lab) -> None:
    """Killed, and with dockerd stopped and started again."""
    host = hosts_of(services_lab, "boxed")[0]
    first = services_lab.run(host, "docker ps -q --filter name=nexus-svc-boxed").strip()
    services_lab.run(host, "docker kill nexus-svc-boxed")
    running_container = "docker ps -q --filter name=nexus-svc-boxed"
    eventually(lambda: services_lab.run(host, running_container).strip() not in ("", first), 20)
    services_lab.run(host, "systemctl stop docker.socket docker")
    time.sleep(2)
    services_lab.run(host, "systemctl start docker")
    eventually(lambda: hosts_of(services_lab, "boxed") != [] and settled(services_lab), 60)


def test_an_upgrade_of_the_agents_costs_nothing(services_lab: Lab, tmp_path: Path) -> None:
    """A deploy of changed agents: no service restarts, no request fails."""
    for part in ("fabfile", "remote_agents", "templates"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "tasks.py", tmp_path)
    with (tmp_path / "remote_agents" / "nexus_agents" / "shared" / "clock.py").open("a") as more:
        more.write("# newer\n")
    pids = running(services_lab, "nexus-svc-hello.service")
    with Load(HELLO, rate=20) as load:
        words = [sys.executable, "-m", "invoke", "--search-root", str(tmp_path), "deploy", "--yes"]
        done = subprocess.run(words, cwd=tmp_path, env=services_lab.env(), text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "restart nexus-worker" in done.stderr
        time.sleep(3)
    assert running(services_lab, "nexus-svc-hello.service") == pids
    assert load.failed() == []
    services_lab.deploy()


def test_the_agents_run_under_another_python(services_lab: Lab, tmp_path: Path) -> None:
    """m1's orchestrator and worker agent, by a Python that is not the operator's: it is primary, places, and keeps."""
    python = other_pythons.find_other_python()
    if python is None:
        pytest.skip(f"this machine has no second Python from 3.{other_pythons.OLDEST} on that can be copied to a host")
    units = ("nexus-worker", "nexus-orchestrator")
    other_pythons.install(services_lab, "m1", python, tmp_path)
    try:
        for unit in units:
            other_pythons.run_unit_with(services_lab, "m1", unit, python)
        eventually(lambda: primary(services_lab)[0] != "", 30)
        services_lab.inv_ok("promote", "m1", "--yes")
        services_lab.inv_ok("service.scale", "hello", "3", "--yes")
        pid = running(services_lab, "nexus-svc-hello.service")["m1"]
        services_lab.run("m1", f"kill -9 {pid}")
        eventually(
            lambda: running(services_lab, "nexus-svc-hello.service").get("m1", pid) != pid and settled(services_lab), 60
        )
        services_lab.inv_ok("service.scale", "hello", "2", "--yes")
        assert primary(services_lab)[0] == "m1"
        for unit in units:
            assert services_lab.run("m1", f"systemctl show -P NRestarts {unit}").strip() == "0"
            program = services_lab.run("m1", f"readlink /proc/$(systemctl show -P MainPID {unit})/exe")
            assert program.startswith(other_pythons.HOME)
    finally:
        other_pythons.restore(services_lab, "m1", *units)
    assert history(services_lab) == ()


def test_scale_restart_logs_and_a_crash_loop(services_lab: Lab, tmp_path: Path) -> None:
    """service.scale edits one number; restart is gentle; a service that cannot run is paused, said, and harms no other."""
    file = services_lab.inventory.parent / "services.yml"
    before = file.read_text()
    services_lab.inv_ok("service.scale", "hello", "3", "--yes")
    assert file.read_text() == before.replace("replicas: 2", "replicas: 3")
    assert len(running(services_lab, "nexus-svc-hello.service")) == 3
    with Load(HELLO, rate=10) as load:
        services_lab.inv_ok("service.restart", "hello", "--yes")
    assert load.failed() == []
    file.write_text(before + "  broken: {command: [sh, -c, 'echo I am broken; exit 3'], domain: b.lab.test, port: 8082}\n")
    assert services_lab.inv("deploy", "--yes", timeout=300).returncode == 1
    assert "crashed" in services_lab.inv("service.list").stderr
    assert "I am broken" in services_lab.inv_ok("service.logs", "broken", "--lines", "20")
    assert "hello from" in _shell("curl -sk --resolve hello.lab.test:443:127.0.7.6 https://hello.lab.test/")
    file.write_text(before)
    services_lab.deploy()
    assert services_lab.run("w1", "systemctl list-units --all --plain --no-legend 'nexus-svc-broken*'") == ""


# Busy for a while after its start, then idle for good.
_BUSY = "import time; end = time.monotonic() + 45; exec('while time.monotonic() < end: pass'); time.sleep(9999)"
_BUSY_BOX = "d='/bin/busybox date +%s'; end=$(($($d) + 45)); while [ $($d) -lt $end ]; do :; done; /bin/busybox sleep 9999"


@pytest.mark.long
def test_busy_services_grow_and_idle_ones_shrink(services_lab: Lab) -> None:
    """By measured CPU, a process and a container alike: one instance becomes two, and one again, each for a reason told."""
    file = services_lab.inventory.parent / "services.yml"
    before = file.read_text()
    scaled = {"replicas": {"min": 1, "max": 2, "cpu": 20}}
    more = {
        "busy": {"command": ["nice", "-n", "19", "python3", "-c", _BUSY], **scaled},
        "busybox": {"image": images.IMAGE, "args": ["/bin/busybox", "sh", "-c", _BUSY_BOX], **scaled},
    }
    file.write_text(before + "".join(f"  {name}: {json.dumps(spec)}\n" for name, spec in more.items()))
    try:
        services_lab.deploy()
        for name in more:
            eventually(lambda name=name: len(hosts_of(services_lab, name)) == 2, 60)  # type: ignore[misc]
        for name in more:
            eventually(lambda name=name: len(hosts_of(services_lab, name)) == 1, 180)  # type: ignore[misc]
        said = services_lab.inv_ok("events", "--lines", "0")
        assert said.count("1 to 2 replicas: CPU") == said.count("2 to 1 replicas: CPU") == len(more)
    finally:
        file.write_text(before)
        services_lab.deploy()
        for host in WORKERS:  # what goes may take its stop_timeout
            services_lab.eventually(host, "! systemctl list-units --plain --no-legend 'nexus-svc-busy*' | grep .")
