"""The attacker's side: from a machine that is in no inventory, from a plain user on a host, from the command line."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fabfile.edge.pki import issue, make_authority
from fabfile.lab import compose

from .conftest import HOSTS, MANAGERS, Lab, wipe

pytestmark = pytest.mark.lab
ADDRESS = {node.name: node.cluster for node in compose.NODES}
SSH = {node.name: node.ssh for node in compose.NODES}
OPERATOR = "198.18.7.1/32"  # as the hosts see the machine that the lab runs on
CONSUL_PORTS = (8300, 8301, 8302, 8500, 8501, 8502, 8503, 8600)
SAMPLE = (21, 23, 25, 53, 111, 2019, 2375, 2376, 3306, 5432, 6379, 7946, 8080, 8088, 8443, 9100, 9999, 20000)

_SCAN = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor
def answers(pair):
    try:
        socket.create_connection(pair, 1.2).close()
        return True
    except OSError:
        return False
pairs = [(a, int(p)) for a in sys.argv[1].split(",") for p in sys.argv[2].split(",")]
with ThreadPoolExecutor(400) as pool:
    for (address, port), yes in zip(pairs, pool.map(answers, pairs)):
        if yes:
            print(address, port)
"""


def scan(lab: Lab, origin: str, ports: tuple[int, ...], hosts: tuple[str, ...] = HOSTS) -> set[tuple[str, int]]:
    """The (host, port) pairs that accept a TCP connection from `origin`."""
    names = {ADDRESS[h]: h for h in hosts}
    words = f"python3 - {','.join(names)} {','.join(map(str, ports))}"
    lines = lab.on(origin, words, stdin=_SCAN).splitlines()
    return {(names[address], int(port)) for address, port in (line.split() for line in lines)}


def secret_values(secrets: dict[str, Any]) -> list[str]:
    """Whatever must be seen nowhere: keys, token secrets, and two lines of the body of each private key."""
    pairs = [secrets["authority"], *secrets["certs"].values()]
    bodies = [line for pair in pairs for line in pair["key"].splitlines()[1:3]]
    found = [secrets["gossip"], secrets["management"], *(t["secret"] for t in secrets["tokens"].values()), *bodies]
    return [value for value in found if value]


def assert_clean(text: str, values: list[str], where: str) -> None:
    """Says where and which kind, and never the value itself."""
    leaks = [i for i, value in enumerate(values) if value in text]
    assert not leaks, f"{where} shows {len(leaks)} of {len(values)} secret values (numbers {leaks})"


# --- the network ---------------------------------------------------------------------------------------------------


def test_a_stranger_finds_ssh_and_the_balancers_doors_and_nothing_else(lab: Lab) -> None:
    """Scanned from a host that is in no inventory, every host answers on 22, the load balancer on 80, too."""
    lab.on("w1", "systemd-run --quiet --unit=forgotten python3 -m http.server 9999")  # a service that nobody meant
    try:
        lab.eventually("w1", "ss -Hltn 'sport = :9999' | grep .")
        found = scan(lab, "spare", (22, 80, 443, *CONSUL_PORTS, *SAMPLE))
    finally:
        lab.on("w1", "systemctl stop forgotten")
    assert found - {("lb1", 443)} == {*((h, 22) for h in HOSTS), ("lb1", 80)}


def test_a_member_reaches_gossip_and_the_servers_rpc_only(lab: Lab) -> None:
    """From another host of the cluster 8301 answers everywhere, 8300 on managers, and the API nowhere."""
    others = tuple(h for h in HOSTS if h != "w1")
    found = scan(lab, "w1", (*CONSUL_PORTS, 9999), others)
    assert found == {*((h, 8301) for h in others), *((m, 8300) for m in MANAGERS)}


# --- joining -------------------------------------------------------------------------------------------------------


class Intruder:
    """A real Consul on the spare host, run by somebody who wants in."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def start(self, **settings: Any) -> None:
        config = {
            "node_name": "intruder", "datacenter": "lab", "data_dir": "/root/intruder/data", "bind_addr": ADDRESS["spare"],
            "retry_join": [ADDRESS["m1"]], "retry_interval": "1s", **settings,
        }  # fmt: skip
        self.lab.on(
            "spare",
            "systemctl reset-failed intruder 2>/dev/null; rm -rf /root/intruder; umask 077; mkdir -p /root/intruder; "
            "cat >/root/intruder/c.json; "
            "systemd-run --quiet --unit=intruder /root/consul agent -config-file=/root/intruder/c.json",
            stdin=json.dumps(config),
        )
        self.lab.eventually("spare", "/root/consul members 2>/dev/null | grep -q intruder")

    def stop(self) -> None:
        self.lab.on("spare", "systemctl stop intruder", check=False)

    def joins(self, within: float) -> bool:
        """Whether m1 ever counts it among the living."""
        until = time.monotonic() + within
        while time.monotonic() < until:
            if re.search(r"^intruder .*alive", self.lab.consul("m1", "members"), re.MULTILINE):
                return True
            time.sleep(0.3)
        return False


@pytest.fixture(scope="module")
def their_consul(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    binary = tmp_path_factory.mktemp("intruder") / "consul"
    subprocess.run(["docker", "cp", "nexus-lab-m1:/usr/local/bin/consul", binary], check=True, capture_output=True)
    subprocess.run(["docker", "cp", binary, "nexus-lab-spare:/root/consul"], check=True, capture_output=True)
    yield
    lab.on("spare", "rm -f /root/consul")


@pytest.fixture
def intruder(lab: Lab, their_consul: None) -> Iterator[Intruder]:
    one = Intruder(lab)
    yield one
    one.stop()
    lab.on("spare", "rm -rf /root/intruder")
    if "intruder" in lab.consul("m1", "members"):
        lab.consul("m1", "force-leave -prune intruder", check=False)


@contextmanager
def door_open(lab: Lab, host: str = "m1") -> Iterator[None]:
    """The firewall lets the spare host in, so that what refuses it is the next lock on the way."""
    rule = f"inet nexus input ip saddr {ADDRESS['spare']} accept"
    listed = lab.on(host, f"nft --echo --handle insert rule {rule}")
    handle = re.findall(r"# handle (\d+)", listed)[-1]
    try:
        yield
    finally:
        lab.on(host, f"nft delete rule inet nexus input handle {handle}")


WRONG_KEY = "Tk9UIFRIRSBLRVksIEpVU1QgMzIgQllURVMgTE9ORyE="


def test_nobody_joins_without_the_gossip_key(lab: Lab, intruder: Intruder) -> None:
    """With no key or a wrong one an agent never becomes a member: not through the firewall, not with it open."""
    for settings in ({}, {"encrypt": WRONG_KEY}):
        intruder.start(**settings)
        assert not intruder.joins(within=2.5)
        with door_open(lab):
            since = lab.on("m1", "date +%s").strip()
            assert scan(lab, "spare", (8301,), ("m1",))  # it is not the firewall that keeps it out now
            assert not intruder.joins(within=4)
            heard = lab.on("m1", f"journalctl -u consul -o cat --since @{since} | grep {ADDRESS['spare']}")
            assert "crypt" in heard, heard
        intruder.stop()


def test_the_gossip_key_alone_opens_no_rpc(lab: Lab, intruder: Intruder) -> None:
    """An agent with the right gossip key and no certificate may gossip, and the servers answer none of its calls."""
    with door_open(lab):
        intruder.start(encrypt=lab.secrets()["gossip"], performance={"rpc_hold_timeout": "1s"})
        assert intruder.joins(within=15)
        for words in ("catalog nodes", "kv get nexus/primary", "kv put nexus/primary me"):
            assert "code 1" in lab.on("spare", f"/root/consul {words} 2>&1; echo code $?")
        log = lab.on("spare", "journalctl -u intruder -o cat")
        assert re.search(rf"RPC failed.*server={re.escape(ADDRESS['m1'])}:8300", log), log[-2000:]


def test_a_foreign_authoritys_certificate_opens_no_rpc(lab: Lab, intruder: Intruder) -> None:
    """A certificate with the right names, signed by a CA of the intruder's own, is refused by the servers' side of TLS."""
    pair = issue(make_authority("lab"), ["server.lab.consul", "intruder", "m1"])
    files = {"cert_file": pair.cert, "key_file": pair.key, "ca_file": lab.secrets()["trusted"][0]}
    with door_open(lab):
        for name, text in files.items():
            lab.on("spare", f"umask 077; cat >/root/{name}.pem", stdin=text)
        intruder.start(
            encrypt=lab.secrets()["gossip"], performance={"rpc_hold_timeout": "1s"}, verify_outgoing=True,
            **{name: f"/root/{name}.pem" for name in files},
        )  # fmt: skip
        assert intruder.joins(within=15)
        since = lab.on("m1", "date +%s").strip()
        for words in ("catalog nodes", "kv get nexus/primary", "kv put nexus/primary me"):
            assert "code 1" in lab.on("spare", f"/root/consul {words} 2>&1; echo code $?")
        heard = lab.on("m1", f"journalctl -u consul -o cat --since @{since} | grep {ADDRESS['spare']}")
        assert re.search(r"certificate signed by unknown authority|unknown certificate|bad certificate", heard), heard
    lab.on("spare", "rm -f /root/*.pem")


# --- the API -------------------------------------------------------------------------------------------------------

# What each token may (True) and may not do, asked on the host that has it. `w1` and `w2` are other hosts to some.
KINDS = {"none": "w1", "agent/w1": "w1", "worker/w1": "w1", "orchestrator/m1": "m1", "balancer/lb1": "lb1"}
ACTIONS: dict[str, tuple[str, str, str]] = {
    "read the catalogue": ("GET", "catalog/nodes", ""),
    "register a service": ("PUT", "agent/service/register", '{"Name": "attack", "Port": 1}'),
    "write the primary": ("PUT", "kv/nexus/primary", "me"),
    "lock the primary": ("PUT", "kv/nexus/primary?acquire=SESSION", "me"),
    "delete the primary": ("DELETE", "kv/nexus/primary", ""),
    "place on w1": ("PUT", "kv/nexus/placement/w1/x", "attack"),
    "read w1's placement": ("GET", "kv/nexus/placement/w1/x", ""),
    "read w2's placement": ("GET", "kv/nexus/placement/w2/x", ""),
    "report for w1": ("PUT", "kv/nexus/report/w1/x", "attack"),
    "report for w2": ("PUT", "kv/nexus/report/w2/x", "attack"),
    "write elsewhere": ("PUT", "kv/elsewhere", "attack"),
    "read the tokens": ("GET", "acl/tokens", ""),
    "make a token": ("PUT", "acl/token", '{"Policies": [{"Name": "global-management"}]}'),
    "bootstrap again": ("PUT", "acl/bootstrap", ""),
    "session on its own node": ("PUT", "session/create", '{"TTL": "10s", "NodeChecks": []}'),
    "session on another manager": ("PUT", "session/create", '{"Node": "m2", "TTL": "10s", "NodeChecks": []}'),
    "session on w2": ("PUT", "session/create", '{"Node": "w2", "TTL": "10s", "NodeChecks": []}'),
    "deregister w2": ("PUT", "catalog/deregister", '{"Node": "w2"}'),
    "make the agent leave": ("PUT", "agent/leave", ""),
    "read raft": ("GET", "operator/raft/configuration", ""),
    "list the keyring": ("GET", "operator/keyring", ""),
    "take a snapshot": ("GET", "snapshot", ""),
    "fire an event": ("PUT", "event/fire/attack", ""),
}
MAY = {
    "none": {"read the catalogue"},
    "agent/w1": {"read the catalogue"},
    "worker/w1": {"read the catalogue", "register a service", "read w1's placement", "report for w1"},
    "orchestrator/m1": {
        "read the catalogue", "write the primary", "lock the primary", "delete the primary", "place on w1",
        "read w1's placement", "read w2's placement", "report for w1", "report for w2", "session on its own node",
        "session on another manager",
    },
    "balancer/lb1": {"read the catalogue"},
}  # fmt: skip
EMPTY = ("", "[]", "null", "false")


def call(lab: Lab, host: str, token: str, action: tuple[str, str, str]) -> tuple[int, str]:
    """One HTTP call with curl on the host's loopback. The token goes from stdin to a 0600 file, never into argv."""
    method, path, body = action
    said = lab.on(
        host,
        "umask 077; h=$(mktemp); cat >$h; curl -s -m 10 -o - -w '\\n%{http_code}' -H @$h -X " + method
        + (f" --data-binary {shlex.quote(body)}" if body else "")
        + " " + shlex.quote(f"http://127.0.0.1:8500/v1/{path}") + "; rm $h",
        stdin=f"X-Consul-Token: {token}\n" if token else "",
    )  # fmt: skip
    answer, _, code = said.rpartition("\n")
    return int(code), answer.strip()


def as_manager(lab: Lab, method: str, path: str, body: str = "") -> str:
    code, answer = call(lab, "m1", lab.secrets()["management"], (method, path, body))
    assert code == 200, (path, code, answer)
    return answer


@pytest.fixture
def playground(lab: Lab) -> Iterator[str]:
    """Keys to read, and a session to lock with; all of it taken away afterwards. The next deploy starts what is off."""
    for host in MANAGERS:
        lab.on(host, "systemctl stop nexus-orchestrator")  # or the lock would be taken
    for host in ("w1", "w2"):
        as_manager(lab, "PUT", f"kv/nexus/placement/{host}/x", "task")
    session = json.loads(as_manager(lab, "PUT", "session/create", '{"TTL": "60s", "LockDelay": "1ms"}'))["ID"]
    yield session
    as_manager(lab, "PUT", f"session/destroy/{session}")
    as_manager(lab, "DELETE", "kv/nexus/?recurse")
    as_manager(lab, "DELETE", "kv/elsewhere")


@pytest.mark.parametrize("kind", KINDS)
def test_each_token_may_do_its_job_and_nothing_else(lab: Lab, playground: str, kind: str) -> None:
    """The table MAY, asked over HTTP: what is not in it is refused."""
    token = lab.secrets()["tokens"][kind]["secret"] if kind != "none" else ""
    done, odd = set(), {}
    for name, (method, path, body) in ACTIONS.items():
        code, answer = call(lab, KINDS[kind], token, (method, path.replace("SESSION", playground), body))
        if code == 200 and (answer not in EMPTY or name == "make the agent leave"):
            done.add(name)
        elif code == 200 and method == "PUT" and name != "lock the primary" and not answer:
            done.add(name)  # register and the like answer 200 and nothing
        elif code not in (401, 403, 404, 200):
            odd[name] = (code, answer[:80])
    if "register a service" in done:
        call(lab, KINDS[kind], token, ("PUT", "agent/service/deregister/attack", ""))
    assert done == MAY[kind]
    refusals = "Permission denied", "denied by ACLs", "must run against a server", "failed to decode response"
    assert not {n: o for n, o in odd.items() if not any(r in o[1] for r in refusals)}


def test_a_workers_token_cannot_become_primary(lab: Lab, playground: str) -> None:
    """Put, lock, compare-and-set, delete and transaction on the primary's key with a worker's token: all refused."""
    token = lab.secrets()["tokens"]["worker/w1"]["secret"]
    as_manager(lab, "PUT", "kv/nexus/primary", "the real one")
    txn = '[{"KV": {"Verb": "set", "Key": "nexus/primary", "Value": "bWU="}}]'
    tries = [
        ("PUT", "kv/nexus/primary", "me"), ("PUT", f"kv/nexus/primary?acquire={playground}", "me"),
        ("PUT", "kv/nexus/primary?cas=0", "me"), ("DELETE", "kv/nexus/primary", ""), ("PUT", "txn", txn),
        ("DELETE", "kv/nexus/?recurse", ""), ("GET", "kv/nexus/primary", ""),
    ]  # fmt: skip
    for action in tries:
        code, answer = call(lab, "w1", token, action)
        assert code in (403, 409), (action, code, answer)
        assert "ermission denied" in answer, (action, code, answer)
    assert as_manager(lab, "GET", "kv/nexus/primary?raw") == "the real one"


# --- on a host, and on the operator's side --------------------------------------------------------------------------


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
        lab.on(host, "rm -f /run/watch.*; cat >/run/watch.py", stdin=_WATCH)
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

    watcher = threading.Thread(target=look)
    watcher.start()
    said = {}
    try:
        for words in (("plan",), ("plan", "--json"), ("deploy", "--yes"), ("status", "--json")):
            done = lab.inv(*words)
            assert done.returncode == (2 if words[0] == "plan" else 0), f"{words}: {done.stdout}{done.stderr}"
            said[" ".join(words)] = done.stdout + done.stderr
        lab.on("w1", "echo '# drift' >>/etc/systemd/system/consul.service; mv /usr/bin/sha256sum /usr/bin/sha256sum.away")
        done = lab.inv("deploy", "--yes", "--debug")
        lab.on("w1", "mv /usr/bin/sha256sum.away /usr/bin/sha256sum")
        said["deploy --debug"] = done.stdout + done.stderr
        assert done.returncode != 0
        assert "w1" in done.stderr
        said["deploy again"] = lab.deploy()
    finally:
        stop.set()
        watcher.join()
        for host in ("w1", "m1"):
            lab.on(host, "touch /run/watch.stop")
            lab.eventually(host, "test -e /run/watch.done")
    text = {h: lab.on(h, "cat /run/watch.seen") for h in ("w1", "m1")}
    open_ = {h: lab.on(h, "cat /run/watch.loose") for h in ("w1", "m1")}
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
        assert_clean(text, values, f"{host}: an argv or environment")
    assert_clean(watched.here, values, "an argv or environment of the operator's side")


def test_no_secret_is_said_or_logged(watched: Watched) -> None:
    """Plan, deploy, status, an error with --debug, and the hosts' journals bear no secret value."""
    values = secret_values(watched.lab.secrets())
    assert "Traceback" in watched.said["deploy --debug"]
    assert "secret-key.pem" in watched.said["plan"]
    for words, text in watched.said.items():
        assert_clean(text, values, f"inv {words}")
    for host in HOSTS:
        assert_clean(watched.lab.on(host, "journalctl --no-pager -o cat -n 100000"), values, f"{host}'s journal")
        kept = watched.lab.on(host, "cat /var/lib/nexus/history /var/lib/nexus/generations/*/* 2>/dev/null", check=False)
        assert_clean(kept, values, f"{host}'s record of deploys")


def test_no_file_is_open_to_others_not_even_for_a_moment(watched: Watched) -> None:
    """All through a fresh deploy no small file under our folders could be read by all, here or on a host."""
    assert watched.loose == {"w1": "", "m1": ""}
    assert watched.here_loose == set()


def test_nobody_reads_nothing(watched: Watched) -> None:
    """A plain user of a host opens no setting, key, token or data of ours, and cannot even list them."""
    lab = watched.lab
    for host in HOSTS:
        places = "/etc/consul.d /var/lib/consul /var/lib/nexus"
        files = lab.on(host, f"find {places} -type f").split()
        assert "/etc/consul.d/tls/secret-key.pem" in files
        tries = "while read f; do head -c 1 $f >/dev/null 2>&1 && echo $f; done; :"
        opened = lab.on(host, f"runuser -u nobody -- sh -c '{tries}'", stdin="\n".join(files) + "\n")
        assert opened == ""
        assert lab.on(host, f"runuser -u nobody -- ls {places} /etc/consul.d/tls 2>/dev/null", check=False) == ""
        assert lab.on(host, f"find {places} -type f -perm /o+rwx -size -1024k") == ""  # bigger ones are the programs
        environ = "runuser -u nobody -- cat /proc/$(pgrep -xo consul)/environ 2>/dev/null"
        assert lab.on(host, environ, check=False) == ""


# --- the operator's folder ------------------------------------------------------------------------------------------


def traces(lab: Lab) -> dict[str, str]:
    look = (
        "find /etc/consul.d /etc/nexus /var/lib/nexus/current/ -type f | sort | xargs sha256sum; "
        "readlink /var/lib/nexus/current"
    )
    return {h: lab.on(h, look) for h in HOSTS}


def test_lost_secrets_stop_everything_before_a_change(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Without secrets.json plan and deploy refuse, say the way out, make no new ones; put back, all is as before."""
    lab.deploy()
    file = lab.state / "secrets.json"
    kept = file.with_name("kept")
    before = traces(lab)
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
            assert_clean(done.stdout + done.stderr, secret_values(json.loads(text)), "the error")
            assert file.read_text() == text[: len(text) // 2]
    finally:
        kept.replace(file)
    assert traces(lab) == before
    assert lab.inv("plan").returncode == 0


# --- the firewall ---------------------------------------------------------------------------------------------------


def narrowed(lab: Lab, folder: Path, networks: str) -> Lab:
    return lab.variant(folder, "cluster: lab\n", f"cluster: lab\nadmin_from: [{networks}]\n")


def banner(host: str) -> bool:
    """A new SSH connection gets through to sshd."""
    try:
        with socket.create_connection((SSH[host], 22), timeout=2) as link:
            link.settimeout(2)
            return link.recv(4) == b"SSH-"
    except OSError:
        return False


def test_an_operator_outside_admin_from_is_refused_first(lab: Lab, tmp_path: Path) -> None:
    """admin_from without the operator: refused with the address that the host sees, and nothing changes."""
    lab.deploy()
    before = traces(lab)
    for words in (("plan",), ("deploy", "--yes")):
        done = narrowed(lab, tmp_path, "192.0.2.0/24").inv(*words)
        assert done.returncode == 1
        assert re.search(r"sees you come from 198\.18\.7\.1\b", done.stderr), done.stderr
        assert "nothing was changed" in done.stderr
    assert traces(lab) == before


_FOREIGN = """
table inet other {
	chain c {
		type filter hook input priority 7; policy accept;
		tcp dport 4711 counter drop
	}
}
table ip other4 {
	set s { type ipv4_addr; }
}
"""


def test_admin_from_shuts_ssh_and_leaves_foreign_tables_alone(lab: Lab, tmp_path: Path) -> None:
    """With admin_from a stranger finds no SSH; another program's table has the same rules as before."""
    lab.on("w1", "nft -f -", stdin=_FOREIGN)
    listed = "nft list table inet other; nft list table ip other4; nft list table ip nat"
    try:
        before = lab.on("w1", listed)
        narrowed(lab, tmp_path, OPERATOR).deploy()
        assert {h for h, _ in scan(lab, "spare", (22,))} == set()
        assert {h for h, _ in scan(lab, "m1", (22,), ("w1", "w2"))} == {"w1", "w2"}
        assert "admin4" in lab.on("w1", "nft list table inet nexus")
        assert _no_counts(lab.on("w1", listed)) == _no_counts(before)
        lab.deploy()
        assert len(scan(lab, "spare", (22,))) == len(HOSTS)
    finally:
        lab.on("w1", "nft delete table inet other; nft delete table ip other4", check=False)


def _no_counts(rules: str) -> str:
    return re.sub(r"packets \d+ bytes \d+", "packets N bytes N", rules)


def test_the_firewall_unit_may_be_stopped_and_started_over_and_over(lab: Lab) -> None:
    """Stop takes the table away, start and reload bring the same one, each twice over; others are left alone."""
    table = "nft list table inet nexus"
    rules = lab.on("w2", table)
    others = lab.on("w2", "nft list tables | grep -v nexus", check=False)
    for verb, there in (("stop", 0), ("stop", 0), ("start", 1), ("start", 1), ("reload", 1), ("restart", 1), ("reload", 1)):
        lab.on("w2", f"systemctl {verb} nexus-firewall")
        assert lab.on("w2", table, check=False) == (rules if there else ""), verb
    assert lab.on("w2", "nft list tables | grep -v nexus", check=False) == others


def test_after_a_restart_the_rules_are_there_before_sshd(lab: Lab) -> None:
    """At boot the table is loaded before sshd so much as starts, and the very same rules are in force."""
    rules = lab.on("w2", "nft list table inet nexus")
    subprocess.run(["docker", "restart", "--time", "2", "nexus-lab-w2"], check=True, capture_output=True)
    lab.eventually("w2", "systemctl is-active ssh consul")
    assert lab.on("w2", "nft list table inet nexus") == rules
    show = "systemctl show --value -p {} {}"
    loaded = int(lab.on("w2", show.format("ActiveEnterTimestampMonotonic", "nexus-firewall")))
    accepts = int(lab.on("w2", show.format("InactiveExitTimestampMonotonic", "ssh")))
    assert 0 < loaded <= accepts
    lab.eventually("m1", "curl -s http://127.0.0.1:8500/v1/health/node/w2 | grep -q '\"Status\":\"passing\"'")


_WRAPPER = """#!/bin/sh
/usr/sbin/nft.real "$@" || exit
[ "$*" != "-f /etc/nexus/firewall.nft" ] || /usr/sbin/nft.real insert rule inet nexus input tcp dport 22 ct state new drop
"""


def test_rules_that_shut_the_operator_out_are_taken_back(lab: Lab, tmp_path: Path) -> None:
    """A rule change that cuts off new SSH connections fails and undoes itself within 50 s; the next deploy succeeds."""
    lab.deploy()
    changed = narrowed(lab, tmp_path, OPERATOR)
    before = lab.on("w1", "nft list table inet nexus; sha256sum /etc/nexus/firewall.nft")
    lab.on("w1", "mv /usr/sbin/nft /usr/sbin/nft.real; cat >/usr/sbin/nft; chmod 0755 /usr/sbin/nft", stdin=_WRAPPER)
    try:
        running = subprocess.Popen(
            lab.argv("deploy", "--hosts", "w1", "--yes"), cwd=Path(__file__).parents[2], env=changed.env(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        lab.eventually("w1", "nft.real list table inet nexus | grep -q 'tcp dport 22 ct state new drop'", 20)
        shut = time.monotonic()
        assert not banner("w1")
        while not banner("w1"):
            assert time.monotonic() - shut < 50
            time.sleep(0.5)
        took = time.monotonic() - shut
        said, _ = running.communicate(timeout=30)
    finally:
        lab.on("w1", "mv /usr/sbin/nft.real /usr/sbin/nft")
    print(f"the host let its operator in again after {took:.1f} s")
    assert running.returncode == 1, said
    assert "lets no new SSH connection in" in said
    assert lab.on("w1", "nft list table inet nexus; sha256sum /etc/nexus/firewall.nft") == before
    assert changed.inv("plan", "--hosts", "w1").returncode == 2
    changed.ok("deploy", "--hosts", "w1", "--yes")
    assert "admin4" in lab.on("w1", "nft list table inet nexus")
    lab.eventually("w1", "! systemctl is-active nexus-firewall-undo.timer")
    lab.deploy()


# --- the units ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("host", "unit", "user"), [
    ("m1", "consul", "consul"), ("w1", "consul", "consul"), ("m1", "nexus-orchestrator", "nexus-orchestrator"),
    ("w1", "nexus-worker", "root"), ("lb1", "caddy", "caddy"), ("lb1", "nexus-balancer", "caddy")])  # fmt: skip
def test_the_units_are_hardened(lab: Lab, host: str, unit: str, user: str) -> None:
    """systemd's own measure of what a unit could do if it were taken over stays below 2.5 (10 is everything)."""
    said = lab.on(host, f"systemd-analyze security --no-pager {unit}.service")
    exposure = float(re.findall(r"exposure level for .*?: ([\d.]+)", said)[0])
    print(f"{host} {unit}.service: {exposure}")
    assert exposure < 2.5
    assert lab.on(host, f"ps -o user:32= -p $(systemctl show --value -p MainPID {unit})").strip() == user


# --- the command line -----------------------------------------------------------------------------------------------

HOSTILE = {
    "hosts, a semicolon": ("plan", "--hosts", "; touch MARK"),
    "hosts, a substitution": ("plan", "--hosts", "$(touch MARK)"),
    "hosts, a newline": ("plan", "--hosts", "w1\ntouch MARK"),
    "deploy to an option": ("deploy", "--yes", "--hosts", "-oProxyCommand=touch MARK"),
    "an address that is an option": ("add-worker", "-oProxyCommand=touch MARK", "--yes"),
    "an address that is a command": ("add-worker", "$(touch MARK)", "--yes"),
    "a name that climbs": ("add-worker", "127.0.7.7", "--yes", "--name", "../../etc"),
    "a name that is a command": ("add-worker", "127.0.7.7", "--yes", "--name", "`touch MARK`"),
    "a user that is a command": ("add-worker", "127.0.7.7", "--yes", "--user", "; touch MARK"),
    "a user that is an option": ("add-worker", "127.0.7.7", "--yes", "--user", "-oProxyCommand=touch MARK"),
    "a gateway that is an option": ("add-worker", "127.0.7.7", "--yes", "--gateway", "-oProxyCommand=touch MARK"),
    "a gateway that is a command": ("add-worker", "127.0.7.7", "--yes", "--gateway", "$(touch MARK)@x"),
    "a fingerprint with a newline": ("add-worker", "127.0.7.7", "--yes", "--fingerprint", "SHA256:x\ntouch MARK"),
    "an inventory with a newline": ("plan", "--inventory", "a\ntouch MARK"),
    "an inventory that is a command": ("plan", "--inventory", "$(touch MARK)"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_words_on_the_command_line_are_refused(lab: Lab, tmp_path: Path, case: str) -> None:
    """Exit code 1 and a clear error: no file made, hosts.yml and the pinned keys byte for byte as before."""
    mark = tmp_path / "mark"
    known = lab.inventory.parent / "known_hosts"
    before = lab.inventory.read_bytes(), known.read_bytes(), sorted(p.name for p in lab.inventory.parent.iterdir())
    done = lab.inv(*(word.replace("MARK", str(mark)) for word in HOSTILE[case]), timeout=30)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr
    assert not mark.exists()
    assert (lab.inventory.read_bytes(), known.read_bytes(), sorted(p.name for p in lab.inventory.parent.iterdir())) == before
