"""Many hosts at once: far ones together, and no sshd or jump host gets more logins at a time than it takes."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from fabfile.core.model.cluster import Cluster, Host, SshDefaults
from fabfile.edge.ssh.fanout import LIMIT, for_each_host
from fabfile.edge.ssh.fleet import Fleet
from fabfile.edge.ssh.login_turns import AT_ONCE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the loopback has one address")
ROOT = Path(__file__).resolve().parents[4]
HOSTS = 60
PAUSE = 0.3  # seconds for which the server keeps each connection


class Door:
    """A port at which connections wait, and are closed before any login. most: of them at a time."""

    def __init__(self, port: int) -> None:
        self.port, self.most, self.now = port, 0, 0
        self._lock = threading.Lock()

    def keep(self, link: socket.socket) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(PAUSE)
        with self._lock:
            self.now -= 1
        link.close()


@contextmanager
def door() -> Iterator[Door]:
    with closing(socket.create_server(("0.0.0.0", 0), backlog=256)) as server:
        found = Door(server.getsockname()[1])

        def serve() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=found.keep, args=(server.accept()[0],), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield found


def connect_all(hosts: list[Host], folder: Path) -> int:
    """Opens a connection to each host; how many failed."""
    ssh = SshDefaults(folder / "known_hosts", None, use_config=False)
    cluster = Cluster("c", tuple(hosts), folder / "hosts.yml", folder, "c", ssh=ssh)
    with Fleet(cluster) as fleet:
        return len(for_each_host(fleet, lambda remote: remote.open())[1])


def hosts_at(port: int, *addresses: str, gateway: str | None = None) -> list[Host]:
    return [
        Host(f"h{n}", addresses[n % len(addresses)], ("worker",), port=port, user="root", gateway=gateway)
        for n in range(HOSTS)
    ]


def test_hosts_at_addresses_of_their_own_are_connected_to_together(tmp_path: Path) -> None:
    """They share no sshd: more than one sshd takes are under way at a time."""
    with door() as found:
        assert connect_all(hosts_at(found.port, *(f"127.0.9.{n}" for n in range(1, HOSTS + 1))), tmp_path) == HOSTS
    assert found.most > AT_ONCE


def test_hosts_at_one_address_take_turns(tmp_path: Path) -> None:
    """As behind one router: one address, many ports or one."""
    with door() as found:
        assert connect_all(hosts_at(found.port, "127.0.9.101"), tmp_path) == HOSTS
    assert AT_ONCE / 2 < found.most <= AT_ONCE


def test_hosts_behind_one_jump_host_take_turns_there(tmp_path: Path) -> None:
    """Whatever their own addresses are."""
    with door() as found:
        gateway = f"root@127.0.9.102:{found.port}"
        assert connect_all(hosts_at(22, *(f"192.0.2.{n}" for n in range(1, HOSTS + 1)), gateway=gateway), tmp_path) == HOSTS
    assert AT_ONCE / 2 < found.most <= AT_ONCE


def test_no_more_threads_than_the_limit(tmp_path: Path) -> None:
    """Whatever the number of hosts, only so many are worked on at a time; all of them are, in the end."""
    hosts = [Host(f"h{n}", "192.0.2.1", ("worker",)) for n in range(3 * LIMIT)]
    cluster = Cluster("c", tuple(hosts), tmp_path / "hosts.yml", tmp_path, "c")
    counted = Door(0)
    with closing(socket.socket()) as unused:
        done, faults = for_each_host(Fleet(cluster), lambda _: counted.keep(unused))
    assert (len(done), faults) == (len(hosts), [])
    assert LIMIT / 2 < counted.most <= LIMIT


def test_a_large_fleet_may_open_files_enough(tmp_path: Path) -> None:
    """Each connection stays open: with 1,000 hosts that is more than the 1,024 files that a shell usually allows."""
    program = f"""
import resource
from pathlib import Path
from fabfile.core.model.cluster import Cluster, Host
from fabfile.edge.ssh.fleet import Fleet
hosts = tuple(Host(f"h{{n}}", "192.0.2.1", ("worker",)) for n in range(1000))
folder = Path({str(tmp_path)!r})
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
Fleet(Cluster("c", hosts[:5], folder / "hosts.yml", folder, "c"))
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
Fleet(Cluster("c", hosts, folder / "hosts.yml", folder, "c"))
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
print(soft >= min(4000, hard))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["276", "True"]
