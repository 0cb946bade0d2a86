"""The end state as plain files: rendered by the toolkit itself, so that all tools bring the very same bytes."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Say
from bench.targets import Entry, Wanted
from fabfile.core.errors import NexusError
from fabfile.core.model.cluster import Cluster
from fabfile.core.state.artifacts import Artifact
from fabfile.core.state.manifest import File, Folder, Manifest
from fabfile.edge.deploy.draft import draft, observe
from fabfile.edge.disk import services
from fabfile.edge.ssh.fleet import Fleet

UNIT = "/etc/systemd/system/consul.service"
CONFIG = "/etc/consul.d"


@dataclass(frozen=True, slots=True)
class EndState:
    """`folder` has a folder of files for each host; `binary` is Consul, unpacked; `wanted` by the host's name."""

    folder: Path
    binary: Path
    version: str
    wanted: Mapping[str, Wanted]


def prepare(cluster: Cluster, work: Path, say: Say) -> EndState:
    """Renders every host's files and unpacks Consul. All hosts must answer, and be of one architecture."""
    offered = services.load(cluster)
    with Fleet(cluster) as fleet:
        made = draft(cluster, offered, cluster.hosts, *observe(fleet, cluster.hosts), say)
    consul = made.builds["consul"]
    if len(consul) != 1:
        raise NexusError(f"the hosts are of several architectures: {', '.join(consul)}")
    folder = work / "files"
    shutil.rmtree(folder, ignore_errors=True)
    wanted = {name: _write(plan.wanted, folder / name) for name, plan in made.plans.items()}
    artifact = next(iter(consul.values()))
    return EndState(folder, unpacked(artifact, work), artifact.version_text, wanted)


def _write(manifest: Manifest, folder: Path) -> Wanted:
    """Consul's part of a host's manifest, on disk."""
    folder.mkdir(mode=0o700, parents=True)
    placed = [file for file in manifest.files if file.path == UNIT or file.path.startswith(CONFIG + "/")]
    for file in placed:
        (folder / source(file.path)).write_bytes(file.content or b"")
    return Wanted(
        tuple(_entry(d) for d in manifest.folders if f"{d.path}/".startswith(CONFIG + "/")),
        tuple({**_entry(f), "source": source(f.path)} for f in placed if f.path != UNIT),
    )


def source(path: str) -> str:
    """A file's name in its host's folder: `etc_consul.d_consul.hcl`."""
    return path.strip("/").replace("/", "_")


def _entry(item: File | Folder) -> Entry:
    return {"path": item.path, "mode": item.mode, "owner": item.owner, "group": item.group}


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
