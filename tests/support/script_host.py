"""What the script tests share: a host in a temporary folder, and the scripts run on it as the operator would.

The scripts take the folder as their ROOT; plans, payloads and facts are the product's own.
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
from fabfile.core.state.facts import Facts, parse
from fabfile.core.state.manifest import File, Manifest
from fabfile.core.state.plan import HostPlan
from fabfile.edge.deploy.apply import payload

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
    """A host as the installer left it: nothing of ours."""
    (folder / "etc").mkdir(parents=True)
    (folder / "var/lib").mkdir(parents=True)
    (folder / "etc/os-release").write_text(OS_RELEASE)
    (folder / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\nconsul:x:998:998::/var/lib/consul:\n")
    return folder


def state_of(root: Path) -> Path:
    return root / "var/lib/nexus"


def tree(root: Path, without: Iterable[str] = ()) -> dict[str, tuple[object, ...]]:
    """Every path below root with its kind, mode, owner, content and time of change; `without` leaves paths out."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, dirs, files in os.walk(root):
        dirs[:] = [d for d in dirs if os.path.relpath(os.path.join(folder, d), root) not in without]
        for name in [*dirs, *files]:
            path = Path(folder, name)
            if str(path.relative_to(root)) in without:
                continue
            info = path.lstat()
            what: object = None
            if stat.S_ISLNK(info.st_mode):
                what = os.readlink(path)
            elif stat.S_ISREG(info.st_mode):
                what = (sha(path.read_bytes()), info.st_mtime_ns)
            found[str(path.relative_to(root))] = (stat.filemode(info.st_mode), info.st_uid, info.st_gid, what)
    return found


def file(path: str, content: bytes, mode: str = "0644") -> File:
    return File(path, sha(content), mode, USER, GROUP, content)


def packed_file(path: str, content: bytes, folder: Path, mode: str = "0755") -> File:
    """A file whose bytes are uploaded as gzip, as binaries are."""
    packed = folder / f"{sha(content)}.gz"
    packed.write_bytes(gzip.compress(content, 1))
    return File(path, sha(content), mode, USER, GROUP, packed=packed)


@dataclass(frozen=True)
class Outcome:
    """What a script said and how it ended."""

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
    shell: str, root: Path, *paths: str, previous: bool = False, units: str = "", env: Mapping[str, str] | None = None
) -> bytes:
    words = [*(["--previous"] if previous else []), *paths]
    done = subprocess.run(
        [shell, "-s", "--", str(root), units, *words], input=(SCRIPTS / "probe.sh").read_bytes(),
        capture_output=True, timeout=30, check=False, env={**os.environ, **(env or {})},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def probe(
    shell: str, root: Path, *paths: str, previous: bool = False, units: str = "", env: Mapping[str, str] | None = None
) -> Facts:
    return parse("h1", probe_output(shell, root, *paths, previous=previous, units=units, env=env))


def paths_of(*manifests: Manifest) -> list[str]:
    return sorted({f.path for m in manifests for f in m.files})


def unpack(plan: HostPlan, folder: Path) -> Path:
    """The payload on the host, unpacked as the receiving end does it."""
    folder.mkdir(mode=0o700, parents=True)
    with tarfile.open(fileobj=io.BytesIO(b"".join(payload(plan, "op@laptop deploy")))) as tar:
        for member in tar:
            target = folder / member.name
            target.parent.mkdir(exist_ok=True)
            reader = tar.extractfile(member)
            assert reader is not None
            target.write_bytes(reader.read())
    return folder


def apply(shell: str, folder: Path, root: Path, env: Mapping[str, str] | None = None) -> Outcome:
    """As the receiving end starts it: our state folder is there."""
    state_of(root).mkdir(mode=0o700, parents=True, exist_ok=True)
    return call(shell, folder / "apply.sh", folder, root, env=env)


def content_of(root: Path, path: str) -> bytes | None:
    """None where there is no file."""
    load_target = root / path.lstrip("/")
    return load_target.read_bytes() if load_target.is_file() else None


def bytes_of(item: File) -> bytes:
    if item.content is not None:
        return item.content
    assert item.packed is not None
    return gzip.decompress(item.packed.read_bytes())
