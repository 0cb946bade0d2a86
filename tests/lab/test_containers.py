"""Services in containers: their engine, their images, their checks, and what is the operator's own beside them."""

from __future__ import annotations

import json

import pytest

from .conftest import Lab, hosts_of

pytestmark = pytest.mark.lab


def test_a_missing_client_is_seen_before_a_service_needs_it(services_lab: Lab) -> None:
    """Docker without its client, as on a Debian 13: detect and plan name the host. What runs goes on."""
    [host] = hosts_of(services_lab, "boxed")
    services_lab.run(host, "mv /usr/bin/docker /usr/bin/docker.off")
    try:
        seen = {h["name"]: h["docker"] for h in json.loads(services_lab.inv("detect", "--json").stdout)["hosts"]}
        assert seen[host] == "clientless"
        assert f"the client /usr/bin/docker on {host}" in services_lab.inv("plan").stdout
        assert hosts_of(services_lab, "boxed") == [host]
    finally:
        services_lab.run(host, "mv /usr/bin/docker.off /usr/bin/docker")
    assert services_lab.inv("plan").returncode == 0


@pytest.mark.long
def test_a_deploy_brings_a_missing_client_back(services_lab: Lab) -> None:
    """Needs the host's package sources. No container is restarted for it."""
    [host] = hosts_of(services_lab, "boxed")
    if "apt-get: ok" not in services_lab.run(host, "apt-get update -qq >/dev/null 2>&1 && echo apt-get: ok", check=False):
        pytest.skip("no package sources from a lab host")
    before = services_lab.run(host, "docker inspect -f '{{.State.Pid}}' nexus-svc-boxed")
    services_lab.run(host, "mv /usr/bin/docker /usr/bin/docker.off")
    try:
        services_lab.deploy()
        assert services_lab.run(host, "docker inspect -f '{{.State.Pid}}' nexus-svc-boxed") == before
    finally:
        services_lab.run(host, "[ -e /usr/bin/docker ] || cp /usr/bin/docker.off /usr/bin/docker; rm -f /usr/bin/docker.off")
    assert services_lab.inv("plan").returncode == 0
