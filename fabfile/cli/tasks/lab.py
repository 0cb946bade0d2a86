"""lab.*: the lab, containers on this machine that behave like servers."""

from __future__ import annotations

import dataclasses
import shutil
import sys

from invoke.context import Context

from ...core.errors import NexusError, Refused
from ..console.command import command
from ..console.output import confirm, print_json, show_errors, table


def _say(text: str) -> None:
    print(f"lab: {text}", file=sys.stderr, flush=True)


@command(help={"debian": "the Debian of all nodes: 12 or 13 (default: as they are; a new lab has this machine's own system)",
               "spare_debian": "the spare's alone; what is on it goes"})  # fmt: skip
def up(c: Context, debian: str = "", spare_debian: str = "", yes: bool = False, debug: bool = False) -> None:
    """Start the lab, or repair it; changes nothing in a complete lab."""
    from ...lab import debian_packages, nodes, releases
    from ...lab import service_image as images

    releases.check("--debian", debian)
    releases.check("--spare-debian", spare_debian)
    there = nodes.releases_there()
    own = releases.own_number(debian_packages.os_release())
    wanted = releases.choose(debian, spare_debian, there, own)
    if there and there.nodes != wanted.nodes:
        raise Refused(f"the lab's nodes run {releases.words(there.nodes)}, and a cluster may be on them",
                      f"inv lab.down takes them away; then: inv lab.up --debian {debian}")  # fmt: skip
    if there and there.spare != wanted.spare:
        confirm(f"Replace the spare, which runs {releases.words(there.spare)}, and all that is on it?", yes)
    nodes.up(_say, wanted=wanted)
    try:
        images.ensure(images.workers())
    except NexusError as error:  # the hosts are there, and all but one of the shipped services can run
        show_errors(error)
        _say(f"warning: no image {images.IMAGE} on the nodes: a deploy of the shipped services.yml will miss it")
    other = "" if wanted.spare == wanted.nodes else f", {releases.words(wanted.spare)},"
    _say(f"up: m1 m2 m3 w1 w2 lb1, and spare (127.0.7.7){other} to grow by")


@command()
def down(c: Context, debug: bool = False) -> None:
    """Remove the lab's nodes and all that is on them, and stop Docker if lab.up started it."""
    from ...lab import nodes

    nodes.down(_say)
    shutil.rmtree(nodes.STATE.parent / "lab", ignore_errors=True)  # the cluster of hosts.yml is gone with its hosts
    _say("down")


@command()
def status(c: Context, json: bool = False, debug: bool = False) -> None:
    """Show the lab's nodes and their addresses."""
    from ...lab import nodes

    node_list = nodes.status()
    if json:
        print_json([dataclasses.asdict(node) for node in node_list])
        return
    table(["node", "state", "ssh", "cluster"], [[n.name, n.state, n.ssh, n.cluster] for n in node_list])
