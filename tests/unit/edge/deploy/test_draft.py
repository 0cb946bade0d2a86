"""The deciding half of a deploy: where it has its knowledge from."""

from __future__ import annotations

from pathlib import Path

from fabfile.core.model.service import Check, Service, Services
from fabfile.edge.deploy.draft import service_ports

OFFERED = Services((Service("web", Check("tcp"), ("x",), port=8080),), Path("services.yml"))
PUBLISHED = {"services": {"api": {"port": 9090}, "cron": {}}}


def test_the_services_ports_are_known_from_the_first_who_knows() -> None:
    """services.yml comes first, then the cluster. Where neither can be asked the ports are unknown, which is not none."""
    assert service_ports(OFFERED, PUBLISHED) == service_ports(OFFERED, None) == (8080,)
    assert service_ports(Services((), Path("services.yml")), PUBLISHED) == ()
    assert service_ports(Services(), PUBLISHED) == (9090,)
    assert service_ports(Services(), {}) == ()
    assert service_ports(Services(), None) is None
