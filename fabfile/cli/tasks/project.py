"""demo and test: the two commands of a fresh machine."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit

from ...core.errors import Refused
from ...core.model.cluster import Cluster
from ...core.resources import INSTALLED, ROOT
from ..console.command import command
from ..console.inputs import chosen, with_services
from ..console.output import say

if TYPE_CHECKING:
    from ...core.model.service import Services

FAST = ("tests/unit", "tests/shell", "-p", "no:cacheprovider")  # the tests that need no lab
NOTHING_COLLECTED = 5  # pytest's word where --only chose none of a folder


@command()
def demo(c: Context, debug: bool = False) -> None:
    """Start the lab on this machine, deploy the cluster and its services to it, and check them. Minutes the first time."""
    from ...lab import home, nodes
    from ...lab import service_image as images
    from ..flows.deploy import run_deploy
    from .health import status, verify

    nodes.up(lambda words: say(f"lab: {words}"))
    images.ensure()
    shipped = str(home.inventory())
    cluster, offered = with_services(shipped)
    run_deploy(cluster, offered, chosen(cluster, "all"), yes=True, what="demo")
    status(c, inventory_=shipped)
    verify(c, inventory_=shipped)
    _ask_the_services(cluster, offered)
    if INSTALLED:
        say(f"the lab's hosts.yml and services.yml are in {home.home()}: go there for")
    say("next: ./inv status, ./inv plan, ./inv add-worker 127.0.7.7; ./inv lab.down takes it all away")


def _ask_the_services(cluster: Cluster, offered: Services) -> None:
    """Each service that the balancer offers, as its users reach it."""
    from ...drills.course.load import LoadTarget, context_for, fetch

    balancer = cluster.having("loadbalancer")[0]
    for service in offered:
        if service.domain:
            load_target = LoadTarget(balancer.ssh, service.domain, service.path)
            status, body = fetch(load_target, context_for(load_target))
            said = body.decode("utf-8", "replace").strip()
            print(f"https://{service.domain}{service.path} by way of {balancer.name}: {status} {said}")
            if status != 200:
                raise Exit(code=1)


def _ensure_nft() -> None:
    """The firewall's rules and the drills' tables are judged by nft itself; without it those tests would be left out."""
    from ...lab import debian_packages as packages

    if shutil.which("nft", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None and packages.can_install():
        packages.install(["nftables"], lambda words: say(f"test: {words}"))


@command(help={"unit": "only the tests that need no lab", "only": "pytest's -k expression",
               "long": "also those that try more of the same in the lab; minutes more"})  # fmt: skip
def test(c: Context, unit: bool = False, only: str = "", long: bool = False) -> None:
    """Run linters, types and tests. Those of the lab take the lab over: they rebuild it, and take it down at the end."""
    if INSTALLED:
        raise Refused("the tests are part of a checkout of the project, and this is an installed copy", "clone the project")
    _ensure_nft()
    pytest = [sys.executable, "-m", "pytest", *(["-k", only] if only else [])]
    if not only:
        _end_with(subprocess.call([sys.executable, "-m", "ruff", "check", "."], cwd=ROOT))
    alone = [*([] if only else [[sys.executable, "-m", "mypy"]]), [*pytest, *FAST]]
    if unit:
        for words in alone:
            _end_with(subprocess.call(words, cwd=ROOT))
        return
    # the lab's tests wait most of the time: the others run beside them, and are told afterwards
    with tempfile.TemporaryFile() as said:
        words = ["nice", "-n", "19", "sh", "-c", " && ".join(map(shlex.join, alone))]
        beside = subprocess.Popen(words, cwd=ROOT, stdout=said, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            marks = "not arm64" if long else "not arm64 and not long"
            lab = subprocess.call([*pytest, "tests/lab", "-m", marks, "--durations=40"], cwd=ROOT)
            codes = (lab, beside.wait())
        finally:
            with suppress(ProcessLookupError):
                os.killpg(beside.pid, signal.SIGKILL)
        said.seek(0)
        print(said.read().decode("utf-8", "replace"), flush=True)
    for code in codes:
        if code != NOTHING_COLLECTED:
            _end_with(code)


def _end_with(code: int) -> None:
    if code:
        raise Exit(code=code)
