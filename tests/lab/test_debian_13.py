"""A host of Debian 13 among those of Debian 12: it joins as a worker, runs both kinds of services, and heals.

It is the spare, which is as before afterwards. Its image is built once and kept; that takes a minute or two.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from fabfile.core.errors import NexusError
from fabfile.lab import compose, debian_packages, nodes, releases
from fabfile.lab import service_image as images
from fabfile.lab.releases import NoMirror, Releases

from .conftest import Lab, eventually, hosts_of

pytestmark = [pytest.mark.lab, pytest.mark.long]  # a second image is built for it
WORKER = "w3"  # the name that add-worker gives the spare
CLUSTER = next(node.cluster for node in compose.NODES if node.name == compose.SPARE)
_LINE = f"  {WORKER}: {{ssh: 127.0.7.7, roles: [worker]}}"
_SERVICES = f"""
  on13: {{command: [python3, -m, http.server, "8090"], port: 8090, check: {{http: /}}, labels: {{debian: "13"}}}}
  boxed13: {{image: "{images.IMAGE}", port: 8091, target_port: 8081, check: {{http: /health}}, labels: {{debian: "13"}}}}
"""


@pytest.fixture(scope="module")
def mixed_lab(services_lab: Lab) -> Iterator[Lab]:
    """The lab with a seventh host, a worker of Debian 13, and a command and an image that run there only."""
    lab = services_lab
    services, known = (lab.inventory.with_name(name) for name in ("services.yml", "known_hosts"))
    before = {file: file.read_bytes() for file in (lab.inventory, services, known)}
    wanted = releases.choose("", "13", Releases(), releases.own_number(debian_packages.os_release()))
    try:
        nodes.up(print, wanted=wanted)
    except NoMirror as error:
        pytest.skip(error.message)
    except NexusError:
        nodes.up(print, wanted=Releases())
        raise
    try:
        _join(lab)
        services.write_text(services.read_text() + _SERVICES)
        lab.deploy()
        yield lab
    finally:
        try:
            services.write_bytes(before[services])
            _take_away(lab)
        finally:
            for file, old in before.items():
                file.write_bytes(old)
            nodes.up(print, wanted=Releases())
    lab.deploy()  # the others' firewalls forget it
    eventually(lambda: lab.status()["healthy"], 60, lambda: lab.inv("status").stderr)


def _join(lab: Lab) -> None:
    fingerprint = lab.run("spare", "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").split()[1]
    lab.inv_ok("add-worker", "127.0.7.7", "--yes", "--fingerprint", fingerprint)
    text = lab.inventory.read_text()
    assert _LINE in text
    lab.inventory.write_text(text.replace(_LINE, _LINE[:-1] + ', labels: {debian: "13"}}'))
    images.ensure([compose.SPARE])


def _take_away(lab: Lab) -> None:
    """Its services, itself, its name."""
    lab.inv("deploy", "--hosts", "all", "--yes")
    lab.run("spare", "systemctl disable --now nexus-worker consul; systemctl stop 'nexus-svc-*'", check=False)
    for words in (f"force-leave {WORKER}", f"force-leave -prune {WORKER}"):
        lab.consul("m1", words, check=False)


def test_it_is_a_host_like_the_others(mixed_lab: Lab) -> None:
    """Debian 13 with its systemd, Python and Docker; every unit came up; nothing is left to do, and the cluster is well."""
    seen = {host["name"]: host for host in json.loads(mixed_lab.inv("detect", "--json").stdout)["hosts"]}
    assert "13 (trixie)" in seen[WORKER]["os"]
    assert seen[WORKER]["python"].startswith("3.13")
    assert (seen[WORKER]["systemd"], seen[WORKER]["docker"]) == (257, "ready")
    assert mixed_lab.run("spare", "systemctl list-units --failed --plain --no-legend") == ""
    eventually(lambda: mixed_lab.status()["healthy"], 60, lambda: mixed_lab.inv("status").stderr)
    assert mixed_lab.inv("plan").returncode == 0
    assert "nexus" in mixed_lab.run("spare", "nft list tables")


def test_it_runs_a_command_and_an_image(mixed_lab: Lab) -> None:
    """Both by their label, both passing, both reached from another host of the cluster."""
    eventually(lambda: mixed_lab.inv("service.list").returncode == 0, 60, lambda: mixed_lab.inv("service.list").stdout)
    for name, port, answer in (("on13", 8090, "Directory listing"), ("boxed13", 8091, "hello from a container")):
        assert hosts_of(mixed_lab, name) == [WORKER]
        assert answer in mixed_lab.run("m1", f"curl -sf -m 5 http://{CLUSTER}:{port}/")


@pytest.mark.parametrize("service", ["boxed13", pytest.param("on13", marks=pytest.mark.long)])
def test_a_killed_instance_on_it_is_back_in_time(mixed_lab: Lab, service: str) -> None:
    """A drill as on any other host: PASS, and no fault is left there."""
    eventually(lambda: mixed_lab.inv("service.list").returncode == 0, 60, lambda: mixed_lab.inv("service.list").stdout)
    target = ("--no-load", "--target", f"service:{service}")
    done = mixed_lab.inv("chaos.kill-service", "--yes", "--json", *target, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads(done.stdout)
    assert record["verdict"] == "PASS"
    assert 0 < record["recovered_s"] <= 10
    assert mixed_lab.run("spare", "ls /var/lib/nexus/faults 2>/dev/null", check=False) == ""


@pytest.mark.long
def test_it_comes_back_from_a_reboot(mixed_lab: Lab) -> None:
    """With nobody's help: its rules, its agents, and the command that it ran."""
    subprocess.run(["docker", "restart", compose.container(compose.SPARE)], check=True, capture_output=True)
    eventually(lambda: "Directory listing" in mixed_lab.run("m1", f"curl -sf -m 2 http://{CLUSTER}:8090/"), 60)
    images.ensure([compose.SPARE])  # starts Docker, which no boot of a lab's node does
    eventually(lambda: mixed_lab.status()["healthy"], 60, lambda: mixed_lab.inv("status").stderr)
    eventually(lambda: mixed_lab.inv("service.list").returncode == 0, 60)
    assert mixed_lab.inv("plan").returncode == 0
