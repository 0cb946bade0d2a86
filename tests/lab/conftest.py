"""The lab for tests: pytest-docker starts new nodes from the same Compose file as `inv lab.up`, and removes them.

Tests look at hosts from inside (namespaces.py), not through the toolkit. They run the toolkit as a process: a fork
(forked_inv.py) or a new interpreter. NEXUS_LAB_KEEP=1 keeps the lab afterwards, and starts from a running one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fabfile.core.errors import NexusError
from fabfile.lab import compose, engine, nodes
from fabfile.lab import compose_plugin as plugin
from fabfile.lab import node_image as image
from fabfile.lab import service_image as images
from fabfile.lab.keys import key_file, known_hosts_file, write

from . import forked_inv
from .namespaces import exec_argv

ROOT = Path(__file__).resolve().parents[2]
KEEP = bool(os.environ.get("NEXUS_LAB_KEEP"))
MANAGERS = ("m1", "m2", "m3")
HOSTS = ("m1", "m2", "m3", "w1", "w2", "lb1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the first deploy run first, on new hosts. The others use the lab as those tests leave it; those with services
    come last, for others wipe hosts that services would run on."""

    def order(item: pytest.Item) -> tuple[bool, bool]:
        fixtures = getattr(item, "fixturenames", ())
        return "watched" not in fixtures, "services_lab" in fixtures

    items.sort(key=order)


def _say(text: str) -> None:
    print(f"lab: {text}", file=sys.stderr, flush=True)


@pytest.fixture(scope="session")
def docker_compose_project_name() -> str:
    return compose.PROJECT


@pytest.fixture(scope="session")
def docker_compose_command() -> str:
    return "docker compose"


@pytest.fixture(scope="session")
def docker_compose_file() -> Iterator[str]:
    """Writes the lab's Compose file, after making sure of the engine, the Compose plugin and the node image."""
    nodes.STATE.mkdir(parents=True, exist_ok=True, mode=0o700)
    docker = engine.ensure(nodes.STATE, _say)
    plugin.ensure(docker, nodes.STATE, _say)
    write(compose.compose_file(nodes.STATE), compose.render(image.ensure(docker, nodes.STATE, _say)))
    os.environ.update(engine.environment(nodes.STATE))
    yield str(compose.compose_file(nodes.STATE))
    if not KEEP:
        nodes.down(_say)  # pytest-docker has removed the containers; this stops the engine, if we started it


@pytest.fixture(scope="session")
def docker_setup() -> list[str]:
    return ["up --detach"] if KEEP else ["down --volumes --remove-orphans --timeout 2", "up --detach"]


@pytest.fixture(scope="session")
def docker_cleanup() -> list[str]:
    return [] if KEEP else ["down --volumes --timeout 2"]


@dataclass(frozen=True)
class Lab:
    """The running lab with its own inventory: no test touches the shipped one. Runs `inv`, and commands on hosts."""

    inventory: Path

    def inv(
        self, *arguments: str, timeout: float = 180, env: dict[str, str] | None = None, new_interpreter: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Runs `inv` and captures its output. AssertionError: it did not end within `timeout` seconds.

        `new_interpreter`: as a new process, not as a fork, so that /proc shows its own argv and environment.
        """
        argv, environment = self.argv(*arguments), self.env(env)
        try:
            if new_interpreter:
                return subprocess.run(
                    argv, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=timeout, check=False
                )
            return forked_inv.run(argv[argv.index("--search-root") :], environment, ROOT, timeout)
        except subprocess.TimeoutExpired as late:
            last_output = (late.stderr or b"").decode()[-3000:]  # shows where it hung
            message = f"inv {' '.join(arguments)} did not end in {timeout:.0f} s:\n{last_output}"
            raise AssertionError(message) from late

    def start_inv(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts `inv` in its own process group and does not wait for it. Its output is dropped."""
        return subprocess.Popen(
            self.argv(*arguments), cwd=ROOT, env=self.env(), start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores Ctrl-C
        )  # fmt: skip

    @staticmethod
    def argv(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "invoke", "--search-root", str(ROOT), *arguments]

    def env(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        return {**os.environ, "NEXUS_HOSTS": str(self.inventory), "COLUMNS": "200", **(extra or {})}

    def inv_ok(self, *arguments: str, **kwargs: Any) -> str:
        """Runs `inv`, which must succeed. Returns stdout and stderr."""
        done = self.inv(*arguments, **kwargs)
        assert done.returncode == 0, f"inv {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def run(self, host: str, command: str, check: bool = True, stdin: str = "") -> str:
        """stdout of a shell command on the host, run as root without the toolkit. `check`: it must succeed."""
        done = subprocess.run(
            [*exec_argv(host), "sh", "-c", command],
            input=stdin, text=True, capture_output=True, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{host}: {command}: {done.stdout}{done.stderr}"
        return done.stdout

    @property
    def state(self) -> Path:
        """The operator's state folder of this cluster."""
        return self.inventory.parent / ".nexus" / "lab"

    @property
    def deployed(self) -> bool:
        """Whether this test run has deployed anything yet, or started from a kept lab."""
        return KEEP or self.state.exists()

    def secrets(self) -> dict[str, Any]:
        return dict(json.loads((self.state / "secrets.json").read_text()))

    def consul(self, host: str, arguments: str, check: bool = True) -> str:
        """Runs the `consul` command on the host with the management token, which no argv shows."""
        command = (
            "umask 077; t=$(mktemp); cat >$t; "
            f"CONSUL_HTTP_TOKEN_FILE=$t consul {arguments}; code=$?; rm $t; exit $code"
        )
        return self.run(host, command, check, stdin=self.secrets()["management"])

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.inv("status", "--json").stdout))

    def deploy(self) -> str:
        return self.inv_ok("deploy", "--hosts", "all", "--yes")

    def variant(self, tmp_path: Path, old: str, new: str) -> Lab:
        """The same cluster and state with another inventory: `new` replaces the text `old`."""
        text = self.inventory.read_text()
        assert old in text
        other = self.inventory.with_name(f"{tmp_path.name}.yml")
        other.write_text(text.replace(old, new))
        return Lab(other)

    def wait_active(self, host: str, *units: str) -> None:
        """Waits until all units are active. One `is-active` of several units succeeds if any is active."""
        self.eventually(host, " && ".join(f"systemctl is-active {unit}" for unit in units))

    def eventually(self, host: str, command: str, seconds: float = 30) -> None:
        """Waits until the command succeeds on the host. AssertionError: not within this many seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                self.run(host, command)
                return
            except AssertionError:
                time.sleep(0.1)
        self.run(host, command)


def eventually(condition: Callable[[], bool], seconds: float, describe: Callable[[], object] = lambda: "") -> float:
    """Waits until the condition holds; returns how many seconds it took. A condition that raises does not hold yet.

    AssertionError: it did not hold in time; `describe` adds to the message.
    """
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        try:
            if condition():
                return time.monotonic() - began
        except (AssertionError, ValueError, KeyError, StopIteration, NexusError):
            pass
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s: {describe()}")


def consul_pids(lab: Lab) -> dict[str, str]:
    return {h: lab.run(h, "systemctl show -P MainPID consul").strip() for h in HOSTS}


def services(lab: Lab) -> dict[str, dict[str, Any]]:
    return {s["name"]: s for s in json.loads(lab.inv("service.list", "--json").stdout)}


def hosts_of(lab: Lab, name: str) -> list[str]:
    return list(services(lab)[name]["hosts"])


@pytest.fixture(scope="session")
def fresh_lab(docker_services: object, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Seven hosts that run and answer by SSH, and an inventory. Nothing is deployed."""
    assert docker_services
    nodes.up(_say)
    home = tmp_path_factory.mktemp("inventory")
    shutil.copy(known_hosts_file(nodes.STATE), home / "known_hosts")
    shipped = (ROOT / "hosts.yml").read_text()
    (home / "hosts.yml").write_text(
        shipped.replace(".nexus/lab-nodes/id_ed25519", str(key_file(nodes.STATE))).replace(
            ".nexus/lab-nodes/known_hosts", "known_hosts"
        )
    )
    if binary := os.environ.get("NEXUS_TEST_CONSUL"):  # tests run against the Consul binary that this variable names
        with (home / "hosts.yml").open("a") as more:
            more.write(f"\nconsul: {{binary: {binary}}}\n")
    return Lab(home / "hosts.yml")


@pytest.fixture(scope="session")
def lab(fresh_lab: Lab) -> Lab:
    """The lab with the deployed cluster, without services."""
    if KEEP and not fresh_lab.state.exists():
        wipe(fresh_lab)
    before = fresh_lab.deployed
    output = fresh_lab.deploy()
    assert before or "deployed: 6 of 6 hosts changed, verified" in output
    return fresh_lab


@pytest.fixture
def restored_lab(lab: Lab) -> Iterator[Lab]:
    """The deployed lab, for tests that change it: a deploy restores it afterwards."""
    yield lab
    lab.deploy()


@pytest.fixture(scope="session")
def services_lab(lab: Lab) -> Iterator[Lab]:
    """The lab with the shipped services, all passing. They run from the first test that needs them to the end."""
    images.ensure()
    shutil.copy(ROOT / "services.yml", lab.inventory.parent / "services.yml")
    output = lab.deploy()
    assert "as wanted" in output
    yield lab
    if KEEP:
        (lab.inventory.parent / "services.yml").write_text("services: {}\n")
        lab.deploy()


def wipe(lab: Lab) -> None:
    """Removes all that we deploy from the nodes, the spare too. Other tables of the firewall stay."""
    with ThreadPoolExecutor(7) as pool:
        list(pool.map(lambda host: lab.run(host, _WIPE, check=False), (*HOSTS, "spare")))


_WIPE = """
exec 2>/dev/null
systemctl stop nexus-firewall-undo.timer
systemctl disable --now nexus-worker nexus-orchestrator nexus-balancer
systemctl stop 'nexus-svc-*' 'nexus-pull-*'
systemctl disable --now consul caddy nexus-firewall
nft delete table inet nexus
umount /var/lib/nexus
rm -rf /var/lib/nexus /var/lib/consul /var/lib/caddy /var/log/caddy /etc/consul.d /etc/nexus /etc/caddy /usr/local/lib/nexus
rm -f /usr/local/bin/consul /usr/local/bin/caddy
rm -rf /var/lib/nexus-* /run/nexus-* /run/systemd/system/nexus-svc-* /run/systemd/system/nexus-pull-*
cd /etc/systemd/system && rm -rf consul.service* caddy.service* nexus-*.service nftables.service.d
systemctl daemon-reload
systemctl reset-failed
userdel consul
userdel caddy
userdel nexus-orchestrator
"""
