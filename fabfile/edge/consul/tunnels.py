"""Access to a manager's Consul from the operator's machine: a forwarded port, or a command run on the manager."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ...core.errors import HostError, InputError, Several
from ...core.model.cluster import Cluster
from ..ssh.connection import Remote
from ..ssh.exec_channel import WATCHED, Result
from ..ssh.fleet import Fleet
from .client import PORT


@contextmanager
def open_manager(cluster: Cluster, name: str = "") -> Iterator[Remote]:
    """An open connection to the named host, or to the first manager that can be reached. Several when none can."""
    if name and name not in {h.name for h in cluster.hosts}:
        raise InputError([f"--host: {name} is not in {cluster.source.name}"])
    hosts = [cluster.host(name)] if name else list(cluster.having("manager"))
    with Fleet(cluster, hosts) as fleet:
        faults: list[HostError] = []
        for remote in fleet:
            try:
                remote.open()
            except HostError as fault:
                faults.append(fault)
                continue
            yield remote
            return
        raise Several(faults)


@contextmanager
def forwarded_port(remote: Remote, local: int) -> Iterator[None]:
    """Forwards 127.0.0.1:local on this machine to the remote's 127.0.0.1:8500 while the block runs.

    HostError when nobody answers there, or the host's sshd forbids forwarding.
    """
    remote.tunnel(PORT).close()
    if remote.forwarding_refused:
        raise HostError(remote.host.name, "its sshd forbids TCP forwarding, which this command needs",
                        "in its sshd_config: AllowTcpForwarding yes (or `local`)")  # fmt: skip
    with remote.connection.forward_local(local, remote_port=PORT, remote_host="127.0.0.1", local_host="127.0.0.1"):
        yield


def run_consul(remote: Remote, args: Sequence[str], on_line: Callable[[str], None]) -> Result:
    """Runs `consul ARGS` on the host. The token goes over stdin, so it is in no argument list and no environment."""
    token = [remote.token.encode()] if remote.token else []
    env = ["CONSUL_HTTP_TOKEN_FILE=/dev/stdin"] if token else []
    return remote.run(["env", *env, "/usr/local/bin/consul", *args], token, on_line=on_line, limit=WATCHED)
