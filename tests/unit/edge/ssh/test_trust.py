"""Pinning a key: what is written into a known_hosts file, and into which."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from paramiko import ECDSAKey, HostKeys

from fabfile.core.errors import HostError, InputError
from fabfile.core.model.cluster import Cluster, Host, SshDefaults
from fabfile.edge.ssh.trust import offered_key, pin_key

OLD, NEW = ECDSAKey.generate(bits=256), ECDSAKey.generate(bits=256)
OLD_KEY, NEW_KEY = (f"{key.get_name()} {key.get_base64()}" for key in (OLD, NEW))


def after(file: Path, text: str, name: str = "web", replace: bool = True) -> str:
    """The text of the file once the new key is pinned, without the line that was added for it."""
    file.write_bytes(text.encode("latin-1"))
    pin_key(file, name, NEW, replace)
    new = file.read_bytes().decode("latin-1")
    assert new.endswith(f"{name} {NEW_KEY}\n")
    return new.removesuffix(f"{name} {NEW_KEY}\n")


def test_other_names_of_a_line_keep_their_key(tmp_path: Path) -> None:
    """Of `web,10.0.0.5,db` one name is taken off; the key stays for the others, and so does the comment behind it."""
    file = tmp_path / "known_hosts"
    assert after(file, f"web,10.0.0.5,db {OLD_KEY} a b\n") == f"10.0.0.5,db {OLD_KEY} a b\n"
    assert after(file, f"10.0.0.5,WEB {OLD_KEY}\n") == f"10.0.0.5 {OLD_KEY}\n"
    assert after(file, f"[web]:2222,web {OLD_KEY}\nweb {OLD_KEY}\n") == f"[web]:2222 {OLD_KEY}\n"
    assert after(file, f"[web]:2222,web {OLD_KEY}\n", "[web]:2222") == f"web {OLD_KEY}\n"


def test_hashed_names_are_found(tmp_path: Path) -> None:
    """A name that ssh has hashed is taken off as well, and no other one."""
    mine, other = HostKeys.hash_host("web"), HostKeys.hash_host("db")
    text = f"{mine} {OLD_KEY}\n{other} {OLD_KEY}\n|1|x|y {OLD_KEY}\n|1|a {OLD_KEY}\n"
    assert after(tmp_path / "f", text) == text.partition("\n")[2]


@pytest.mark.parametrize("text", [
    "# web\n", "", "\n \n", f"@revoked web {OLD_KEY}\n", f"@cert-authority *.web,web {OLD_KEY}\n", f"*eb {OLD_KEY}\n",
    f"db {OLD_KEY}\r\n", "# B\xe4r\n", "web\n", f"websites {OLD_KEY}\n",
])  # fmt: skip
def test_all_else_stays(tmp_path: Path, text: str) -> None:
    """Comments, marks, patterns, odd bytes and line ends of other lines are kept, byte for byte."""
    assert after(tmp_path / "known_hosts", text) == text
    assert after(tmp_path / "known_hosts", text, replace=False) == text


def test_a_last_line_without_its_end_is_not_run_into(tmp_path: Path) -> None:
    """The new key has a line of its own."""
    assert after(tmp_path / "f", f"db {OLD_KEY}", replace=False) == f"db {OLD_KEY}\n"


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
def test_ssh_finds_what_was_pinned(tmp_path: Path) -> None:
    """ssh-keygen, which reads the file as ssh does, finds the new key under the name and the old one under the other."""
    file = tmp_path / "known_hosts"
    after(file, f"web,db {OLD_KEY}\n")
    for name, key in (("web", NEW_KEY), ("db", OLD_KEY)):
        found = subprocess.run(["ssh-keygen", "-F", name, "-f", str(file)], capture_output=True, text=True, check=True)
        assert [line for line in found.stdout.splitlines() if not line.startswith("#")] == [f"{name} {key}"]


def test_a_link_stays_a_link_and_rights_stay(tmp_path: Path) -> None:
    """The file that is linked to gets the line, and keeps its mode; a new one is the operator's alone."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("")
    real.chmod(0o640)
    link.symlink_to("real")
    pin_key(link, "web", NEW)
    assert link.is_symlink()
    assert real.read_text() == f"web {NEW_KEY}\n"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    pin_key(tmp_path / "new" / "known_hosts", "web", NEW)
    assert stat.S_IMODE((tmp_path / "new" / "known_hosts").stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["device", "pipe", "folder", "link to a device", "socket of a dead agent"])
def test_only_a_regular_file_is_written(tmp_path: Path, kind: str) -> None:
    """A device (also by a link), a pipe, a folder: refused before a host is asked for its key; it stays what it is."""
    file = tmp_path / "known_hosts"
    if kind == "device":
        if os.geteuid() != 0:
            pytest.skip("only root makes devices")
        os.mknod(file, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind.startswith("link"):
        file.symlink_to("/dev/null")
    else:
        os.mknod(file, 0o600 | stat.S_IFSOCK)
    before = os.lstat(file)
    host = Host("w1", "192.0.2.1", ("worker",))
    cluster = Cluster("c", (host,), tmp_path / "hosts.yml", tmp_path / "c", "dc1", ssh=SshDefaults(known_hosts=file))
    for attempt in (lambda: offered_key(cluster, host), lambda: pin_key(file, "web", NEW, True)):
        with pytest.raises((HostError, InputError), match=r"no key can be pinned in it|is a folder") as caught:
            attempt()
        assert caught.value.hint
    assert (os.lstat(file).st_mode, os.lstat(file).st_ino) == (before.st_mode, before.st_ino)


def test_two_at_once_lose_no_line(tmp_path: Path) -> None:
    """Keys that are pinned at the same time are all there."""
    file = tmp_path / "known_hosts"
    threads = [threading.Thread(target=pin_key, args=(file, f"h{n}", NEW)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(line.split()[0] for line in file.read_text().splitlines()) == sorted(f"h{n}" for n in range(16))
