"""demo and test: deploy the lab's cluster on this machine, and run the tests."""

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

from ...core.model.cluster import Cluster
from ...core.resources import INSTALLED, ROOT
from ..console.command import command
from ..console.inputs import load_with_services, select_hosts
from ..console.output import say

if TYPE_CHECKING:
    from ...core.model.service import Services

FAST = ("tests/unit", "tests/shell", "-p", "no:cacheprovider")  # the tests that need no lab
NOTHING_COLLECTED = 5  # pytest's exit code where --only selects no test of a folder


@command()
def demo(c: Context, debug: bool = False) -> None:
    """Start the lab on this machine, deploy the cluster and its services to it, and check them. Minutes the first time."""
    from ...lab import home, nodes
    from ...lab import service_image as images
    from ..flows.deploy import run_deploy
    from .health import status, verify

    nodes.up(lambda text: say(f"lab: {text}"))
    images.ensure(images.workers())
    shipped = str(home.inventory())
    cluster, services = load_with_services(shipped)
    run_deploy(cluster, services, select_hosts(cluster, "all"), yes=True, what="demo")
    status(c, inventory_=shipped)
    verify(c, inventory_=shipped)
    _request_services(cluster, services)
    if INSTALLED:
        say(f"the lab's hosts.yml and services.yml are in {home.home()}: go there for")
    say("next: ./inv status, ./inv plan, ./inv add-worker 127.0.7.7; ./inv lab.down takes it all away")


def _request_services(cluster: Cluster, services: Services) -> None:
    """Requests each service through the balancer, as its users do. Exit code 1 for an answer other than 200."""
    from ...drills.course.load_connections import LoadTarget, context_for, fetch

    balancer = cluster.having("loadbalancer")[0]
    for service in services:
        if service.domain:
            target = LoadTarget(balancer.ssh, service.domain, service.path)
            status, body = fetch(target, context_for(target))
            text = body.decode("utf-8", "replace").strip()
            print(f"https://{service.domain}{service.path} by way of {balancer.name}: {status} {text}")
            if status != 200:
                raise Exit(code=1)


def _ensure_nft() -> None:
    """The tests check the firewall's rules and the drills' tables with nft itself, and are skipped without it."""
    from ...lab import debian_packages as packages

    if shutil.which("nft", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None and packages.can_install():
        packages.install(["nftables"], lambda text: say(f"test: {text}"))


@command(checkout_only=True, help={"unit": "only the tests that need no lab", "only": "pytest's -k expression",
               "long": "also those that try more of the same in the lab; minutes more"})  # fmt: skip
def test(c: Context, unit: bool = False, only: str = "", long: bool = False) -> None:
    """Run linters, types and tests. The lab's tests rebuild the lab, and take it down at the end."""
    _ensure_nft()
    pytest = [sys.executable, "-m", "pytest", *(["-k", only] if only else [])]
    if not only:
        _exit_on_failure(subprocess.call([sys.executable, "-m", "ruff", "check", "."], cwd=ROOT))
    local = [*([] if only else [[sys.executable, "-m", "mypy"]]), [*pytest, *FAST]]
    if unit:
        for argv in local:
            _exit_on_failure(subprocess.call(argv, cwd=ROOT))
        return
    # the lab's tests wait most of the time: the others run in parallel, and their output comes afterwards
    with tempfile.TemporaryFile() as output:
        argv = ["nice", "-n", "19", "sh", "-c", " && ".join(map(shlex.join, local))]
        background = subprocess.Popen(argv, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            marks = "not arm64" if long else "not arm64 and not long"
            lab = subprocess.call([*pytest, "tests/lab", "-m", marks, "--durations=40"], cwd=ROOT)
            codes = (lab, background.wait())
        finally:
            with suppress(ProcessLookupError):
                os.killpg(background.pid, signal.SIGKILL)
        output.seek(0)
        print(output.read().decode("utf-8", "replace"), flush=True)
    for code in codes:
        if code != NOTHING_COLLECTED:
            _exit_on_failure(code)


def _exit_on_failure(code: int) -> None:
    if code:
        raise Exit(code=code)
