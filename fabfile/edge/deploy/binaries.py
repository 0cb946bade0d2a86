"""Consul and Caddy for the hosts of a deploy: one version of each, which the cluster keeps."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping

from ...core.model.cluster import Arch, Binary, Cluster, Host
from ...core.state.artifacts import Artifact, Program
from ...core.state.facts import Facts
from ..artifacts import resolve as artifacts
from ..disk.state import State

Say = Callable[[str], None]
Builds = Mapping[Program, Mapping[Arch, Artifact]]


def resolve_binaries(
    cluster: Cluster, selected: Collection[Host], facts: Mapping[str, Facts], state: State, say: Say
) -> Builds:
    """Each program in one version for all architectures among the hosts. A cluster keeps the version it got first."""
    versions = state.versions()
    cache = artifacts.cache_dir(os.environ)
    wanted: dict[Program, Binary] = {"consul": cluster.consul}
    if any(h.has("loadbalancer") for h in selected):
        wanted["caddy"] = cluster.caddy
    builds: dict[Program, Mapping[Arch, Artifact]] = {}
    for program, binary in wanted.items():
        arches = sorted({a for h in selected if (a := facts[h.name].arch)})
        builds[program] = artifacts.resolve(program, binary, arches, cache, versions.get(program), say)
        versions[program] = next(iter(builds[program].values())).version_text
    state.keep_versions(versions)
    return builds
