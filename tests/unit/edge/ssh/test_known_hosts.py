"""known_hosts, as ssh reads it: who is refused, and that one odd line stops nobody."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from fabfile.core.errors import HostError, HostKeyError
from fabfile.core.model.cluster import SshDefaults
from fabfile.edge.ssh.connection import Remote
from fabfile.edge.ssh.known_hosts_file import KnownHosts
from fabfile.edge.ssh.trust import offered_key, pin_key, pinned_fingerprints
from tests.support.loopback_sshd import Sshd, remote_of, sshd


@pytest.fixture
def server() -> Iterator[Sshd]:
    with sshd() as found:
        yield found


def reach(server: Sshd, folder: Path, known: str, config: str = "") -> str:
    """Connects with these known_hosts; `{}` stands for the server's key. The error, "" for none."""
    made = remote_of(server, folder)
    key = f"{server.host_key.get_name()} {server.host_key.get_base64()}"
    (folder / "known_hosts").write_text(known.replace("{}", key).replace("PORT", str(server.port)))
    ssh = made.cluster.ssh
    if config:
        (folder / "config").write_text(config.replace("FOLDER", str(folder)))
        ssh = SshDefaults(None if "UserKnownHostsFile" in config else ssh.known_hosts, folder / "config")
    remote = Remote(replace(made.cluster, ssh=ssh), made.host)
    try:
        remote.run(["true"])
    except HostKeyError as error:
        return f"{error}\n{error.hint}"
    finally:
        remote.close()
    return ""


OTHER = f"ecdsa-sha2-nistp256 {paramiko.ECDSAKey.generate().get_base64()}"
ODD = "@cert-authority * ssh-ed25519 AAAA\n@revoked x ssh-rsa\n@what is this\nhalf\n\xff\n1 35 123 x\n[127.0.0.1]:PORT a\n"


@pytest.mark.parametrize(
    "known",
    [
        ODD + "[127.0.0.1]:PORT {}\n", "# c\n[127.0.0.*]:PORT {} me\n", "a,[127.0.0.?]:* {}\n", "127.0.0.1 {}\n",
        f"[127.0.0.1]:PORT {OTHER}\n[127.0.0.1]:PORT {{}}\n", f"@revoked * {OTHER}\n[127.0.0.1]:PORT {{}}\n",
        "!other,* {}\n", "[127.0.0.1]:PORT ssh-ed25519 AAAA\n[127.0.0.1]:PORT {}\n",
    ],
)  # fmt: skip
def test_a_pinned_key_is_accepted(server: Sshd, tmp_path: Path, known: str) -> None:
    """By its name, a wildcard, its name without the port, as one of several; whatever else stands in the file."""
    assert reach(server, tmp_path, known) == ""


@pytest.mark.parametrize(
    ("known", "told"),
    [
        (f"[127.0.0.1]:PORT {OTHER}\n", "has CHANGED"), (f"127.0.0.1 {OTHER}\n", "is unknown"), ("", "is unknown"),
        ("!127.0.0.1,![127.0.0.1]:*,* {}\n", "is unknown"), ("other {}\n", "is unknown"),
        ("[127.0.0.1]:PORT {}\n@revoked * {}\n", "is refused: revoked by .*known_hosts:2"),
        (f"@cert-authority * {OTHER}\n", "certificates of hosts .* are not read here"),
        ("[127.0.0.1]:PORT ecdsa-sha2-nistp256 AAAA\n", "known_hosts:1 names it, with a key that cannot be read"),
    ],
)  # fmt: skip
def test_another_key_is_refused(server: Sshd, tmp_path: Path, known: str, told: str) -> None:
    """Changed, unknown, revoked; and where a line that names the host could not help, that is said."""
    assert re.search(told, reach(server, tmp_path, known), re.DOTALL)


@pytest.mark.parametrize("kind", ["text", "krl", "none"])
def test_a_key_of_revokedhostkeys_is_refused(server: Sshd, tmp_path: Path, kind: str) -> None:
    """A list of keys, or a KRL; and where the file is not there, ssh trusts nobody."""
    public = tmp_path / "host.pub"
    public.write_text(f"{server.host_key.get_name()} {server.host_key.get_base64()}\n")
    if kind == "text":
        (tmp_path / "revoked").write_text(public.read_text())
    if kind == "krl":
        subprocess.run(["ssh-keygen", "-q", "-k", "-f", str(tmp_path / "revoked"), str(public)], check=True)
    told = reach(server, tmp_path, "[127.0.0.1]:PORT {}\n", "RevokedHostKeys FOLDER/revoked")
    assert ("cannot be read" if kind == "none" else "revoked by") in told


def test_another_key_than_the_revoked_one_is_accepted(server: Sshd, tmp_path: Path) -> None:
    """The file of revoked keys need not name ours."""
    other = tmp_path / "other.pub"
    other.write_text(OTHER + "\n")
    for make in (["cp", str(other)], ["ssh-keygen", "-q", "-k", "-f"]):
        argv = [*make, str(tmp_path / "revoked"), *([str(other)] if "-k" in make else [])]
        subprocess.run(argv, check=True)
        assert reach(server, tmp_path, "[127.0.0.1]:PORT {}\n", "RevokedHostKeys FOLDER/revoked") == ""


def test_no_known_hosts_file_knows_nobody(server: Sshd, tmp_path: Path) -> None:
    """`UserKnownHostsFile none` names no file called so; and there is none to pin a key in."""
    config = "UserKnownHostsFile none\nGlobalKnownHostsFile none\n"
    assert "is unknown" in reach(server, tmp_path, "[127.0.0.1]:PORT {}\n", config)
    made = remote_of(server, tmp_path)
    cluster = replace(made.cluster, ssh=SshDefaults(None, tmp_path / "config"))
    with pytest.raises(HostError, match="names no known_hosts file"):
        offered_key(cluster, made.host)


def test_a_revoked_key_is_not_offered_for_pinning(server: Sshd, tmp_path: Path) -> None:
    """`trust` says so instead of asking."""
    made = remote_of(server, tmp_path)
    key = f"{server.host_key.get_name()} {server.host_key.get_base64()}"
    (tmp_path / "known_hosts").write_text(f"@revoked * {key}\n")
    with pytest.raises(HostKeyError, match="revoked by"):
        offered_key(made.cluster, made.host)


def test_pinning_keeps_every_other_line(tmp_path: Path) -> None:
    """Byte for byte; replacing drops the host's own lines, not those of a wildcard or with a marker."""
    file, key = tmp_path / "known_hosts", paramiko.ECDSAKey.generate()
    kept = f"# mine\n@revoked * {OTHER}\nwhat\n*.test {OTHER}\nb,c {OTHER}\n".encode() + b"\xff\n"
    file.write_bytes(kept + f"a.test {OTHER}\n".encode())
    pin_key(file, "a.test", key, replace=True)
    assert file.read_bytes() == kept + f"a.test {key.get_name()} {key.get_base64()}\n".encode()
    assert len(pinned_fingerprints(file, "a.test")) == 2


def test_hashed_names_are_found(tmp_path: Path) -> None:
    """As ssh-keygen -H writes them."""
    file = tmp_path / "known_hosts"
    file.write_text(f"[a.test]:22022 {OTHER}\nb {OTHER}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    assert len(pinned_fingerprints(file, "[a.test]:22022")) == 1
    assert pinned_fingerprints(file, "a.test") == []


def test_a_file_of_many_lines_is_read_in_time() -> None:
    """100,000 lines, half of them hashed."""
    line = "|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg="
    text = "".join(f"h{n} {OTHER}\n{line} {OTHER}\n" for n in range(50_000))
    began = time.monotonic()
    assert len(KnownHosts(text).of("h49999")) == 1
    assert time.monotonic() - began < 5
