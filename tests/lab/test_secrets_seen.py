"""Where a secret might be seen: on a host, in what is said, on the operator's side; and what is done when all are lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from fabfile.lab import compose

from .conftest import HOSTS, Lab, wipe
from .security_checks import assert_no_secrets, deployed_files, secret_values

pytestmark = pytest.mark.lab


_WATCH = """
import os, subprocess, sys, time
seen, loose = set(), set()
places = sys.argv[1:]
while not os.path.exists("/run/watch.stop"):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for what in ("cmdline", "environ"):
            try:
                with open(f"/proc/{pid}/{what}", "rb") as f:
                    seen.add(f.read())
            except OSError:
                pass
    for place in places:
        for folder, _, names in os.walk(place):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    found = os.lstat(path)
                except OSError:
                    continue
                if found.st_mode & 0o100004 == 0o100004 and found.st_mode & 0o170000 == 0o100000 and found.st_size < 1 << 20:
                    loose.add(path.encode())
    time.sleep(0.01)
with open("/run/watch.seen", "wb") as f:
    f.write(b"\\n".join(s.replace(b"\\0", b" ") for s in seen))
with open("/run/watch.loose", "wb") as f:
    f.write(b"\\n".join(loose))
os.rename("/run/watch.stop", "/run/watch.done")
"""


@dataclass
class Watched:
    """What could be seen while a new cluster was deployed."""

    lab: Lab
    said: dict[str, str]
    hosts: dict[str, str]  # host -> every argv and environment that was there for a moment
    loose: dict[str, str]  # host -> files that all could read for a moment
    here: str
    here_loose: set[str]
    rounds: int


@pytest.fixture(scope="module")
def watched(fresh_lab: Lab) -> Watched:
    """A fresh deploy with a watcher on w1, on m1 and on the operator's side; then an error with --debug."""
    lab = fresh_lab
    if lab.deployed:
        wipe(lab)
        shutil.rmtree(lab.state, ignore_errors=True)
    for host in ("w1", "m1"):
        lab.run(host, "rm -f /run/watch.*; cat >/run/watch.py", stdin=_WATCH)
        subprocess.run(["docker", "exec", "--detach", compose.container(host), "python3", "/run/watch.py",
                        "/etc/consul.d", "/var/lib/nexus", "/var/lib/consul"], check=True)  # fmt: skip
    here: set[bytes] = set()
    loose: set[str] = set()
    rounds = 0
    stop = threading.Event()

    def look() -> None:
        nonlocal rounds
        while not stop.is_set():
            rounds += 1
            for pid in filter(str.isdigit, os.listdir("/proc")):
                for what in ("cmdline", "environ"):
                    try:
                        here.add(Path(f"/proc/{pid}/{what}").read_bytes())
                    except OSError:
                        continue
            for path in (lab.state.parent, *lab.state.parent.rglob("*")):
                try:
                    if path.lstat().st_mode & 0o077:
                        loose.add(str(path))
                except OSError:
                    continue
            time.sleep(0.01)  # what is watched needs the two cores as well

    watcher = threading.Thread(target=look)
    watcher.start()
    said = {}
    try:
        for words in (("plan",), ("plan", "--json"), ("deploy", "--yes"), ("status", "--json")):
            done = lab.inv(*words, new_interpreter=True)
            assert done.returncode == (2 if words[0] == "plan" else 0), f"{words}: {done.stdout}{done.stderr}"
            said[" ".join(words)] = done.stdout + done.stderr
        lab.run("w1", "echo '# drift' >>/etc/systemd/system/consul.service; mv /usr/bin/sha256sum /usr/bin/sha256sum.away")
        done = lab.inv("deploy", "--yes", "--debug", new_interpreter=True)
        lab.run("w1", "mv /usr/bin/sha256sum.away /usr/bin/sha256sum")
        said["deploy --debug"] = done.stdout + done.stderr
        assert done.returncode != 0
        assert "w1" in done.stderr
        said["deploy again"] = lab.deploy()
    finally:
        stop.set()
        watcher.join()
        for host in ("w1", "m1"):
            lab.run(host, "touch /run/watch.stop")
            lab.eventually(host, "test -e /run/watch.done")
    text = {h: lab.run(h, "cat /run/watch.seen") for h in ("w1", "m1")}
    open_ = {h: lab.run(h, "cat /run/watch.loose") for h in ("w1", "m1")}
    return Watched(lab, said, text, open_, b"\n".join(here).decode("utf-8", "replace"), loose, rounds)


def test_no_secret_is_in_any_argv_or_environment(watched: Watched) -> None:
    """Sampled all through a fresh deploy: no process on m1, w1 or the operator's machine is called with a secret."""
    values = secret_values(watched.lab.secrets())
    assert len(values) > 20
    assert watched.rounds > 50
    assert "consul agent" in watched.hosts["w1"]
    assert "apply.sh" in watched.hosts["w1"]
    assert "-m invoke" in watched.here.replace("\0", " ")
    for host, text in watched.hosts.items():
        assert_no_secrets(text, values, f"{host}: an argv or environment")
    assert_no_secrets(watched.here, values, "an argv or environment of the operator's side")


def test_no_secret_is_said_or_logged(watched: Watched) -> None:
    """Plan, deploy, status, an error with --debug, and the hosts' journals bear no secret value."""
    values = secret_values(watched.lab.secrets())
    assert "Traceback" in watched.said["deploy --debug"]
    assert "secret-key.pem" in watched.said["plan"]
    for words, text in watched.said.items():
        assert_no_secrets(text, values, f"inv {words}")
    for host in HOSTS:
        assert_no_secrets(watched.lab.run(host, "journalctl --no-pager -o cat -n 100000"), values, f"{host}'s journal")
        kept = watched.lab.run(host, "cat /var/lib/nexus/history /var/lib/nexus/generations/*/* 2>/dev/null", check=False)
        assert_no_secrets(kept, values, f"{host}'s record of deploys")


def test_no_file_is_open_to_others_not_even_for_a_moment(watched: Watched) -> None:
    """All through a fresh deploy no small file under our folders could be read by all, here or on a host."""
    assert watched.loose == {"w1": "", "m1": ""}
    assert watched.here_loose == set()


def test_nobody_reads_nothing(watched: Watched) -> None:
    """A plain user of a host opens no setting, key, token or data of ours, and cannot even list them."""
    lab = watched.lab
    for host in HOSTS:
        places = "/etc/consul.d /var/lib/consul /var/lib/nexus"
        files = lab.run(host, f"find {places} -type f").split()
        assert "/etc/consul.d/tls/secret-key.pem" in files
        tries = "while read f; do head -c 1 $f >/dev/null 2>&1 && echo $f; done; :"
        opened = lab.run(host, f"runuser -u nobody -- sh -c '{tries}'", stdin="\n".join(files) + "\n")
        assert opened == ""
        assert lab.run(host, f"runuser -u nobody -- ls {places} /etc/consul.d/tls 2>/dev/null", check=False) == ""
        assert lab.run(host, f"find {places} -type f -perm /o+rwx -size -1024k") == ""  # bigger ones are the programs
        environ = "runuser -u nobody -- cat /proc/$(pgrep -xo consul)/environ 2>/dev/null"
        assert lab.run(host, environ, check=False) == ""


def test_lost_secrets_stop_everything_before_a_change(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Without secrets.json plan and deploy refuse, say the way out, make no new ones; put back, all is as before."""
    lab.deploy()
    file = lab.state / "secrets.json"
    kept = file.with_name("kept")
    before = deployed_files(lab)
    file.rename(kept)
    try:
        for words in (("plan",), ("deploy", "--yes"), ("deploy", "--yes", "--adopt"), ("rollback", "--yes")):
            done = lab.inv(*words)
            assert done.returncode == 1, done.stdout
            assert "run with secrets that" in done.stderr
            assert "secrets.import" in done.stderr
            assert "Traceback" not in done.stderr
            assert not file.exists()
        text = kept.read_text()
        file.write_text(text[: len(text) // 2])
        for words in (("plan",), ("deploy", "--yes"), ("status",)):
            done = lab.inv(*words)
            assert done.returncode == 1
            assert f"{file.name} cannot be read" in done.stderr.replace("\n", "")
            assert "Traceback" not in done.stderr
            assert_no_secrets(done.stdout + done.stderr, secret_values(json.loads(text)), "the error")
            assert file.read_text() == text[: len(text) // 2]
    finally:
        kept.replace(file)
    assert deployed_files(lab) == before
    assert lab.inv("plan").returncode == 0
