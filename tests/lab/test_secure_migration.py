"""A cluster that was deployed open becomes secure by a normal deploy, and loses nothing on the way."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fabfile.lab import compose

from .conftest import HOSTS, MANAGERS, ROOT, Lab, wipe

pytestmark = [pytest.mark.lab, pytest.mark.long]  # from one of our own early commits; no everyday way
FIRST_SECURE = "fabfile/core/consul_files.py"  # the commit that brought this file is the first that secures
API = "http://127.0.0.1:8500/v1"
LONGEST = 10.0  # seconds that an agent may know no raft leader: an election, or its own restart

_WATCH = """
import json, os, time, urllib.request
with open("/run/leader.log", "w", buffering=1) as log:
    while not os.path.exists("/run/leader.stop"):
        try:
            with urllib.request.urlopen("http://127.0.0.1:8500/v1/status/leader", timeout=2) as answer:
                leader = json.load(answer)
        except (OSError, ValueError):
            leader = ""
        print(time.time(), leader or "-", file=log)
        time.sleep(0.2)
"""


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, text=True, capture_output=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def toolkit_before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout of the toolkit as it was just before it secured clusters."""
    try:
        commit = git("rev-parse", "--verify", git("log", "--diff-filter=A", "--format=%H", "--", FIRST_SECURE) + "^")
    except (subprocess.CalledProcessError, FileNotFoundError):
        pytest.skip("the toolkit as it was before is not in this checkout's history (a shallow clone?)")
    tree = tmp_path_factory.mktemp("before") / "toolkit"
    git("worktree", "add", "--detach", str(tree), commit)
    yield tree
    git("worktree", "remove", "--force", str(tree))


@dataclass
class Open:
    """A cluster without any security, with a service on w1."""

    lab: Lab
    pid: str

    def watch(self) -> None:
        for host in ("m1", "w1"):
            self.lab.run(host, "rm -f /run/leader.*; cat >/run/leader.py", stdin=_WATCH)
            words = ["docker", "exec", "--detach", compose.container(host), "python3", "/run/leader.py"]
            subprocess.run(words, check=True)

    def longest_gap(self) -> dict[str, float]:
        """Host -> the longest time in which its agent told no leader; the watching ends."""
        gaps = {}
        for host in ("m1", "w1"):
            self.lab.run(host, "touch /run/leader.stop; sleep 0.3")
            rows = [line.split() for line in self.lab.run(host, "cat /run/leader.log").splitlines()]
            assert len(rows) > 20
            good = [float(at) for at, leader in rows if leader != "-"]
            ends = [float(rows[0][0]), *good, float(rows[-1][0])]
            gaps[host] = max(b - a for a, b in itertools.pairwise(ends))
        return gaps

    def passes_soon(self) -> bool:
        """A server that was cut off in its restart finishes that by itself: asked again for a while."""
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                if self.passing():
                    return True
            except AssertionError:  # m1 does not answer at this moment
                pass
            time.sleep(0.5)
        return False

    def passing(self) -> bool:
        """Observation with the management token once there is one, else without."""
        file = self.lab.state / "secrets.json"
        token = json.loads(file.read_text())["management"] if file.exists() else None
        said = self.lab.run(
            "m1",
            f"umask 077; h=$(mktemp); cat >$h; curl -s -H @$h '{API}/health/service/legacy?passing'; rm $h",
            stdin=f"X-Consul-Token: {token}\n" if token else "",
        )
        return said.startswith("[{")

    def assert_secure(self) -> None:
        """Nobody without a token writes; gossip is encrypted; all are alive, and on the full level."""
        lab = self.lab
        for host in ("m1", "w1"):
            code = lab.run(host, f"curl -s -o /dev/null -w '%{{http_code}}' -X PUT -d x {API}/kv/nexus/primary")
            assert code == "403", host
        until = time.monotonic() + 30  # gossip's questions may be lost: asked again
        while f"[{len(HOSTS)}/{len(HOSTS)}]" not in (keyring := lab.consul("m1", "keyring -list", check=False)):
            assert time.monotonic() < until, keyring
            time.sleep(1)
        assert lab.secrets()["gossip"] in keyring
        lab.eventually("m1", f"test $(consul members | grep -c alive) = {len(HOSTS)}")
        voters = lab.consul("m1", "operator raft list-peers").splitlines()[1:]
        assert sorted(line.split()[0] for line in voters) == sorted(MANAGERS)
        for host in HOSTS:
            assert json.loads(lab.run(host, "cat /etc/nexus/host.json"))["security"] == 3
            assert "198.18.7" in lab.run(host, "nft list table inet nexus")
        assert lab.inv("plan").returncode == 0
        until = time.monotonic() + 30
        while not (status := lab.status())["healthy"] and time.monotonic() < until:
            time.sleep(1)
        assert status["healthy"], status["problems"]


@pytest.fixture
def opened(lab: Lab, toolkit_before: Path) -> Iterator[Open]:
    """The lab's hosts wiped, and deployed by the toolkit of before."""
    wipe(lab)
    shutil.rmtree(lab.state)
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "--search-root", str(toolkit_before), "deploy", "--yes"],
        cwd=toolkit_before, env=lab.env(), text=True, capture_output=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (lab.state / "secrets.json").exists()
    assert "security" not in lab.run("m1", "cat /etc/nexus/host.json")
    lab.run("m1", f"curl -sf -X PUT -d x {API}/kv/open | grep true")
    lab.run("w1", "systemd-run --quiet --unit=legacy python3 -m http.server 8088 --directory /run/lock")
    check = '{"Name": "legacy", "Port": 8088, "Check": {"TCP": "127.0.0.1:8088", "Interval": "1s", "Timeout": "1s"}}'
    lab.run("w1", f"curl -sf -X PUT -d '{check}' {API}/agent/service/register")
    lab.eventually("m1", f"curl -s '{API}/health/service/legacy?passing' | grep -q legacy")
    yield Open(lab, lab.run("w1", "systemctl show --value -p MainPID legacy").strip())
    lab.run("w1",
            f"touch /run/leader.stop; systemctl stop legacy; curl -s -X PUT {API}/agent/service/deregister/legacy",
            check=False)  # fmt: skip
    lab.run("m1", "touch /run/leader.stop")


def test_an_open_cluster_becomes_secure_and_loses_nothing(opened: Open) -> None:
    """One deploy, three passes: a leader all the time but for elections, and the service never stops."""
    lab = opened.lab
    opened.watch()
    began = time.monotonic()
    said = lab.deploy()
    took = time.monotonic() - began
    gaps = opened.longest_gap()
    print(f"secured in {took:.1f} s; longest time without a leader: {gaps}")
    assert "security level 3 of 3" in said
    assert max(gaps.values()) < LONGEST
    assert lab.run("w1", "systemctl show --value -p MainPID legacy").strip() == opened.pid
    assert opened.passes_soon()
    opened.assert_secure()


def test_securing_that_is_killed_half_way_is_finished_by_the_next_deploy(opened: Open) -> None:
    """kill -9 of the operator's process in the second pass: the cluster works on, and a second deploy secures it."""
    lab = opened.lab
    opened.watch()
    running = subprocess.Popen(
        lab.argv("deploy", "--yes"), cwd=ROOT, env=lab.env(), text=True, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert running.stderr
    said: list[str] = []
    for line in running.stderr:
        said.append(line)
        if "security level 2 of 3" in line:
            break
    else:
        raise AssertionError("".join(said)[-3000:])
    time.sleep(3)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    time.sleep(1.5)
    levels = {h: json.loads(lab.run(h, "cat /etc/nexus/host.json"))["security"] for h in HOSTS}
    print(f"killed at {levels}")
    assert min(levels.values()) < 3
    assert opened.passes_soon()
    lab.deploy()
    gaps = opened.longest_gap()
    print(f"longest time without a leader: {gaps}")
    assert max(gaps.values()) < LONGEST
    assert lab.run("w1", "systemctl show --value -p MainPID legacy").strip() == opened.pid
    assert opened.passes_soon()
    opened.assert_secure()
