"""The deciding half of a deploy: where it has its knowledge from, and what it finds to mend."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fabfile.cli.views.plan_view import plan_json, plan_lines
from fabfile.core.config.services import parse
from fabfile.core.model.service import Check, Service, Services
from fabfile.core.state.facts import Docker
from fabfile.core.state.topology import Address
from fabfile.edge.deploy.draft import Draft, _addresses, hosts_without_engine, service_ports
from fabfile.edge.disk.state import State
from tests.support.samples import ADDRESSES, CLUSTER, SECRETS, bare_facts, cluster_of

OFFERED = Services((Service("web", Check("tcp"), ("x",), port=8080),), Path("services.yml"))
PUBLISHED = {"services": {"api": {"port": 9090}, "cron": {}}}


def test_the_services_ports_are_known_from_the_first_who_knows() -> None:
    """services.yml comes first, then the cluster. Where neither can be asked the ports are unknown, which is not none."""
    assert service_ports(OFFERED, PUBLISHED) == service_ports(OFFERED, None) == (8080,)
    assert service_ports(Services((), Path("services.yml")), PUBLISHED) == ()
    assert service_ports(Services(), PUBLISHED) == (9090,)
    assert service_ports(Services(), {}) == ()
    assert service_ports(Services(), None) is None


def test_a_silent_hosts_old_address_is_remembered(tmp_path: Path) -> None:
    """hosts.yml has a new address for a host that does not answer: however often it is planned, the old one is known."""
    cluster, state = cluster_of(m1="manager", w1="worker"), State(tmp_path)
    m1, w1 = (bare_facts(addresses=(("eth0", f"10.0.0.{n}"),)) for n in (1, 2))
    assert _addresses(cluster, {"m1": m1, "w1": w1}, state)[1] == {}
    hosts = tuple(replace(h, address="10.9.9.9") if h.name == "w1" else h for h in cluster.hosts)
    for _ in range(2):
        known, former = _addresses(replace(cluster, hosts=hosts), {"m1": m1}, state)
        assert known["w1"] == Address("10.9.9.9", "10.9.9.9")
        assert former == {"w1": ("10.0.0.2",)}
    assert _addresses(replace(cluster, hosts=hosts), {"m1": m1, "w1": w1}, state)[1] == {}
    assert state.addresses()["w1"].bind == "10.9.9.9"


SERVICES = Path("/ops/services.yml")
BOXED = parse("services: {web: {image: nginx, labels: {zone: b}}}", SERVICES)
PLAIN = parse("services: {web: [python3, -m, http.server]}", SERVICES)


def engines(docker: Docker, services: Services = BOXED) -> tuple[str, ...]:
    facts = {h.name: bare_facts(docker=docker) for h in CLUSTER.hosts}
    return hosts_without_engine(services, CLUSTER.hosts, facts)


@pytest.mark.parametrize("docker", ["none", "clientless"])
def test_a_host_that_may_get_an_image_needs_an_engine_with_its_client(docker: Docker) -> None:
    """Of the workers only w1 has the label; without images nobody needs one."""
    assert engines(docker) == ("w1",)
    assert engines(docker, PLAIN) == ()
    assert engines("ready") == ()


def test_the_plan_tells_a_missing_engine_from_a_missing_client() -> None:
    facts = {"w1": bare_facts(docker="clientless"), "mw1": bare_facts()}
    draft = Draft(CLUSTER, facts, (), ADDRESSES, {}, {}, SECRETS, {}, (), False, engines=("w1", "mw1"))
    text = "\n".join(plan_lines(draft, diffs=False))
    assert "  + package docker.io on mw1\n" in text
    assert "  + the client /usr/bin/docker on w1: Docker is there" in text
    assert plan_json(draft)["engines"] == ["w1", "mw1"]
