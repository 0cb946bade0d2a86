"""The lab's pure parts: the Compose file, known_hosts, the image recipe, os-release and apt's mirrors."""

from __future__ import annotations

import ipaddress
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from fabfile.core.resources import ROOT
from fabfile.edge.artifacts.debian import parse_sites
from fabfile.lab import compose, daemon, keys
from fabfile.lab import debian_packages as packages
from fabfile.lab import node_image as image
from fabfile.lab import service_image as images

HOSTS = ROOT / "hosts.yml"


def rendered() -> dict[str, Any]:
    return dict(yaml.safe_load(compose.render("nexus-lab-node:x")))


def test_compose_names_every_node_once_with_addresses_of_its_own() -> None:
    """Each node has its own SSH and cluster address, and the latter is in a network reserved for tests."""
    services = rendered()["services"]
    ports = [port for service in services.values() for port in service["ports"]]
    addresses = [service["networks"]["nodes"]["ipv4_address"] for service in services.values()]
    assert list(services) == ["m1", "m2", "m3", "w1", "w2", "lb1", "spare"]
    assert len(set(ports)) == len(ports)
    assert all(port.startswith("127.0.7.") for port in ports)
    assert len(set(addresses)) == 7
    subnet = ipaddress.IPv4Network(compose.SUBNET)
    assert subnet.subnet_of(ipaddress.IPv4Network("198.18.0.0/15"))
    assert all(ipaddress.ip_address(address) in subnet for address in addresses)


def test_compose_publishes_the_web_of_the_balancer_only() -> None:
    """lb1 publishes ports 80 and 443 at its own address; the others publish only SSH."""
    services = rendered()["services"]
    assert services["lb1"]["ports"] == ["127.0.7.6:22:22", "127.0.7.6:80:80", "127.0.7.6:443:443"]
    assert services["m1"]["ports"] == ["127.0.7.1:22:22"]


@pytest.mark.parametrize("name", [node.name for node in compose.NODES])
def test_no_node_is_privileged_or_shares_the_machines_cgroups(name: str) -> None:
    """A node has a private cgroup tree, and neither the machine's cgroups nor its devices."""
    service = rendered()["services"][name]
    assert "privileged" not in service
    assert service["cgroup"] == "private"
    assert service["cap_drop"] == ["SYS_RESOURCE"]
    assert not [volume for volume in service["volumes"] if volume.startswith("/")]


def test_compose_is_the_same_for_the_same_image() -> None:
    """Rendering twice gives equal bytes; otherwise Compose would replace every node at the second `up`."""
    assert compose.render("a") == compose.render("a")


def test_the_lab_holds_the_hosts_of_the_shipped_inventory() -> None:
    """Every host of hosts.yml is a trusted lab node with the same address, and its user may log in there."""
    shipped = yaml.safe_load(HOSTS.read_text())
    nodes = {node.name: node for node in compose.NODES}
    for name, host in shipped["hosts"].items():
        assert nodes[name].ssh == host["ssh"]
        assert nodes[name].trusted
        assert host.get("user", shipped["defaults"]["user"]) in nodes[name].users


def test_known_hosts_leaves_the_spare_out() -> None:
    """Each trusted node has one line without a comment; the spare, which add-worker pins, has none."""
    host_keys = {node.name: f"ssh-ed25519 KEY-{node.name} root@{node.name}" for node in compose.NODES}
    lines = keys.known_hosts(host_keys).splitlines()
    assert lines[0] == "127.0.7.1 ssh-ed25519 KEY-m1"
    assert len(lines) == 6
    assert "127.0.7.7" not in "".join(lines)


def test_known_hosts_keeps_what_was_pinned_since() -> None:
    """The spare that the cluster has grown by stays known, by the key that it has now; and so does a stranger's line."""
    host_keys = {node.name: f"ssh-ed25519 KEY-{node.name} root@{node.name}" for node in compose.NODES}
    before = keys.known_hosts(host_keys) + "127.0.7.7 ssh-ed25519 OLD\n@revoked 127.0.7.1 ssh-rsa R\n10.0.0.9 ssh-rsa X\n"
    assert keys.pinned(before) == ("spare",)
    known = keys.known_hosts(host_keys, before)
    kept = ["127.0.7.7 ssh-ed25519 KEY-spare", "@revoked 127.0.7.1 ssh-rsa R", "10.0.0.9 ssh-rsa X"]
    assert known.splitlines()[6:] == kept
    assert keys.known_hosts(host_keys, known) == known
    assert keys.pinned(keys.known_hosts(host_keys)) == ()


def test_the_image_goes_where_the_service_may(tmp_path: Path) -> None:
    """To the workers as shipped, and to the spare once it is one."""
    assert images.workers(tmp_path) == ("m1", "w1", "w2")
    keys.known_hosts_file(tmp_path).write_text("127.0.7.7 ssh-ed25519 K\n")
    assert images.workers(tmp_path) == ("m1", "w1", "w2", "spare")


def test_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    """The second call gives the same key, and a lost public half is derived again."""
    first = keys.ensure_key(tmp_path)
    keys.key_file(tmp_path).with_suffix(".pub").unlink()
    assert keys.ensure_key(tmp_path) == first
    assert first.startswith("ssh-ed25519 ")
    assert keys.key_file(tmp_path).stat().st_mode & 0o777 == 0o600


def test_write_leaves_an_equal_file_alone(tmp_path: Path) -> None:
    """Writing the same text again does not touch the file."""
    file = tmp_path / "known_hosts"
    keys.write(file, "a\n")
    before = file.stat().st_mtime_ns
    keys.write(file, "a\n")
    assert file.stat().st_mtime_ns == before
    keys.write(file, "b\n")
    assert file.read_text() == "b\n"
    assert list(tmp_path.iterdir()) == [file]


def test_sites_are_unique_with_debian_first() -> None:
    """A mirror that many indices name appears once, and one without Debian's pool comes last."""
    lines = [
        "Node Source|https://node.example/",
        "Debian|http://a.example/debian/",
        "Debian|http://a.example/debian",
        "$(ORIGIN)|http://b.example/debian-security/",
    ]
    sites = parse_sites(lines, lambda _: [])
    assert sites == ("http://a.example/debian", "http://b.example/debian-security", "https://node.example")


def test_sites_follow_a_mirror_list_and_drop_what_cannot_be_fetched() -> None:
    """A mirror+file entry means the mirrors in that file; cdrom and file sources are left out."""
    lists = {Path("/etc/apt/mirrors/debian.list"): ["https://a.example/debian priority:1", "file:/srv"]}
    lines = ["Debian|mirror+file:/etc/apt/mirrors/debian.list", "Debian|cdrom:[x]", ""]
    assert parse_sites(lines, lambda path: lists[path]) == ("https://a.example/debian",)


@pytest.mark.parametrize(
    ("text", "like"),
    [
        ("ID=debian\nVERSION_CODENAME=bookworm\n", True),
        ('# x\nID="linuxmint"\nID_LIKE="ubuntu debian"\n', True),
        ("ID=fedora\n", False),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', False),
        ("", False),
    ],
)
def test_debian_like_systems_are_recognized(text: str, like: bool) -> None:
    """Packages are installed only where apt is the system's package manager."""
    assert packages.is_debian_like(packages.parse_os_release(text)) is like


def test_image_recipe_is_one_for_both_builders() -> None:
    """Both builders install the same packages and run the same setup script."""
    command = " ".join(image.bootstrap_command("bookworm"))
    for package in (*image.PACKAGES, "?exact-name(docker-cli)"):  # from Debian 13 on docker.io comes without its client
        assert package in command
        assert package in image.dockerfile()
    for text in (command, image.dockerfile()):
        assert "setup.sh /root/nexus-lab" in text
    assert image.tag() == image.tag()


@pytest.mark.parametrize("content", [None, "", "no number", "1", "4194304"])
def test_only_our_own_dockerd_has_a_pid(tmp_path: Path, content: str | None) -> None:
    """A missing, broken or stale pid file, or one that names another program, means that our dockerd does not run."""
    if content is not None:
        (tmp_path / "dockerd.pid").write_text(content)
    assert daemon.our_pid(tmp_path) is None


def test_the_power_comes_back_by_a_process_that_runs_nothing_else(tmp_path: Path) -> None:
    """At its time, by Docker's own command, and with no Python file of the current folder."""
    (tmp_path / "random.py").write_text("raise SystemExit(1)")
    (tmp_path / "docker").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/called\n')
    (tmp_path / "docker").chmod(0o755)
    order = tmp_path / "m1.json"
    order.write_text(json.dumps({"host": "m1", "until": 0}))
    argv = [sys.executable, "-I", str(ROOT / "fabfile/lab/restore_power.py"), str(order), compose.container("m1")]
    subprocess.run(argv, cwd=tmp_path, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=True, timeout=20)
    assert (tmp_path / "called").read_text() == f"start {compose.container('m1')}\n"
    assert not order.exists()
