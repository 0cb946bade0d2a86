"""The operator's ssh_config and known_hosts: what is broken in one is a line that names the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from fabfile.core.errors import HostError, InputError
from fabfile.core.model.cluster import Cluster, Host, SshDefaults
from fabfile.edge.ssh.config_files import host_keys, ssh_config
from fabfile.edge.ssh.connect import hops, new_connection
from fabfile.edge.ssh.trust import pinned_fingerprints

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIJ+tVBQ4pbYIPfBAvXGFZ2GZp4UfZ4Kf2M5V2YV7K5xk"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'Host "x', ':2: cannot be read: "Host \\"x"'), (b"Match foo", ':2: cannot be read: "Match foo"'),
        (b"rubbish", ":2: cannot be read: rubbish"), (b"Host \xff", ":2: is not UTF-8 text"),
    ],
)  # fmt: skip
def test_a_broken_line_of_ssh_config_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    """By file and line, whatever the parser stumbled over, and before any host is asked."""
    file = tmp_path / "config"
    file.write_bytes(b"Host a\n" + line + b"\nHost b\n")
    with pytest.raises(InputError) as refused:
        ssh_config(SshDefaults(config=file))
    assert refused.value.faults == (f"{file}{message}",)
    assert "defaults.ssh_config" in refused.value.hint


def test_the_users_own_ssh_config_is_named_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where hosts.yml names none, ssh's usual files are read."""
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host a\n\nProxyJump\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"/\.ssh/config:3: cannot be read: ProxyJump"):
        ssh_config(SshDefaults())


def test_what_no_ssh_config_explains_is_not_blamed_on_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fabric reads files of its own, too; what is broken there is no line of ssh_config."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("fabric.Config", lambda: int("a broken ~/.fabric.yaml"))
    with pytest.raises(InputError, match=r"of SSH or Fabric cannot be read: .*fabric\.yaml"):
        ssh_config(SshDefaults())


def test_an_absent_ssh_config_is_named(tmp_path: Path) -> None:
    """A file that hosts.yml names must be there."""
    with pytest.raises(InputError, match="none: is not there"):
        ssh_config(SshDefaults(config=tmp_path / "none"))


@pytest.mark.parametrize("setting", ["Port abc", "ProxyJump a:b"])
def test_a_value_that_is_none_is_told_of_its_host(tmp_path: Path, setting: str) -> None:
    """What ssh_config says of one host is that host's fault, and the others go on."""
    file = tmp_path / "config"
    file.write_text(f"Host far\n  {setting}\n")
    cluster = Cluster("c", (), tmp_path / "hosts.yml", tmp_path, "c", ssh=SshDefaults(config=file))
    with pytest.raises(HostError, match="m1: what ssh_config says of far cannot be used: "):
        new_connection(cluster, Host("m1", "far", ("manager",)))
    new_connection(cluster, Host("m2", "near", ("manager",)))


@pytest.mark.parametrize(
    ("jump", "way"),
    [
        ("a,b", ["far", "b", "a"]), ("u@a:1, b ,c", ["far", "c", "b", "a"]), ("a", ["far", "a"]), ("none", ["far"]),
        ("a,far", ["far"]),
    ],
)  # fmt: skip
def test_jump_hosts_are_visited_in_the_order_of_ssh(tmp_path: Path, jump: str, way: list[str]) -> None:
    """From the host back: the last that is written is next to it, and `none` is no host."""
    file = tmp_path / "config"
    file.write_text(f"Host far\n  ProxyJump {jump}\n")
    cluster = Cluster("c", (), tmp_path / "hosts.yml", tmp_path, "c", ssh=SshDefaults(config=file))
    assert [hop.host for hop in hops(new_connection(cluster, Host("m1", "far", ("manager",))))] == way


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"b ssh-rsa AAA", ':3: cannot be read: "b ssh-rsa AAA"'), (b"\xff", ":3: is not UTF-8 text"),
    ],
)  # fmt: skip
def test_a_broken_line_of_known_hosts_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    """The error names file and line, also when a key is to be pinned into the file."""
    file = tmp_path / "known_hosts"
    file.write_bytes(b"# mine\n" + f"a ssh-ed25519 {KEY}\n".encode() + line + b"\n")
    for read in (host_keys, lambda file: pinned_fingerprints(file, "a")):
        with pytest.raises(InputError) as refused:
            read(file)
        assert refused.value.faults == (f"{file}{message}",)


def test_lines_that_ssh_skips_are_skipped(tmp_path: Path) -> None:
    """Markers and half lines have never stood in the way."""
    file = tmp_path / "known_hosts"
    file.write_text(f"@revoked x\nb ssh-rsa\n\na ssh-ed25519 {KEY}\n")
    assert len(pinned_fingerprints(file, "a")) == 1
    assert pinned_fingerprints(tmp_path / "none", "a") == []
