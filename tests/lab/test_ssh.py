"""SSH manners on real sshd: who is refused, how it is said, and that the others' results still come."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Lab

pytestmark = pytest.mark.lab
LIMIT = 15  # seconds, promised for every kind of failure


@pytest.fixture
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


def failing(lab: Lab, folder: Path, host: str) -> str:
    """detect with one broken host among the others: exit 1, in time, the others shown; what was said of the host."""
    broken = lab.variant(folder, "  lb1: {ssh: 127.0.7.6, roles: [loadbalancer]}", f"  lb1: {host}")
    began = time.monotonic()
    done = broken.inv("detect")
    assert time.monotonic() - began < LIMIT + 3  # the process itself takes its second
    assert done.returncode == 1
    assert all(name in done.stdout for name in ("m1", "m2", "m3", "w1", "w2"))
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_silent_host_is_named(lab: Lab, tmp_path: Path, silent: int) -> None:
    """A host that accepts TCP but never speaks is an error within 15 seconds."""
    said = failing(lab, tmp_path, f"{{ssh: 127.0.0.1, port: {silent}, roles: [loadbalancer]}}")
    assert "lb1: 127.0.0.1" in said
    assert "does not speak SSH" in said


def test_a_closed_port_is_named(lab: Lab, tmp_path: Path) -> None:
    """A closed port is an error with the next step."""
    assert "is closed or cannot be reached" in failing(
        lab, tmp_path, "{ssh: 127.0.7.6, port: 2, roles: [loadbalancer]}"
    )


def test_a_wrong_user_is_named(lab: Lab, tmp_path: Path) -> None:
    """A user that does not exist there is refused by name."""
    said = failing(lab, tmp_path, "{ssh: 127.0.7.6, roles: [loadbalancer], user: nobodyhere}")
    assert "refused nobodyhere" in said


def test_a_refused_key_is_named(lab: Lab, tmp_path: Path) -> None:
    """A key that the host does not know is refused, with the way out."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    said = failing(lab, tmp_path, f"{{ssh: 127.0.7.6, roles: [loadbalancer], key: {tmp_path}/other}}")
    assert "no key was accepted" in said
    assert "hint:" in said


def test_a_sudo_that_asks_is_named(lab: Lab, tmp_path: Path) -> None:
    """A user whose sudo wants a password is an error that says so."""
    lab.on("lb1", "useradd -m -s /bin/bash asked && cp -r /home/ops/.ssh /home/asked/ && chown -R asked /home/asked/.ssh "
                  "&& echo 'asked ALL=(ALL) ALL' > /etc/sudoers.d/asked")  # fmt: skip
    try:
        said = failing(lab, tmp_path, "{ssh: 127.0.7.6, roles: [loadbalancer], user: asked}")
    finally:
        lab.on("lb1", "userdel -r asked; rm /etc/sudoers.d/asked", check=False)
    assert "sudo wants a password" in said


def test_an_unknown_key_is_refused_until_trusted(lab: Lab, tmp_path: Path) -> None:
    """A host whose key nobody pinned is refused with its fingerprint; trust with that fingerprint pins it."""
    other = lab.variant(tmp_path, "known_hosts: known_hosts", f"known_hosts: {tmp_path}/known")
    refused = other.inv("detect", "--hosts", "m2")
    assert refused.returncode == 1
    print_ = lab.on("m2", "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").split()[1]
    assert f"is unknown (ssh-ed25519 {print_})" in refused.stderr
    assert other.inv("trust", "--hosts", "m2", "--yes").returncode == 1
    other.ok("trust", "--hosts", "m2", "--yes", "--fingerprint", print_)
    other.ok("detect", "--hosts", "m2")
    assert "pinned already" in other.ok("trust", "--hosts", "m2", "--yes")


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
    print_ = lab.on("m2", "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").split()[1]
    assert other.inv("trust", "--hosts", "m2", "--yes", "--fingerprint", print_).returncode == 1
    other.ok("trust", "--hosts", "m2", "--yes", "--replace", "--fingerprint", print_)
    other.ok("detect", "--hosts", "m1,m2")
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
    assert "198.18.7.12" in through.ok("detect", "--hosts", "m2")
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
    assert "m2" in other.ok("detect")
    known.write_text(f"198.18.7.12 {by_name['127.0.7.2']}\n")
    refused = other.inv("detect")
    assert refused.returncode == 1
    assert "the SSH key of 127.0.7.1 is unknown" in refused.stderr


def key(lab: Lab) -> str:
    line = next(line for line in lab.inventory.read_text().splitlines() if line.strip().startswith("key:"))
    return line.split()[1]
