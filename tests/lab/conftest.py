"""The lab for tests: pytest-docker starts the very Compose file that `inv lab.up` uses, fresh, and removes it.

Tests look at hosts from inside (entrance.py), not through the toolkit, and run the toolkit as a process (warm.py, or with
a Python of its own). NEXUS_LAB_KEEP=1 leaves the lab standing afterwards (and starts from the one that stands).
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

from . import forked_inv as warm
from .namespaces import into

ROOT = Path(__file__).resolve().parents[2]
KEEP = bool(os.environ.get("NEXUS_LAB_KEEP"))
MANAGERS = ("m1", "m2", "m3")
HOSTS = ("m1", "m2", "m3", "w1", "w2", "lb1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that watch a first deploy go first: the hosts are as new, and the others take the lab as it is then."""
    items.sort(key=lambda item: "watched" not in getattr(item, "fixturenames", ()))


def _say(words: str) -> None:
    print(f"lab: {words}", file=sys.stderr, flush=True)


@pytest.fixture(scope="session")
def docker_compose_project_name() -> str:
    return compose.PROJECT


@pytest.fixture(scope="session")
def docker_compose_command() -> str:
    return "docker compose"


@pytest.fixture(scope="session")
def docker_compose_file() -> Iterator[str]:
    """The lab's own file, once there is an engine, a plugin and an image to run it with."""
    nodes.STATE.mkdir(parents=True, exist_ok=True, mode=0o700)
    docker = engine.ensure(nodes.STATE, _say)
    plugin.ensure(docker, nodes.STATE, _say)
    write(compose.compose_file(nodes.STATE), compose.render(image.ensure(docker, nodes.STATE, _say)))
    os.environ.update(engine.environment(nodes.STATE))
    yield str(compose.compose_file(nodes.STATE))
    if not KEEP:
        nodes.down(_say)  # after pytest-docker took the containers down: the engine, where we started it


@pytest.fixture(scope="session")
def docker_setup() -> list[str]:
    return ["up --detach"] if KEEP else ["down --volumes --remove-orphans --timeout 2", "up --detach"]


@pytest.fixture(scope="session")
def docker_cleanup() -> list[str]:
    return [] if KEEP else ["down --volumes --timeout 2"]


@dataclass(frozen=True)
class Lab:
    """The running lab, an inventory of its own (so that no test touches the shipped one) and ways to poke it."""

    inventory: Path

    def inv(
        self, *words: str, timeout: float = 180, env: dict[str, str] | None = None, own: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """The toolkit as a process; output captured. `own`: with a Python, an argv and an environment of its own."""
        argv, environment = self.argv(*words), self.env(env)
        try:
            if own:
                return subprocess.run(
                    argv, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=timeout, check=False
                )
            return warm.run(argv[argv.index("--search-root") :], environment, ROOT, timeout)
        except subprocess.TimeoutExpired as late:
            said = (late.stderr or b"").decode()[-3000:]  # where it stood still
            raise AssertionError(f"inv {' '.join(words)} did not end in {timeout:.0f} s:\n{said}") from late

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """The same, left running in a process group of its own."""
        return subprocess.Popen(
            self.argv(*words), cwd=ROOT, env=self.env(), start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores Ctrl-C
        )  # fmt: skip

    @staticmethod
    def argv(*words: str) -> list[str]:
        return [sys.executable, "-m", "invoke", "--search-root", str(ROOT), *words]

    def env(self, more: dict[str, str] | None = None) -> dict[str, str]:
        return {**os.environ, "NEXUS_HOSTS": str(self.inventory), "COLUMNS": "200", **(more or {})}

    def ok(self, *words: str, **kwargs: Any) -> str:
        """The same, and it must succeed; what it said on both channels."""
        done = self.inv(*words, **kwargs)
        assert done.returncode == 0, f"inv {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def on(self, host: str, command: str, check: bool = True, stdin: str = "") -> str:
        """A shell command on the host: no code of the toolkit is in the way."""
        done = subprocess.run(
            [*into(host), "sh", "-c", command],
            input=stdin, text=True, capture_output=True, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{host}: {command}: {done.stdout}{done.stderr}"
        return done.stdout

    @property
    def state(self) -> Path:
        """The operator's own folder of this cluster."""
        return self.inventory.parent / ".nexus" / "lab"

    @property
    def deployed(self) -> bool:
        """Whether anything was ever deployed there in this run, or stood there before."""
        return KEEP or self.state.exists()

    def secrets(self) -> dict[str, Any]:
        return dict(json.loads((self.state / "secrets.json").read_text()))

    def consul(self, host: str, words: str, check: bool = True) -> str:
        """Consul's own command on the host, with the token that may do everything; it is in nobody's argv."""
        command = (
            "umask 077; t=$(mktemp); cat >$t; CONSUL_HTTP_TOKEN_FILE=$t consul " + words + "; code=$?; rm $t; exit $code"
        )
        return self.on(host, command, check, stdin=self.secrets()["management"])

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.inv("status", "--json").stdout))

    def deploy(self) -> str:
        return self.ok("deploy", "--hosts", "all", "--yes")

    def variant(self, tmp_path: Path, old: str, new: str) -> Lab:
        """Another inventory of the same cluster and state, with a piece of text replaced."""
        text = self.inventory.read_text()
        assert old in text
        other = self.inventory.with_name(f"{tmp_path.name}.yml")
        other.write_text(text.replace(old, new))
        return Lab(other)

    def up(self, host: str, *units: str) -> None:
        """All of them run; `is-active` of several is content with one."""
        self.eventually(host, " && ".join(f"systemctl is-active {unit}" for unit in units))

    def eventually(self, host: str, command: str, seconds: float = 30) -> None:
        """The command succeeds on the host within a generous while."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                self.on(host, command)
                return
            except AssertionError:
                time.sleep(0.1)
        self.on(host, command)


def eventually(what: Callable[[], bool], seconds: float, why: Callable[[], object] = lambda: "") -> float:
    """Seconds until it holds; what raises does not hold yet. `why` is asked when it never does."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        try:
            if what():
                return time.monotonic() - began
        except (AssertionError, ValueError, KeyError, StopIteration, NexusError):
            pass
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s: {why()}")


def consul_pids(lab: Lab) -> dict[str, str]:
    return {h: lab.on(h, "systemctl show -P MainPID consul").strip() for h in HOSTS}


def services(lab: Lab) -> dict[str, dict[str, Any]]:
    return {s["name"]: s for s in json.loads(lab.inv("service.list", "--json").stdout)}


def hosts_of(lab: Lab, name: str) -> list[str]:
    return list(services(lab)[name]["hosts"])


@pytest.fixture(scope="session")
def fresh_lab(docker_services: object, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Seven hosts, up and reachable, and an inventory; nothing deployed."""
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
    if binary := os.environ.get("NEXUS_TEST_CONSUL"):  # a trial against a Consul that the operator names
        with (home / "hosts.yml").open("a") as more:
            more.write(f"\nconsul: {{binary: {binary}}}\n")
    return Lab(home / "hosts.yml")


@pytest.fixture(scope="session")
def lab(fresh_lab: Lab) -> Lab:
    """The lab with the cluster deployed."""
    if KEEP and not fresh_lab.state.exists():
        wipe(fresh_lab)
    before = fresh_lab.deployed
    said = fresh_lab.deploy()
    assert before or "deployed: 6 of 6 hosts changed, verified" in said
    return fresh_lab


@pytest.fixture
def well(lab: Lab) -> Iterator[Lab]:
    """The deployed lab, for tests that disturb it: brought back afterwards to what its inventory says."""
    yield lab
    lab.deploy()


@pytest.fixture(scope="session")
def served(lab: Lab) -> Iterator[Lab]:
    """The lab with the shipped services, all passing, from the first test that asks for them to the end."""
    images.ensure()
    shutil.copy(ROOT / "services.yml", lab.inventory.parent / "services.yml")
    said = lab.deploy()
    assert "as wanted" in said
    yield lab
    if KEEP:
        (lab.inventory.parent / "services.yml").write_text("services: {}\n")
        lab.deploy()


def wipe(lab: Lab) -> None:
    """Takes everything of ours off the nodes, as if they were new; other tables of the firewall stay."""
    with ThreadPoolExecutor(7) as pool:
        list(pool.map(lambda host: lab.on(host, _WIPE, check=False), (*HOSTS, "spare")))


_WIPE = """
exec 2>/dev/null
systemctl stop nexus-firewall-undo.timer
systemctl disable --now nexus-worker nexus-orchestrator nexus-balancer
systemctl stop 'nexus-svc-*'
systemctl disable --now consul caddy nexus-firewall
nft delete table inet nexus
umount /var/lib/nexus
rm -rf /var/lib/nexus /var/lib/consul /var/lib/caddy /var/log/caddy /etc/consul.d /etc/nexus /etc/caddy /usr/local/lib/nexus
rm -f /usr/local/bin/consul /usr/local/bin/caddy
rm -rf /var/lib/nexus-* /run/nexus-* /run/systemd/system/nexus-svc-*
cd /etc/systemd/system && rm -rf consul.service* caddy.service* nexus-*.service
systemctl daemon-reload
systemctl reset-failed
userdel consul
userdel caddy
userdel nexus-orchestrator
"""
