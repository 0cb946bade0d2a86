"""SSH manners on real sshd: who is refused, how it is said, and that the others' results still come."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import Lab

pytestmark = pytest.mark.lab
LIMIT = 15  # seconds, promised for every kind of failure


@pytest.fixture(scope="module")
def silent() -> Iterator[int]:
    """A port that accepts and never speaks."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    kept.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]


@dataclass(frozen=True)
class Told:
    """What detect said when five of six hosts were broken, each in its own way."""

    seconds: float
    code: int
    table: str
    faults: str

    def of(self, host: str) -> str:
        [line] = [line for line in self.faults.splitlines() if line.startswith(f"error: {host}: ")]
        return line


_ASKED = """useradd -m -s /bin/bash asked && cp -r /home/ops/.ssh /home/asked/ && chown -R asked /home/asked/.ssh &&
    echo 'asked ALL=(ALL) ALL' > /etc/sudoers.d/asked"""


@pytest.fixture(scope="module")
def told(lab: Lab, silent: int, tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("broken")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "other")], check=True)
    broken = lab
    for host, old, new in (
        ("m1", "ssh: 127.0.7.1,", f"ssh: 127.0.0.1, port: {silent},"),
        ("m2", "ssh: 127.0.7.2,", "ssh: 127.0.7.2, port: 2,"),
        ("m3", "ssh: 127.0.7.3,", f"ssh: 127.0.7.3, key: {folder}/other,"),
        ("w1", "ssh: 127.0.7.4,", "ssh: 127.0.7.4, user: nobodyhere,"),
        ("lb1", "ssh: 127.0.7.6,", "ssh: 127.0.7.6, user: asked,"),
    ):
        broken = broken.variant(folder / host, old, new)
    lab.run("lb1", _ASKED)
    try:
        began = time.monotonic()
        done = broken.inv("detect")
        return Told(time.monotonic() - began, done.returncode, done.stdout, done.stderr)
    finally:
        lab.run("lb1", "userdel -r asked; rm /etc/sudoers.d/asked", check=False)


def test_broken_hosts_do_not_keep_the_others_from_being_shown(told: Told) -> None:
    """Exit 1 in time, the good host in the table, a line for each broken one, and no traceback."""
    assert told.seconds < LIMIT + 3  # the process itself takes its second
    assert told.code == 1
    assert "w2" in told.table
    assert told.faults.count("error: ") == 5
    assert "hint:" in told.faults
    assert "Traceback" not in told.faults


@pytest.mark.parametrize(("host", "fault"), [
    ("m1", "does not speak SSH"), ("m2", "is closed or cannot be reached"), ("m3", "no key was accepted"),
    ("w1", "refused nobodyhere"), ("lb1", "sudo wants a password")])  # fmt: skip
def test_what_is_wrong_with_a_host_is_named(told: Told, host: str, fault: str) -> None:
    """Accepts TCP and never speaks; a closed port; a key that it does not know; no such user; a sudo that asks."""
    assert fault in told.of(host)


def test_an_unknown_key_is_refused_until_trusted(lab: Lab, tmp_path: Path) -> None:
    """A host whose key nobody pinned is refused with its fingerprint; trust with that fingerprint pins it."""
    other = lab.variant(tmp_path, "known_hosts: known_hosts", f"known_hosts: {tmp_path}/known")
    refused = other.inv("detect", "--hosts", "m2")
    assert refused.returncode == 1
    print_ = lab.run("m2", "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").split()[1]
    assert f"is unknown (ssh-ed25519 {print_})" in refused.stderr
    assert other.inv("trust", "--hosts", "m2", "--yes").returncode == 1
    other.inv_ok("trust", "--hosts", "m2", "--yes", "--fingerprint", print_)
    other.inv_ok("detect", "--hosts", "m2")
    assert "pinned already" in other.inv_ok("trust", "--hosts", "m2", "--yes")


def test_a_changed_key_is_refused_until_replaced(lab: Lab, tmp_path: Path) -> None:
    """A host that offers another key than the pinned one is refused loudly; only trust --replace pins the new one."""
    known = tmp_path / "known"
    lines = (lab.inventory.parent / "known_hosts").read_text().splitlines()
    by_name = {line.split()[0]: line.split(" ", 1)[1] for line in lines}
    known.write_text(f"# mine\n127.0.7.2 {by_name['127.0.7.3']}\n127.0.7.1 {by_name['127.0.7.1']}\n")
    other = lab.variant(tmp_path, "known_hosts: known_hosts", f"known_hosts: {known}")
    refused = other.inv("detect", "--hosts", "m1,m2")
    assert refused.returncode == 1
    assert "has CHANGED" in refused.stderr
    assert "m1" in refused.stdout
    print_ = lab.run("m2", "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").split()[1]
    assert other.inv("trust", "--hosts", "m2", "--yes", "--fingerprint", print_).returncode == 1
    other.inv_ok("trust", "--hosts", "m2", "--yes", "--replace", "--fingerprint", print_)
    other.inv_ok("detect", "--hosts", "m1,m2")
    assert known.read_text().startswith("# mine\n")


def test_a_jump_host_is_used_and_its_key_checked(lab: Lab, tmp_path: Path) -> None:
    """m2 is reached through m1 at its cluster address; with m1's key unknown, the way there is refused."""
    lines = (lab.inventory.parent / "known_hosts").read_text().splitlines()
    by_name = {line.split()[0]: line.split(" ", 1)[1] for line in lines}
    known = tmp_path / "known"
    known.write_text(f"198.18.7.12 {by_name['127.0.7.2']}\n127.0.7.1 {by_name['127.0.7.1']}\n")
    through = lab.variant(
        tmp_path, "m2: {ssh: 127.0.7.2,", f"m2: {{ssh: 198.18.7.12, gateway: root@127.0.7.1, key: {key(lab)},"
    )
    through.inventory.write_text(
        through.inventory.read_text().replace("known_hosts: known_hosts", f"known_hosts: {known}")
    )
    assert "198.18.7.12" in through.inv_ok("detect", "--hosts", "m2")
    known.write_text(f"198.18.7.12 {by_name['127.0.7.2']}\n")
    refused = through.inv("detect", "--hosts", "m2")
    assert refused.returncode == 1
    assert "the SSH key of 127.0.7.1 is unknown" in refused.stderr


def test_proxyjump_of_ssh_config_is_honoured_and_checked(lab: Lab, tmp_path: Path) -> None:
    """An alias of ssh_config with ProxyJump works, and an unknown jump host is refused there, too."""
    lines = (lab.inventory.parent / "known_hosts").read_text().splitlines()
    by_name = {line.split()[0]: line.split(" ", 1)[1] for line in lines}
    known = tmp_path / "known"
    known.write_text(f"198.18.7.12 {by_name['127.0.7.2']}\n127.0.7.1 {by_name['127.0.7.1']}\n")
    (tmp_path / "config").write_text(
        f"Host inner\n  HostName 198.18.7.12\n  ProxyJump root@127.0.7.1\n  User root\n  IdentityFile {key(lab)}\n"
        f"Host 127.0.7.1\n  IdentityFile {key(lab)}\n"
    )
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(
        f"cluster: lab\ndefaults: {{known_hosts: {known}, ssh_config: {tmp_path}/config}}\n"
        "hosts:\n  m2: {ssh: inner, roles: [manager]}\n"
    )
    other = Lab(inventory)
    assert "m2" in other.inv_ok("detect")
    known.write_text(f"198.18.7.12 {by_name['127.0.7.2']}\n")
    refused = other.inv("detect")
    assert refused.returncode == 1
    assert "the SSH key of 127.0.7.1 is unknown" in refused.stderr


def key(lab: Lab) -> str:
    line = next(line for line in lab.inventory.read_text().splitlines() if line.strip().startswith("key:"))
    return line.split()[1]
