"""The operator's ssh_config, as ssh itself reads it; what is broken in it is a line that names the place."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fabfile.core.errors import HostError, InputError
from fabfile.core.model.cluster import Cluster, Host, SshDefaults
from fabfile.edge.ssh import openssh
from fabfile.edge.ssh.connect import fabric_config, hops, new_connection
from fabfile.edge.ssh.openssh import NotSaid, matters, settings_of


def of(folder: Path, text: str, name: str = "box", user: str | None = None, port: int | None = None):  # type: ignore[no-untyped-def]
    file = folder / "config"
    file.write_text(text)
    return settings_of(SshDefaults(config=file), name, user, port)


def cluster_of(folder: Path, text: str) -> Cluster:
    (folder / "config").write_text(text)
    return Cluster("c", (), folder / "hosts.yml", folder, "c", ssh=SshDefaults(config=folder / "config"))


def test_included_files_are_read(tmp_path: Path) -> None:
    """With all that stands in them."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more/a").write_text("Host box\n  HostName 127.0.7.1\n  User ann # mine\n  Port 2200\n")
    found = of(tmp_path, f"Include {tmp_path}/more/*\n")
    assert (found.hostname, found.user, found.port) == ("127.0.7.1", "ann", 2200)


def test_what_hosts_yml_says_goes_first(tmp_path: Path) -> None:
    """User and port, also for `Match user` and tokens."""
    text = "Match user root\n  IdentityFile /keys/%r-%p\nHost box\n  User ann\n  Port 2200\n"
    found = of(tmp_path, text, user="root", port=23)
    assert (found.user, found.port, found.keys) == ("root", 23, (Path("/keys/root-23"),))


def test_tokens_and_variables_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the names of keys; ssh prints them as they were written."""
    monkeypatch.setenv("KEYS", "/mine")
    monkeypatch.setenv("HOME", "/home/ann")
    text = "Host box\n  HostName 192.0.2.1\n  IdentityFile ${KEYS}/%n-%h\n  IdentityFile %d/k\n  IdentityFile ~/100%%\n"
    assert of(tmp_path, text).keys == (Path("/mine/box-192.0.2.1"), Path("/home/ann/k"), Path("/home/ann/100%"))


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("IdentitiesOnly yes", "only_keys", True), ("IdentityAgent none", "agent", ""),
        ("IdentityAgent /a.sock", "agent", "/a.sock"), ("ConnectTimeout 3", "connect_timeout", 3),
        ("UserKnownHostsFile none\nGlobalKnownHostsFile none", "known_hosts", ()),
        ("RevokedHostKeys /r", "revoked", Path("/r")), ("HostKeyAlias x", "alias", "x"), ("ProxyJump none", "jumps", ()),
        ("ProxyCommand nc %h %p", "proxy_command", "nc box 22"), ("Compression yes\nPort 23", "keys", ()),
    ],
)  # fmt: skip
def test_a_keyword_is_honoured(tmp_path: Path, text: str, field: str, value: object) -> None:
    """Each that changes how a host is reached."""
    assert getattr(of(tmp_path, text), field) == value


def test_no_process_is_started_where_no_file_says_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for `ssh_config: none`, nor for a file like Debian's own."""
    monkeypatch.setenv("PATH", "")
    assert settings_of(SshDefaults(use_config=False), "box", "ann", 23).hostname == "box"
    assert of(tmp_path, "# Debian's\nHost *\n  SendEnv LANG LC_*\n  HashKnownHosts yes\nInclude /none/*.conf\n").port == 22
    (tmp_path / "more").write_text("Port 23\n")
    for told in ("Port 23", "Match all", f"Include {tmp_path}/more", 'Host "a'):
        (tmp_path / "config").write_text(told)
        assert matters(tmp_path / "config")


def test_an_operator_without_ssh_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file says something that only ssh can read."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match=r"config: only ssh itself .* there is no `ssh`") as told:
        of(tmp_path, "Port 23\n")
    assert "install" in told.value.hint


def test_a_match_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it started, in time; the error names it."""
    monkeypatch.setattr(openssh, "TIME_LIMIT", 0.5)
    began = time.monotonic()
    with pytest.raises(NotSaid, match="did not end within") as told:
        of(tmp_path, 'Match exec "sleep 60; true"\n  Port 23\n')
    assert time.monotonic() - began < 5
    assert "Match exec" in told.value.hint


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'Host "x', ":2: invalid quotes"), (b"Match foo", ":2: Bad Match condition"), (b"rubbish x", ":2: Bad config"),
        (b"Port abc", ":2: Bad port 'abc'"), (b"ProxyJump a:b", ':2: Invalid ProxyJump "a:b"'),
    ],
)  # fmt: skip
def test_a_broken_line_of_ssh_config_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    """By file and line, in ssh's own words, and before any host is asked."""
    file = tmp_path / "config"
    file.write_bytes(b"Host a\n" + line + b"\nHost b\n")
    with pytest.raises(InputError) as refused:
        settings_of(SshDefaults(config=file), "other", None, None)
    assert refused.value.faults[0].startswith(f"{file}{message}")
    assert "defaults.ssh_config" in refused.value.hint


def test_the_users_own_ssh_config_is_named_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where hosts.yml names none, ssh's usual file is read, in the home that $HOME names."""
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host a\n\nProxyJump\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"/\.ssh/config:3: no argument"):
        settings_of(SshDefaults(), "a", None, None)


def test_what_no_ssh_config_explains_is_not_blamed_on_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fabric reads files of its own, too; what is broken there is no line of ssh_config."""
    monkeypatch.setattr("fabric.Config", lambda **_: int("a broken ~/.fabric.yaml"))
    fabric_config.cache_clear()
    with pytest.raises(InputError, match=r"of Fabric cannot be read: .*fabric\.yaml"):
        fabric_config()


def test_an_absent_ssh_config_is_named(tmp_path: Path) -> None:
    """A file that hosts.yml names must be there."""
    with pytest.raises(InputError, match="none: is not there"):
        settings_of(SshDefaults(config=tmp_path / "none"), "a", None, None)


def test_a_circle_of_jump_hosts_is_told_of_its_host(tmp_path: Path) -> None:
    """What ssh_config says of one host is that host's fault, and the others go on."""
    cluster = cluster_of(tmp_path, "Host far\n  ProxyJump a\nHost a\n  ProxyJump b\nHost b\n  ProxyJump a\n")
    with pytest.raises(HostError, match=r"m1: ProxyJump of .* leads in a circle"):
        new_connection(cluster, Host("m1", "far", ("manager",)))
    new_connection(cluster, Host("m2", "near", ("manager",)))


@pytest.mark.parametrize(
    ("jump", "way"),
    [
        ("a,b", ["far", "b", "a"]), ("u@a:1,b,c", ["far", "c", "b", "a"]), ("a", ["far", "a"]), ("none", ["far"]),
        ("a,far", ["far"]), ("ssh://u@a:2", ["far", "a"]), ("[fd00::1]:2", ["far", "fd00::1"]),
    ],
)  # fmt: skip
def test_jump_hosts_are_visited_in_the_order_of_ssh(tmp_path: Path, jump: str, way: list[str]) -> None:
    """From the host back: the last that is written is next to it, and `none` is no host."""
    cluster = cluster_of(tmp_path, f"Host far\n  ProxyJump {jump}\n")
    assert [hop.host for hop in hops(new_connection(cluster, Host("m1", "far", ("manager",))))] == way


def test_a_jump_host_for_all_is_not_its_own(tmp_path: Path) -> None:
    """`Host *` with ProxyJump, in ssh's own manner."""
    cluster = cluster_of(tmp_path, "Host *\n  ProxyJump a\n")
    way = hops(new_connection(cluster, Host("m1", "far", ("manager",))))
    assert [hop.host for hop in way] == ["far", "a"]
