"""The end state as plain files: rendered by the toolkit itself, so that all tools bring the very same bytes."""

from __future__ import annotations

import gzip
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Say
from fabfile.core.artifacts import Artifact
from fabfile.core.desired import Context, desired
from fabfile.core.errors import NexusError
from fabfile.core.model import Cluster
from fabfile.edge.fleet import Fleet
from fabfile.edge.flow import Draft, draft, observe
from fabfile.edge.state import State

# what the peers bring, by its name in a target's folder
PLACES = {"consul.hcl": "/etc/consul.d/consul.hcl", "consul.service": "/etc/systemd/system/consul.service"}


@dataclass(frozen=True, slots=True)
class EndState:
    """`folder` has a folder of files for each host; `binary` is Consul, unpacked."""

    folder: Path
    binary: Path
    version: str


def prepare(cluster: Cluster, work: Path, say: Say) -> EndState:
    """Renders every host's files and unpacks Consul. All hosts must answer, and be of one architecture."""
    with Fleet(cluster) as fleet:
        made = draft(cluster, cluster.hosts, *observe(fleet, cluster.hosts), say)
    consul = made.builds["consul"]
    if len(consul) != 1:
        raise NexusError(f"the hosts are of several architectures: {', '.join(consul)}")
    folder = work / "files"
    shutil.rmtree(folder, ignore_errors=True)
    for host in cluster.hosts:
        _write(made, host.name, folder / host.name)
    artifact = next(iter(consul.values()))
    return EndState(folder, unpacked(artifact, work), artifact.version_text)


def _write(made: Draft, name: str, folder: Path) -> None:
    arch = made.facts[name].arch
    assert arch is not None  # noqa: S101  observe has refused the others
    binaries = {program: by_arch[arch] for program, by_arch in made.builds.items()}
    identity = State(made.cluster.state).cluster_id or ""  # draft has made it, if there was none
    wanted = desired(Context(made.cluster, identity, made.where), made.cluster.host(name), binaries)
    by_path = {file.path: file for file in wanted.files}
    folder.mkdir(parents=True)
    for short, path in PLACES.items():
        (folder / short).write_bytes(by_path[path].content or b"")


def unpacked(artifact: Artifact, work: Path) -> Path:
    """The plain binary, kept from run to run: it is named after its sum."""
    path = work / f"{artifact.program}-{artifact.sha256[:16]}"
    if not path.exists():
        fresh = path.with_suffix(".new")
        with gzip.open(artifact.packed) as source, fresh.open("wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)
        fresh.chmod(0o755)
        os.replace(fresh, path)
    return path
