"""Deploys while a manager is dead, and clusters that grow by managers, under load. Real servers, real quorums."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fabfile.drills.course.load import Load, LoadTarget

from .conftest import ROOT, Lab, eventually, services, wipe

pytestmark = pytest.mark.lab
HELLO = LoadTarget("127.0.7.6", "hello.lab.test")


def voters(lab: Lab, host: str = "m1") -> set[str]:
    """Who votes, by Consul itself."""
    rows = lab.consul(host, "operator raft list-peers").splitlines()[1:]
    return {row.split()[0] for row in rows if row.split()[4] == "true"}


@pytest.fixture
def without_m3(services_lab: Lab) -> Iterator[Lab]:
    services_lab.run("m3", "systemctl stop nexus-orchestrator consul")
    eventually(lambda: "failed" in services_lab.run("m1", "consul members | grep '^m3 '"), 30)
    yield services_lab
    services_lab.run("m3", "systemctl start consul nexus-orchestrator")
    eventually(lambda: services_lab.status()["healthy"], 60)


def test_a_dead_manager_blocks_no_deploy(without_m3: Lab, tmp_path: Path) -> None:
    """A change of another manager's settings goes through, and says who is ill; so does a change of the services."""
    lab = without_m3
    labelled = lab.variant(tmp_path, "roles: [manager, worker]", "roles: [manager, worker], labels: {disk: fast}")
    output = labelled.inv_ok("deploy", "--hosts", "m1", "--yes")
    assert "m3 its Consul does not run; it was so before" in " ".join(output.split())
    assert "label_disk" in lab.run("m1", "cat /etc/consul.d/consul.hcl")
    lab.inv_ok("deploy", "--hosts", "m1", "--yes")
    assert "label_disk" not in lab.run("m1", "cat /etc/consul.d/consul.hcl")


def test_services_are_published_by_a_manager_that_answers(services_lab: Lab) -> None:
    """m1 answers by SSH and its Consul does not: another manager takes the change."""
    lab = services_lab
    lab.run("m1", "systemctl stop consul")
    try:
        lab.inv_ok("service.scale", "hello", "1", "--yes")
        eventually(lambda: services(lab)["hello"]["wanted"] == 1, 10)
    finally:
        lab.run("m1", "systemctl start consul")
    lab.inv_ok("service.scale", "hello", "2", "--yes")
    eventually(lambda: lab.status()["healthy"], 60)


@pytest.mark.long
def test_three_managers_become_five_and_three_again(services_lab: Lab, tmp_path: Path) -> None:
    """Two workers become managers as well, in one deploy, and no request fails; the way back is one deploy, too."""
    lab = services_lab
    before = lab.inventory.read_text()
    lab.inventory.write_text(before.replace("roles: [worker]", "roles: [manager, worker]"))
    try:
        with Load(HELLO, rate=10) as load:
            lab.deploy()
            assert voters(lab) == {"m1", "m2", "m3", "w1", "w2"}
            assert lab.status()["healthy"]
    finally:
        lab.inventory.write_text(before)
    lab.deploy()
    eventually(lambda: voters(lab) == {"m1", "m2", "m3"}, 60)
    eventually(lambda: lab.status()["healthy"], 60)
    assert not load.failed(), load.failed()[:5]
    assert len(load.samples) > 50


@pytest.fixture
def one_host(fresh_lab: Lab, tmp_path: Path) -> Iterator[Lab]:
    """A cluster of its own on m1 alone, with every role; afterwards all hosts are bare, and the shipped one is deployed."""
    wipe(fresh_lab)
    home = tmp_path / "one"
    home.mkdir()
    shutil.copy(fresh_lab.inventory.parent / "known_hosts", home / "known_hosts")
    (home / "services.yml").write_text((ROOT / "services.yml").read_text().replace("replicas: 2", "replicas: 1"))
    text = fresh_lab.inventory.read_text()
    (home / "hosts.yml").write_text(text.partition("\nhosts:")[0] + _hosts(["m1"]))
    yield Lab(home / "hosts.yml")
    wipe(fresh_lab)
    shutil.rmtree(fresh_lab.state, ignore_errors=True)
    fresh_lab.deploy()


def _hosts(managers: list[str]) -> str:
    """An inventory's hosts: m1 with every role, the others managers only."""
    ssh = {"m1": 1, "m2": 2, "m3": 3, "w1": 4, "w2": 5}
    roles = {name: "manager, worker, loadbalancer" if name == "m1" else "manager" for name in managers}
    user = {"w2": ", user: ops"}
    lines = [f"  {n}: {{ssh: 127.0.7.{ssh[n]}, roles: [{roles[n]}]{user.get(n, '')}}}" for n in managers]
    return "\nhosts:\n" + "\n".join(lines) + "\n"


@pytest.mark.long
def test_one_host_grows_to_three_and_to_five(one_host: Lab) -> None:
    """From one machine to high availability: a deploy each, under load, and no request fails."""
    lab = one_host
    lab.deploy()
    head = lab.inventory.read_text().partition("\nhosts:")[0]
    with Load(LoadTarget("198.18.7.11", "hello.lab.test"), rate=10) as load:
        for managers in (["m1", "m2", "m3"], ["m1", "m2", "m3", "w1", "w2"]):
            lab.inventory.write_text(head + _hosts(managers))
            lab.deploy()
            assert voters(lab) == set(managers)
            assert lab.status()["healthy"]
    assert not load.failed(), load.failed()[:5]
    assert len(load.samples) > 50


@pytest.mark.long
def test_growing_is_continued_where_it_was_cut_off(one_host: Lab) -> None:
    """The deploy from one manager to three is killed again and again, later each time; the last one finishes it."""
    lab = one_host
    lab.deploy()
    head = lab.inventory.read_text().partition("\nhosts:")[0]
    lab.inventory.write_text(head + _hosts(["m1", "m2", "m3"]))
    for seconds in (2.0, 4.0, 6.0, 8.0):
        running = lab.start_inv("deploy", "--hosts", "all", "--yes")
        time.sleep(seconds)
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        lab.inv("unlock", "--yes")
    lab.deploy()
    eventually(lambda: voters(lab) == {"m1", "m2", "m3"}, 60)  # the last one may have had nothing left to do
    eventually(lambda: lab.status()["healthy"], 60)
