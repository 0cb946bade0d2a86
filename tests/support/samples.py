"""A cluster, its binaries, manifests and facts, as values for the tests of `core` and others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from fabfile.core.judge.acl import token_names
from fabfile.core.model.cluster import Arch, Cluster, Host
from fabfile.core.model.secrets import KeyPair, Secrets, Token
from fabfile.core.state.agents import AgentProgram
from fabfile.core.state.artifacts import Artifact, Program
from fabfile.core.state.desired import ClusterContext, desired
from fabfile.core.state.facts import Facts, FileFact, UnitFact
from fabfile.core.state.manifest import Manifest
from fabfile.core.state.topology import Address
from tests.support.script_host import sha

HOSTS = (
    Host("m1", "192.0.2.1", ("manager",), labels={"zone": "a", "disk": "ssd"}, advertise="203.0.113.1"),
    Host("w1", "192.0.2.2", ("worker",), labels={"zone": "b"}),
    Host("lb1", "192.0.2.3", ("loadbalancer",)),
    Host("mw1", "192.0.2.4", ("manager", "worker"), primary=True),
    Host("all1", "192.0.2.5", ("manager", "worker", "loadbalancer"), advertise="203.0.113.5"),
)
CLUSTER = Cluster("prod", HOSTS, Path("/ops/hosts.yml"), Path("/ops/.nexus/prod"), "dc1")
ADDRESSES = {
    "m1": Address("10.0.0.1", "203.0.113.1"), "w1": Address("10.0.0.2", "10.0.0.2"),
    "lb1": Address("10.0.0.3", "10.0.0.3"), "mw1": Address("10.0.0.4", "10.0.0.4"),
    "all1": Address("10.0.0.5", "203.0.113.5"),
}  # fmt: skip
SECRETS = Secrets(
    "Z29zc2lw" * 5 + "Z28=", KeyPair("CA CERT\n", "CA KEY\n"), ("CA CERT\n",),
    {h.name: KeyPair(f"CERT {h.name}\n", f"KEY {h.name}\n") for h in HOSTS},
    {name: Token(f"accessor {name}", f"token-of-{name}") for h in HOSTS for name in token_names(h)},
)  # fmt: skip
AGENTS = AgentProgram("a9" * 32, Path("/cache/agents.gz"), "0.1.0+sample")
CONTEXT = ClusterContext(CLUSTER, "0123456789abcdef", ADDRESSES, SECRETS, AGENTS)
VERSIONS = {"1.8.7": (1, 8, 7), "1.17.0": (1, 17, 0), "1.22.7": (1, 22, 7)}


def cluster_of(**roles: str) -> Cluster:
    """`cluster_of(m1="manager worker")`: hosts in that order, each with another address."""
    hosts = tuple(
        Host(name, f"192.0.2.{n}", tuple(words.split()))  # type: ignore[arg-type]
        for n, (name, words) in enumerate(roles.items(), 1)
    )
    return Cluster("prod", hosts, Path("/ops/hosts.yml"), Path("/ops/.nexus/prod"), "dc1")


def artifact(program: Program, version: str, arch: Arch = "amd64") -> Artifact:
    """A build without bytes; its sum is made from program, version and arch."""
    release = tuple(int(n) for n in version.split("."))
    digest = sha(f"{program} {version} {arch}".encode())
    return Artifact(
        program, (release[0], release[1], release[2]), version, arch, digest, 1000, Path(f"/cache/{digest}.gz"),
        sha(digest.encode()), 500, f"HashiCorp's release {version}",
    )  # fmt: skip


def wanted(name: str, version: str = "1.22.7", arch: Arch = "amd64", context: ClusterContext = CONTEXT) -> Manifest:
    binaries = {"consul": artifact("consul", version, arch), "caddy": artifact("caddy", "2.11.2", arch)}
    return desired(context, context.cluster.host(name), binaries)  # type: ignore[arg-type]


def bare_facts(**changes: Any) -> Facts:
    """A Debian host that meets the requirements and has nothing of ours."""
    facts = Facts(
        machine="x86_64", bits=64, os_id="debian", os_version="12", os_name="Debian GNU/Linux 12 (bookworm)",
        cpus=2, memory_kb=2_000_000, disk_kb=10_000_000, python=(3, 11, 2), systemd=252, now=1_700_000_000.0,
        boot_id="b", addresses=(("eth0", "10.0.0.9"),), default_device="eth0", ssh_client=None, ssh_port=None, ufw=False,
        users=frozenset({"root"}), files={},
        not_regular=frozenset(), units={}, stamps={}, store=frozenset(), current=None, manifest=Manifest(), previous=None,
        pending=None, lock=None,
    )  # fmt: skip
    return replace(facts, **changes)


def active(enabled: bool = True) -> UnitFact:
    return UnitFact("loaded", "active", "running", enabled)


def facts_of(manifest: Manifest, **changes: Any) -> Facts:
    """What the probe sees on a host that has exactly this generation."""
    files = {f.path: FileFact(f.sha256, f.mode, f.owner, f.group, len(f.content or b""), f.content) for f in manifest.files}
    facts = bare_facts(
        users=frozenset({"root", *(a.name for a in manifest.accounts)}), files=files,
        units={u.name: active() for u in manifest.units}, stamps={u.name: u.stamp for u in manifest.units},
        store=frozenset(f.sha256 for f in manifest.files), current=manifest.id, manifest=manifest,
    )  # fmt: skip
    return replace(facts, **changes)
