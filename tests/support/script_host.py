"""A host in a temporary folder for the script tests, and the scripts run on it as the operator runs them.

The scripts take the folder as their ROOT. Plans, payloads and facts come from the product's own code.
"""

from __future__ import annotations

import grp
import gzip
import hashlib
import io
import os
import pwd
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from fabfile.core.resources import ROOT
from fabfile.core.state.facts import Facts
from fabfile.core.state.manifest import File, Manifest
from fabfile.core.state.plan import HostPlan
from fabfile.core.state.probe_output import parse
from fabfile.core.state.scripts import script
from fabfile.edge.deploy.apply import payload
from tests.support.stand_ins import script_with

SCRIPTS = ROOT / "remote_agents"
USER = pwd.getpwuid(os.getuid()).pw_name
GROUP = grp.getgrgid(os.getgid()).gr_name
OS_RELEASE = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n'
SHELLS = [
    pytest.param(name, marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed"))
    for name in ("dash", "bash")
]


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def make_root(folder: Path) -> Path:
    """A host after the installation of Debian, with nothing of ours."""
    (folder / "etc").mkdir(parents=True)
    (folder / "var/lib").mkdir(parents=True)
    (folder / "etc/os-release").write_text(OS_RELEASE)
    (folder / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\nconsul:x:998:998::/var/lib/consul:\n")
    return folder


def state_of(root: Path) -> Path:
    return root / "var/lib/nexus"


def tree(root: Path, without: Iterable[str] = ()) -> dict[str, tuple[object, ...]]:
    """Every path below root but `without`: mode, owner, group, and a link's target or a file's sum and mtime."""
    entries: dict[str, tuple[object, ...]] = {}
    for folder, dirs, files in os.walk(root):
        dirs[:] = [d for d in dirs if os.path.relpath(os.path.join(folder, d), root) not in without]
        for name in [*dirs, *files]:
            path = Path(folder, name)
            if str(path.relative_to(root)) in without:
                continue
            info = path.lstat()
            content: object = None
            if stat.S_ISLNK(info.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(info.st_mode):
                content = (sha(path.read_bytes()), info.st_mtime_ns)
            entries[str(path.relative_to(root))] = (stat.filemode(info.st_mode), info.st_uid, info.st_gid, content)
    return entries


def file(path: str, content: bytes, mode: str = "0644") -> File:
    return File(path, sha(content), mode, USER, GROUP, content)


def packed_file(path: str, content: bytes, folder: Path, mode: str = "0755") -> File:
    """A file that is uploaded as gzip, like the binaries."""
    packed = folder / f"{sha(content)}.gz"
    packed.write_bytes(gzip.compress(content, 1))
    return File(path, sha(content), mode, USER, GROUP, packed=packed)


@dataclass(frozen=True)
class Outcome:
    """The exit code of a script, its lines on stdout, and its stderr."""

    code: int
    lines: tuple[str, ...]
    err: str

    @property
    def failed(self) -> str:
        return next((line[7:] for line in self.lines if line.startswith("failed ")), "")

    def every(self, word: str) -> list[str]:
        return [line.removeprefix(word + " ") for line in self.lines if line.startswith(word + " ")]


def call(shell: str, *args: object, env: Mapping[str, str] | None = None) -> Outcome:
    done = subprocess.run(
        [shell, *map(str, args)], capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, **(env or {})},
    )  # fmt: skip
    return Outcome(done.returncode, tuple(done.stdout.splitlines()), done.stderr)


def probe_output(
    shell: str, root: Path, *paths: str, previous: bool = False, units: str = "", programs: Path | None = None
) -> bytes:
    """`programs`: a folder of stand-ins that the probe finds first."""
    words = [*(["--previous"] if previous else []), *paths]
    text = script_with("probe", programs) if programs else script("probe")
    done = subprocess.run(
        [shell, "-s", "--", str(root), units, *words], input=text.encode(), capture_output=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def probe(
    shell: str, root: Path, *paths: str, previous: bool = False, units: str = "", programs: Path | None = None
) -> Facts:
    return parse("h1", probe_output(shell, root, *paths, previous=previous, units=units, programs=programs))


def paths_of(*manifests: Manifest) -> list[str]:
    return sorted({f.path for m in manifests for f in m.files})


def unpack(plan: HostPlan, folder: Path) -> Path:
    """The payload, unpacked into `folder` as the host does it."""
    folder.mkdir(mode=0o700, parents=True)
    with tarfile.open(fileobj=io.BytesIO(b"".join(payload(plan, "op@laptop deploy")))) as tar:
        for member in tar:
            target = folder / member.name
            target.parent.mkdir(exist_ok=True)
            reader = tar.extractfile(member)
            assert reader is not None
            target.write_bytes(reader.read())
    return folder


def prefer_programs(folder: Path, programs: Path) -> None:
    """The unpacked payload's apply.sh finds the stand-ins in `programs` first."""
    (folder / "apply.sh").write_text(script_with("apply", programs))


def apply(shell: str, folder: Path, root: Path, env: Mapping[str, str] | None = None) -> Outcome:
    """Runs the payload's apply.sh as the host does, after it creates the state folder."""
    state_of(root).mkdir(mode=0o700, parents=True, exist_ok=True)
    return call(shell, folder / "apply.sh", folder, root, env=env)


def content_of(root: Path, path: str) -> bytes | None:
    """None where there is no file."""
    target = root / path.lstrip("/")
    return target.read_bytes() if target.is_file() else None


def bytes_of(item: File) -> bytes:
    if item.content is not None:
        return item.content
    assert item.packed is not None
    return gzip.decompress(item.packed.read_bytes())
