"""How hosts are reached by real sshd: many keys in the agent, no forwarding, connections that break, ssh's own files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fabfile.core.model.cluster import Cluster
from fabfile.edge.disk.inventory import load
from fabfile.edge.ssh.fleet import Fleet

from .conftest import MANAGERS, Lab, eventually

pytestmark = pytest.mark.lab
_NO_FORWARDING = "/etc/ssh/sshd_config.d/10-nexus-test.conf"


def key(lab: Lab) -> str:
    line = next(line for line in lab.inventory.read_text().splitlines() if line.strip().startswith("key:"))
    return line.split()[1]


def _cluster(lab: Lab) -> Cluster:
    return load(str(lab.inventory), {}, lab.inventory.parent)[0]


@pytest.fixture
def seven_keys(lab: Lab, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of an agent with six strange keys and, last, the lab's."""
    sock = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(sock)], stdout=subprocess.DEVNULL) as agent:
        eventually(sock.exists, 10)
        env = {"SSH_AUTH_SOCK": str(sock)}
        for n in range(6):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / f"k{n}")], check=True)
        for file in (*(str(tmp_path / f"k{n}") for n in range(6)), key(lab)):
            subprocess.run(["ssh-add", "-q", file], env={**os.environ, **env}, check=True)
        yield env
        agent.terminate()


def _inventory(lab: Lab, folder: Path, config: str) -> Lab:
    """m1 as `box` of this ssh_config, without `key:`."""
    (folder / "config").write_text(config)
    (folder / "hosts.yml").write_text(
        f"cluster: lab\ndefaults: {{known_hosts: {lab.inventory.parent}/known_hosts, ssh_config: {folder}/config}}\n"
        "hosts:\n  m1: {ssh: box, roles: [manager]}\n"
    )
    return Lab(folder / "hosts.yml")


def test_too_many_keys_are_told_and_a_named_one_helps(lab: Lab, tmp_path: Path, seven_keys: dict[str, str]) -> None:
    """sshd hangs up after six; with IdentityFile in an included file, the right one goes first."""
    box = "Host box\n  HostName 127.0.7.1\n  User root # mine\n"
    refused = _inventory(lab, tmp_path, box).inv("detect", env=seven_keys)
    assert refused.returncode == 1
    assert "after 6 keys: too many keys were offered" in refused.stderr
    (tmp_path / "more").write_text(f"{box}  IdentityFile {key(lab)}\n  IdentitiesOnly yes\n")
    assert "m1" in _inventory(lab, tmp_path, f"Include {tmp_path}/mor*\n").inv_ok("detect", env=seven_keys)


def test_consul_is_reached_without_forwarding(lab: Lab) -> None:
    """With `AllowTcpForwarding no` on all managers, status and verify say the same as ever; `ui` says what it lacks."""
    lab.deploy()  # whatever ran before
    reload = "kill -HUP $(cat /run/sshd.pid 2>/dev/null || systemctl show -P MainPID ssh)"
    try:
        for host in MANAGERS:
            lab.run(host, f"echo AllowTcpForwarding no >{_NO_FORWARDING}; systemctl reload ssh || {reload}")
        verified = lab.inv("verify").stdout  # as a whole it also judges logs, which others may have filled
        assert "PASS  the API answers on every manager: m1, m2, m3" in verified
        assert "PASS  a test service is registered, seen passing, and removed" in verified
        assert lab.inv("status").returncode == 0
        refused = lab.inv("ui", "--port", "18555", timeout=30)
        assert refused.returncode == 1
        assert "forbids TCP forwarding" in refused.stderr
        assert "AllowTcpForwarding yes" in refused.stderr
    finally:
        for host in MANAGERS:
            lab.run(host, f"rm -f {_NO_FORWARDING}; systemctl reload ssh || {reload}")


def test_a_revoked_host_key_is_refused(lab: Lab, tmp_path: Path) -> None:
    """By a line of known_hosts; a line of a certificate authority stops nobody."""
    known = tmp_path / "known"
    lines = (lab.inventory.parent / "known_hosts").read_text()
    [m2] = [line.split(" ", 1)[1] for line in lines.splitlines() if line.startswith("127.0.7.2 ")]
    known.write_text(f"@cert-authority *.test {m2}\n{lines}@revoked * {m2}\n")
    other = lab.variant(tmp_path, "known_hosts: known_hosts", f"known_hosts: {known}")
    refused = other.inv("detect", "--hosts", "m1,m2")
    assert refused.returncode == 1
    assert "m1" in refused.stdout
    assert f"the SSH key of 127.0.7.2 is refused: revoked by {known}" in refused.stderr


@pytest.mark.long
def test_many_commands_at_once_keep_the_connection(lab: Lab) -> None:
    """Under load, sshd never ends a connection over a message that came too late."""
    cluster = _cluster(lab)
    with Fleet(cluster, [cluster.host("m1")]) as fleet:
        remote = fleet["m1"]
        first = remote.connection
        with ThreadPoolExecutor(6) as pool:
            codes = set(pool.map(lambda _: remote.run(["true"], [b"x" * 100_000]).code, range(3000)))
        assert codes == {0}
        assert remote.connection is first


def test_a_broken_connection_is_opened_anew(lab: Lab) -> None:
    """The sshd of the session is killed; the next command over the same Remote is served, and a read is repeated."""
    cluster = _cluster(lab)
    with Fleet(cluster, [cluster.host("w1")]) as fleet:
        remote = fleet["w1"]
        kill = "kill $PPID; sleep 5"  # the shell's parent is the connection's sshd
        lost = remote.run(["sh", "-c", kill])
        assert lost.lost
        assert remote.run(["echo", "again"]).out == b"again\n"
        once = f"test -e /run/nexus-test-once && exec echo twice; : >/run/nexus-test-once; {kill}"
        try:
            assert remote.run(["sh", "-c", once], repeat=True).out == b"twice\n"
        finally:
            lab.run("w1", "rm -f /run/nexus-test-once")
