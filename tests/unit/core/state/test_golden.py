"""All that is placed on a host, for each mix of roles, Consul version and architecture, compared with tests/golden.

`NEXUS_GOLDEN=write` writes these files again; review the change as a diff, like any other.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from fabfile.core.model.cluster import ARCHES, Arch
from fabfile.core.resources import ROOT
from fabfile.core.state.desired import PATHS, UNITS
from fabfile.core.state.manifest import Manifest, read_manifest
from fabfile.core.state.render import hcl, render
from tests.support.samples import CLUSTER, CONTEXT, VERSIONS, wanted

GOLDEN = ROOT / "tests/golden"
MIXES = {"manager": "m1", "worker": "w1", "loadbalancer": "lb1", "manager-worker": "mw1", "all-roles": "all1"}
SINCE_1_9 = ("ui_config", "grpc_tls", "tls", "request_limits", "peering")


def sections(manifest: Manifest) -> str:
    """Every rendered file under a line with its path and rights; a binary is its sum alone."""
    parts = []
    for file in manifest.files:
        body = file.content.decode() if file.content is not None else f"(binary, {file.note})\n"
        parts.append(f"===== {file.path} {file.mode} {file.owner}:{file.group}\n{body}")
    return "".join(parts)


def assert_golden(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("NEXUS_GOLDEN") == "write":
        path.write_text(text)
    assert path.is_file(), f"{path.name} is missing; NEXUS_GOLDEN=write makes it"
    assert text == path.read_text()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("mix", MIXES)
def test_rendered_files_are_the_golden_ones(mix: str, version: str) -> None:
    """Each mix of roles gets, for each Consul version, exactly the golden files."""
    assert_golden(f"{mix}-{version}.txt", sections(wanted(MIXES[mix], version)))


@pytest.mark.parametrize("arch", ARCHES)
def test_manifests_are_the_golden_ones(arch: Arch) -> None:
    """Each architecture gets its golden manifest: accounts, folders, files with sums, units with stamps."""
    assert_golden(f"manifest-{arch}.tsv", wanted("all1", arch=arch).text())


def test_every_golden_file_is_used() -> None:
    """No golden file stays behind when a role, version or architecture goes."""
    expected = {f"{mix}-{version}.txt" for mix in MIXES for version in VERSIONS}
    assert {p.name for p in GOLDEN.iterdir()} == expected | {f"manifest-{arch}.tsv" for arch in ARCHES}


def test_architectures_differ_in_their_binaries_only() -> None:
    """What is rendered is the same for all architectures; the sums of the binaries, and so the stamps, differ."""
    each = {arch: wanted("all1", arch=arch) for arch in ARCHES}
    assert len({sections(m) for m in each.values()}) == 1
    assert len({m.id for m in each.values()}) == len(ARCHES)


@pytest.mark.parametrize("name", MIXES.values())
def test_equal_intent_gives_equal_bytes(name: str) -> None:
    """Rendering twice, with labels in another order, gives the same bytes and the same id."""
    hosts = tuple(replace(h, labels=dict(reversed(h.labels.items()))) for h in CLUSTER.hosts)
    other = replace(CONTEXT, cluster=replace(CLUSTER, hosts=hosts))
    first, second = wanted(name), wanted(name, context=other)
    assert first == second
    assert (first.text(), first.id) == (second.text(), second.id)


def test_another_intent_gives_another_id() -> None:
    """A changed label, version, cluster id or address changes the generation's name."""
    base = wanted("m1").id
    hosts = tuple(replace(h, labels={"zone": "z"}) if h.name == "m1" else h for h in CLUSTER.hosts)
    ids = {
        base, wanted("m1", "1.17.0").id, wanted("m1", arch="arm64").id,
        wanted("m1", context=replace(CONTEXT, cluster=replace(CLUSTER, hosts=hosts))).id,
        wanted("m1", context=replace(CONTEXT, cluster_id="fedcba9876543210")).id,
    }  # fmt: skip
    assert len(ids) == 5


@pytest.mark.parametrize("name", MIXES.values())
def test_consul_1_8_gets_no_key_that_it_does_not_know(name: str) -> None:
    """No key that came after Consul 1.8 stands in a configuration for 1.8.7, for it would not start."""
    [config] = [f for f in wanted(name, "1.8.7").files if f.path.endswith("consul.hcl")]
    keys = set(re.findall(r"^\s*(\w+)\s*(?:=|\{)", (config.content or b"").decode(), re.MULTILINE))
    assert "node_name" in keys
    assert not keys & set(SINCE_1_9)


@pytest.mark.parametrize("name", MIXES.values())
@pytest.mark.parametrize("version", VERSIONS)
def test_a_kept_manifest_reads_back_as_itself(name: str, version: str) -> None:
    """Text and reading are each other's inverse, so that a rollback wants what was placed."""
    manifest = wanted(name, version)
    contents = {f"/var/lib/nexus/store/{f.sha256}": f.content for f in manifest.files if f.content is not None}
    again = read_manifest(manifest.text().splitlines(), contents)
    assert (again.text(), again.id) == (manifest.text(), manifest.id)
    assert [f.content for f in again.files] == [f.content for f in manifest.files]


@pytest.mark.parametrize("name", MIXES.values())
def test_all_that_is_placed_is_probed(name: str) -> None:
    """Every path and unit of a manifest is among those that the probe looks at."""
    manifest = wanted(name)
    assert {f.path for f in manifest.files} <= set(PATHS)
    assert {u.name for u in manifest.units} <= set(UNITS)


def test_every_host_sees_all_managers() -> None:
    """Each host joins all managers, by their advertised addresses."""
    managers = tuple(CONTEXT.addresses[h.name].advertise for h in CLUSTER.having("manager"))
    for host in CLUSTER.hosts:
        (config,) = (f.content for f in wanted(host.name).files if f.path == "/etc/consul.d/consul.hcl")
        assert f"retry_join     = {json.dumps(managers)}" in (config or b"").decode()
        assert managers == ("203.0.113.1", "10.0.0.4", "203.0.113.5")


@pytest.mark.parametrize("text", ['a"b', "a\\b", "${env}", "%{if}", "line\nbreak", "é"])
def test_text_in_hcl_stays_text(text: str) -> None:
    """Quotes, backslashes, line breaks and template marks cannot end or change an HCL string."""
    quoted = hcl(text)
    assert quoted[0] == quoted[-1] == '"'
    assert "\n" not in quoted
    assert not re.search(r"(?<![$%])[$%]\{", quoted)


def test_an_undefined_name_is_an_error() -> None:
    """A template that asks for what the view lacks stops the rendering instead of leaving a gap."""
    view: Mapping[str, object] = {}
    with pytest.raises(Exception, match=r"undefined|no attribute"):
        render("consul/consul.hcl.j2", view)
