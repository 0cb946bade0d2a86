"""The end state as plain files, rendered by the toolkit itself: all tools deploy the same bytes."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Say
from bench.targets import Entry, HostFiles
from fabfile.core.errors import NexusError
from fabfile.core.model.cluster import Cluster
from fabfile.core.state.artifacts import Artifact
from fabfile.core.state.manifest import File, Folder, Manifest
from fabfile.edge.deploy.draft import draft
from fabfile.edge.deploy.observe import observe
from fabfile.edge.disk import services
from fabfile.edge.ssh.fleet import Fleet

UNIT = "/etc/systemd/system/consul.service"
CONFIG = "/etc/consul.d"


@dataclass(frozen=True, slots=True)
class EndState:
    """`folder` has a subfolder of files for each host; `binary` is Consul, unpacked; `host_files` is by host name."""

    folder: Path
    binary: Path
    version: str
    host_files: Mapping[str, HostFiles]


def prepare(cluster: Cluster, work: Path, say: Say) -> EndState:
    """Renders every host's files and unpacks Consul. All hosts must answer and have the same architecture."""
    with Fleet(cluster) as fleet:
        plan = draft(cluster, services.load(cluster), cluster.hosts, *observe(fleet, cluster.hosts), say)
    consul = plan.builds["consul"]
    if len(consul) != 1:
        raise NexusError(f"the hosts have several architectures: {', '.join(consul)}")
    folder = work / "files"
    shutil.rmtree(folder, ignore_errors=True)
    host_files = {name: _write(host_plan.wanted, folder / name) for name, host_plan in plan.plans.items()}
    artifact = next(iter(consul.values()))
    return EndState(folder, unpack(artifact, work), artifact.version_text, host_files)


def _write(manifest: Manifest, folder: Path) -> HostFiles:
    """Writes the Consul files of a host's manifest into `folder`."""
    folder.mkdir(mode=0o700, parents=True)
    files = [file for file in manifest.files if file.path == UNIT or file.path.startswith(CONFIG + "/")]
    for file in files:
        (folder / source_name(file.path)).write_bytes(file.content or b"")
    return HostFiles(
        tuple(_entry(d) for d in manifest.folders if f"{d.path}/".startswith(CONFIG + "/")),
        tuple({**_entry(f), "source": source_name(f.path)} for f in files if f.path != UNIT),
    )


def source_name(path: str) -> str:
    """A file's name in its host's folder: `etc_consul.d_consul.hcl`."""
    return path.strip("/").replace("/", "_")


def _entry(item: File | Folder) -> Entry:
    return {"path": item.path, "mode": item.mode, "owner": item.owner, "group": item.group}


def unpack(artifact: Artifact, work: Path) -> Path:
    """The plain binary. It is named after its sum and kept for later runs."""
    path = work / f"{artifact.program}-{artifact.sha256[:16]}"
    if not path.exists():
        new = path.with_suffix(".new")
        with gzip.open(artifact.packed) as source, new.open("wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)
        new.chmod(0o755)
        os.replace(new, path)
    return path
