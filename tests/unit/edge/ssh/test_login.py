"""Which keys are offered, in which order; and the true error where that are too many, or none fits."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from fabfile.core.errors import HostError
from fabfile.core.model.cluster import SshDefaults
from fabfile.edge.ssh.connection import Remote
from tests.support.loopback_sshd import Sshd, remote_of, sshd


@pytest.fixture
def server() -> Iterator[Sshd]:
    with sshd() as found:
        yield found


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An ssh-agent of our own, with seven keys: a0 to a6. HOME has no keys."""
    sock = tmp_path / "agent.sock"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(sock)], stdout=subprocess.DEVNULL)
    while not sock.exists():
        pass
    monkeypatch.setenv("SSH_AUTH_SOCK", str(sock))
    monkeypatch.setenv("HOME", str(tmp_path))
    for n in range(7):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / f"a{n}")], check=True)
        subprocess.run(["ssh-add", "-q", str(tmp_path / f"a{n}")], check=True)
    yield sock
    process.terminate()
    process.wait()


def key(folder: Path, name: str) -> paramiko.PKey:
    return paramiko.PKey.from_path(str(folder / name))


def offered(server: Sshd, folder: Path) -> list[str]:
    """By name: a0 and so on."""
    names = {key(folder, f.stem).get_base64(): f.stem for f in folder.glob("*.pub")}
    return [names.get(base64, "?") for base64 in server.offered]


def remote(server: Sshd, folder: Path, config: str = "", key: str = "") -> Remote:
    """The host without `key:` unless given, with this ssh_config for it."""
    made = remote_of(server, folder)
    (folder / "config").write_text(config)
    ssh = SshDefaults(made.cluster.ssh.known_hosts, folder / "config")
    return Remote(replace(made.cluster, ssh=ssh), replace(made.host, key=folder / key if key else None))


def test_a_server_that_ends_the_login_had_too_many(server: Sshd, tmp_path: Path, agent: Path) -> None:
    """Seven in the agent, the right one last: sshd hangs up after six, and that is said."""
    assert agent
    server.accepted = [key(tmp_path, "a6")]
    with pytest.raises(HostError, match=r"ended the login of root after 6 keys: too many keys were offered") as told:
        remote(server, tmp_path).run(["true"])
    assert told.value.hint.startswith("name one with `key:` of hosts.m1")


@pytest.mark.parametrize(
    ("config", "named"), [("", "a6"), ("IdentityFile {}/a6", ""), ("IdentityFile {}/a6.pub\nIdentitiesOnly yes", "")]
)
def test_a_named_key_is_offered_first(server: Sshd, tmp_path: Path, agent: Path, config: str, named: str) -> None:
    """Named in hosts.yml or in ssh_config; the agent has its private part, too."""
    assert agent
    server.accepted = [key(tmp_path, "a6")]
    if config.endswith("yes"):
        (tmp_path / "a6").rename(tmp_path / "kept")
    assert remote(server, tmp_path, config.format(tmp_path), named).run(["true"]).code == 0
    assert len(server.offered) == 1


def test_only_named_keys_are_offered_where_that_is_wanted(server: Sshd, tmp_path: Path, agent: Path) -> None:
    """IdentitiesOnly; without it the agent's others follow."""
    assert agent
    server.accepted, named = [], f"IdentityFile {tmp_path}/a3\nIdentityFile {tmp_path}/none\n"
    with pytest.raises(HostError, match="no key was accepted"):
        remote(server, tmp_path, named + "IdentitiesOnly yes").run(["true"])
    assert offered(server, tmp_path) == ["a3"]
    server.offered.clear()
    with pytest.raises(HostError, match="too many"):
        remote(server, tmp_path, named).run(["true"])
    assert offered(server, tmp_path) == ["a3", "a0", "a1", "a2", "a4", "a5"]


def test_another_agent_is_asked(server: Sshd, tmp_path: Path, agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """IdentityAgent; and none at all."""
    monkeypatch.delenv("SSH_AUTH_SOCK")
    assert remote(server, tmp_path, f"IdentityAgent {agent}").run(["true"]).code == 0
    monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
    with pytest.raises(HostError, match="there was no key to offer"):
        remote(server, tmp_path, "IdentityAgent none").run(["true"])


def test_a_key_with_a_passphrase_is_told(server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do about it."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "shut"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(file)], check=True)
    with pytest.raises(HostError, match="there was no key to offer") as told:
        remote(server, tmp_path, f"IdentityFile {file}").run(["true"])
    assert f"{file} has a passphrase: ssh-add {file}" in told.value.hint


def test_a_key_of_hosts_yml_that_is_not_there_is_named(server: Sshd, tmp_path: Path) -> None:
    """It is not skipped as one of ssh_config is."""
    with pytest.raises(HostError, match="none: no such key file"):
        remote(server, tmp_path, "", "none").run(["true"])


def test_the_usual_files_are_tried_last(server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is named."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    os.mkdir(tmp_path / ".ssh")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / ".ssh/id_ed25519")], check=True)
    assert remote(server, tmp_path).run(["true"]).code == 0
