"""Connections that are made by many threads at once."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fabric import Config

from fabfile.core.model.cluster import Cluster, Host, SshDefaults
from fabfile.edge.ssh.connect import new_connection
from fabfile.edge.ssh.fabric_connection import new_fabric_connection


def test_a_new_connection_leaves_the_shared_configuration_alone() -> None:
    """Fabric would merge it again, and it would be empty for that moment."""
    config = Config()
    merged = config._config
    assert new_fabric_connection("192.0.2.1", user="root", config=config).inline_ssh_env is True
    assert config._config is merged


def test_many_threads_connect_with_one_configuration(tmp_path: Path) -> None:
    """Thousands of times, with threads that switch as often as they can: no connection finds it empty."""
    hosts = tuple(Host(f"h{n}", f"192.0.2.{n}", ("worker",)) for n in range(1, 200))
    ssh = SshDefaults(known_hosts=tmp_path / "known_hosts", use_config=False)
    cluster = Cluster("prod", hosts, tmp_path / "hosts.yml", tmp_path / "state", "dc1", ssh=ssh)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(16) as pool:
            made = list(pool.map(lambda host: new_connection(cluster, host).port, hosts * 5))
    finally:
        sys.setswitchinterval(before)
    assert set(made) == {22}
