"""ui and consul: Consul's web UI, API and commands, through SSH and with the right token."""

from __future__ import annotations

import socket
import sys
import time

from invoke.context import Context
from invoke.exceptions import Exit

from ...core.errors import InputError, Refused
from ..console.command import command
from ..console.inputs import load_inventory
from ..console.output import say


@command(help={"port": "local port (default: 8500, or the next free one)", "host": "which manager (default: any)"})
def ui(c: Context, host: str = "", port: int = 0, inventory_: str = "", debug: bool = False) -> None:
    """Open Consul's UI and API on a local port, through SSH, until Ctrl-C."""
    from ...edge.consul.tunnels import forwarded_port, open_manager
    from ...edge.disk.vault import FILE

    cluster = load_inventory(inventory_)
    local = _free_port(port)
    with open_manager(cluster, host) as remote, forwarded_port(remote, local):
        say(f"Consul of {cluster.name}, by way of {remote.host.name}:  http://127.0.0.1:{local}/ui/")
        say(f'Log in (top right) with the token named "management" in {cluster.state / FILE}')
        say("A build without a web UI (Debian's 1.8.7) answers at /v1/ only. Ctrl-C closes the tunnel.")
        try:
            while not remote.is_lost:
                time.sleep(0.5)
        except KeyboardInterrupt:
            say("closed")
            return
    raise Refused("the connection was lost", "inv ui opens it again")


def _free_port(wanted: int) -> int:
    """The wanted port, or the first free one from 8500 on. InputError: it is taken, or no port."""
    if wanted > 65535:
        raise InputError([f"--port {wanted}: is not a port (1-65535)"], "leave it out for 8500, or the next free one")
    for port in [wanted] if wanted else range(8500, 8520):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise InputError([f"--port: {wanted or '8500-8519'} is taken on this machine"], "name a free one: --port 18500")


@command(help={"host": "on which host (default: any manager)"})
def consul(c: Context, host: str = "", inventory_: str = "", debug: bool = False) -> None:
    """Run a Consul command on the cluster with its token: inv consul -- members -detailed."""
    from ...edge.consul.tunnels import open_manager, run_consul

    arguments = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    if not arguments:
        raise InputError(["consul: no command given"], "inv consul -- members")
    with open_manager(load_inventory(inventory_), host) as remote:
        result = run_consul(remote, arguments, print)
    if result.err:
        print(result.err, end="", file=sys.stderr)
    if result.code:
        raise Exit(code=result.code)
