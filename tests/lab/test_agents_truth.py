"""What status and deploy say of agents that run and do not work, and of Consul agents that cannot join again."""

from __future__ import annotations

import json
import shlex

import pytest

from .conftest import Lab, eventually, hosts_of, services

pytestmark = pytest.mark.lab


def problems(lab: Lab) -> str:
    return "\n".join(lab.status()["problems"])


def test_a_deleted_token_is_seen_and_put_back(lab: Lab) -> None:
    """status names the deaf agent and the lost token, plan the token; a deploy puts it back, and the agent is heard."""
    accessor = lab.secrets()["tokens"]["worker/w1"]["accessor"]
    lab.consul("m1", f"acl token delete -id {accessor}")
    assert "+ token worker/w1" in problems(lab)
    eventually(lambda: "w1: nexus-worker cannot" in problems(lab), 60, lambda: lab.status()["problems"])
    assert "ACL not found" in problems(lab)
    assert "FAIL  the agents read and write Consul" in lab.inv("verify").stdout
    planned = lab.inv("plan", "--json")
    assert planned.returncode == 2
    assert json.loads(planned.stdout)["acl_drift"] == ["+ token worker/w1"]
    assert "nothing changed" not in lab.deploy()
    eventually(lambda: "w1" not in problems(lab), 60, lambda: lab.status()["problems"])
    assert "nothing changed" in lab.deploy()
    assert "reads and writes Consul" in lab.run("w1", "systemctl show -P StatusText nexus-worker")


_LOSE_FOLDER = "systemctl stop consul; rm -rf /var/lib/consul/*; systemctl start consul"


def node_id(lab: Lab, host: str) -> str:
    """As the catalogue has it."""
    rows = (line.split() for line in lab.consul("m1", "catalog nodes -detailed").splitlines())
    return next(row[1] for row in rows if row[0] == host)


@pytest.mark.parametrize("host", ["m2", "w1"])
def test_a_host_without_its_data_folder_comes_back_as_itself(lab: Lab, host: str) -> None:
    """Wiped, it has the id that it had, is healthy, and logs no refusal; the next deploy finds nothing to change."""
    before = node_id(lab, host)
    lab.run(host, _LOSE_FOLDER)
    eventually(lambda: lab.status()["healthy"], 60, lambda: lab.status()["problems"])
    assert node_id(lab, host) == before
    assert "reserved by node" not in lab.run(host, "journalctl -u consul --since -60s -o cat")
    assert "nothing changed" in lab.deploy()


@pytest.mark.long
def test_an_older_hosts_id_is_kept_and_a_clash_is_told(lab: Lab) -> None:
    """As before an upgrade, Consul made the id: a clash shows in status, the runbook's way out works, and
    from the next deploy on its settings name that id."""
    lab.run("m2", "sed -i /node_id/d /etc/consul.d/consul.hcl; " + _LOSE_FOLDER)
    eventually(lambda: "m2: Consul runs as node" in problems(lab), 60, lambda: lab.status()["problems"])
    lab.run("m2", "systemctl stop consul")
    lab.consul("m1", "force-leave m2")
    lab.run("m2", "systemctl start consul")
    eventually(lambda: lab.status()["healthy"], 60, lambda: lab.status()["problems"])
    own = lab.run("m2", "cat /var/lib/consul/node-id").strip()
    lab.deploy()
    assert own == node_id(lab, "m2")
    assert own in lab.run("m2", "cat /etc/consul.d/consul.hcl")
    assert lab.status()["healthy"]


def test_what_cannot_live_on_its_worker_goes_to_another(services_lab: Lab) -> None:
    """A stranger takes the port while the service is down: within seconds it runs elsewhere, and the reason is in
    service.list, in status and in the history."""
    host = hosts_of(services_lab, "hello")[-1]
    thief = "import socket, time; s = socket.create_server(('', 8080)); time.sleep(600)"  # though connections linger
    services_lab.run(host, "systemctl stop nexus-worker; systemctl stop nexus-svc-hello")
    services_lab.run(host, f"systemd-run --unit=nexus-test-thief python3 -c {shlex.quote(thief)}; sleep 0.5")
    try:
        services_lab.run(host, "systemctl start nexus-worker")
        elsewhere = lambda: len(set(hosts_of(services_lab, "hello")) - {host}) == 2  # noqa: E731  a condition
        eventually(elsewhere, 60, lambda: services(services_lab)["hello"])
        [kept_off] = services(services_lab)["hello"]["kept_off"]
        assert kept_off["host"] == host
        assert "in use" in kept_off["why"]
        assert f"hello is kept off {host} for now" in services_lab.inv("status").stderr
        assert services_lab.status()["healthy"]
        assert f"remove hello on {host}: the worker cannot run it" in services_lab.inv_ok("events")
    finally:
        services_lab.run(host, "systemctl stop nexus-test-thief")
