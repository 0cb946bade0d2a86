"""The operator's cache of packed binaries.

    <cache>/<program>/<version>/<arch>/{binary.gz,meta.json}     a named file's <version> is `file-…`

Both land by rename, meta.json last, so what meta.json vouches for is whole. A lock for each such folder lets
two runs want the same thing: one makes it, the other waits and takes it. What fails leaves nothing behind.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ...core.errors import ArtifactError
from ...core.model.cluster import Arch
from ...core.state.artifacts import Artifact, File, Program, Source, elf_fault, release_of
from ..disk.paths import near
from ..disk.state import digest
from .fetch import Say, megabytes, obtain, version_of

_CHUNK = 1 << 20
_LEVEL = 6  # of gzip: Consul 1.8.7 (68 MB) is 19.5 MB in 1.6 s; level 1: 22.5 MB in 0.5 s, 9: 19.3 MB in 6 s
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True, slots=True)
class Job:
    """One binary to have in the cache."""

    program: Program
    arch: Arch
    source: Source
    cache: Path
    say: Say

    @property
    def slot(self) -> Path:
        if isinstance(self.source, File):
            version = "file-" + hashlib.sha256(bytes(self.source.path.absolute())).hexdigest()[:12]
        else:
            version = self.source.version
        return self.cache / self.program / version / self.arch

    @property
    def identity(self) -> str:
        """What the entry is made of; an entry of another identity must be made anew."""
        if not isinstance(self.source, File):
            return f"{self.source.label} {self.source.pin}"
        path, hint = self.source.path, f"`{self.program}: {{binary: …}}` in hosts.yml names it"
        try:
            stat = path.stat()
        except OSError as fault:
            raise ArtifactError(f"{near(path)}: {fault.strerror}", hint) from fault
        if not path.is_file():
            raise ArtifactError(f"{near(path)} is not a regular file", hint)
        return f"{path} {stat.st_size} {stat.st_mtime_ns} {self.source.version}"


def cached(job: Job) -> Artifact | None:
    """The entry, if it is whole and made of the same source. Unchanged size and time spare hashing it."""
    packed, identity = job.slot / "binary.gz", job.identity
    try:
        meta = json.loads((job.slot / "meta.json").read_bytes())
        entry = meta["artifact"]
        known = Artifact(**{**entry, "packed": packed, "version": release_of(entry["version_text"])})
        stat = packed.stat()
        if meta["identity"] != identity or stat.st_size != known.packed_size:
            return None
        touched = stat.st_mtime_ns != meta["mtime_ns"]
        return None if touched and digest(packed) != known.packed_sha256 else known
    except (OSError, ValueError, KeyError, TypeError, ArtifactError):
        return None


def taken(job: Job) -> Artifact:
    """Fetch, check, pack and keep. The disk's own faults (full, read-only) come out as ArtifactError too."""
    name = "-".join(job.slot.relative_to(job.cache).parts)
    try:
        job.cache.mkdir(mode=0o700, parents=True, exist_ok=True)  # root on the hosts will run what lies here
        with _alone(job.cache / f".lock-{name}", job.say):
            if found := cached(job):
                return found
            with _scratch(job.cache / f".work-{name}") as work:
                return _made(job, work)
    except OSError as fault:
        full = fault.errno in _NO_ROOM
        raise ArtifactError(
            f"{(not full and fault.filename) or job.cache}: {fault.strerror or fault}",
            f"{'make room' if full else 'check its owner and mode'}, or name another cache: NEXUS_CACHE=DIR",
        ) from fault


@contextmanager
def _alone(lock: Path, say: Say) -> Iterator[None]:
    with lock.open("w") as handle:  # the file stays: two runs could else lock two files of one name
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run is fetching the same binary; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def _scratch(work: Path) -> Iterator[Path]:
    shutil.rmtree(work, ignore_errors=True)  # a killed run's leavings: under the lock they are nobody's
    work.mkdir()
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _made(job: Job, work: Path) -> Artifact:
    start, identity = time.monotonic(), job.identity
    plain, packed = work / "plain", work / "packed"
    obtain(job.program, job.source, plain, job.say)
    with plain.open("rb") as head:
        if fault := elf_fault(head.read(20), job.arch):
            raise ArtifactError(
                f"{job.program} for {job.arch}, {job.source.label}: {fault}",
                f"one file an architecture: `{job.program}: {{binary: {job.program}-{{arch}}}}`",
            )
    version = version_of(job.program, job.arch, job.source, plain)
    sha256, size = _pack(plain, packed)
    made = Artifact(
        program=job.program,
        version=release_of(version),
        version_text=version,
        arch=job.arch,
        sha256=sha256,
        size=size,
        packed=job.slot / "binary.gz",
        packed_sha256=digest(packed),
        packed_size=packed.stat().st_size,
        origin=job.source.label,
    )
    _keep(made, identity, packed, work / "meta")
    took = time.monotonic() - start
    job.say(
        f"{job.program} {version} {job.arch}: {megabytes(size)}, {megabytes(made.packed_size)} packed, in {took:.1f} s"
    )
    return made


def _pack(plain: Path, packed: Path) -> tuple[str, int]:
    """Compress reproducibly (no name, no time); SHA-256 and size in bytes of what was compressed."""
    import gzip

    seen, size = hashlib.sha256(), 0
    with plain.open("rb") as source, packed.open("wb") as raw:
        with gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as out:
            while chunk := source.read(_CHUNK):
                seen.update(chunk)
                size += out.write(chunk)
        raw.flush()
        os.fsync(raw.fileno())
    return seen.hexdigest(), size


def _keep(made: Artifact, identity: str, packed: Path, draft: Path) -> None:
    slot = made.packed.parent
    slot.mkdir(parents=True, exist_ok=True)
    entry = {key: value for key, value in asdict(made).items() if key not in ("packed", "version")}
    meta = {"identity": identity, "mtime_ns": packed.stat().st_mtime_ns, "artifact": entry}
    with draft.open("w", encoding="utf-8") as out:
        json.dump(meta, out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    (slot / "meta.json").unlink(missing_ok=True)  # an old one must not vouch for the new bytes
    packed.replace(made.packed)
    draft.replace(slot / "meta.json")
