"""The operator's cache of packed binaries.

    <cache>/<program>/<version>/<arch>/{binary.gz,meta.json}     a named file's <version> is `file-…`

Both files arrive by rename, meta.json last, so a file that meta.json describes is whole. Each folder has a lock: of two
runs that want the same binary, one makes it, the other waits and uses it. A failure leaves nothing behind.
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
from ...core.state.artifacts import Artifact, LocalFile, Program, Source, elf_fault, version_numbers
from ..disk.paths import display_path
from ..disk.state import file_sha256
from .fetch import Say, fetch_binary, megabytes, version_of

_CHUNK = 1 << 20
_LEVEL = 6  # of gzip: Consul 1.8.7 (68 MB) is 19.5 MB in 1.6 s; level 1: 22.5 MB in 0.5 s, 9: 19.3 MB in 6 s
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True, slots=True)
class Job:
    """One binary that is wanted in the cache."""

    program: Program
    arch: Arch
    source: Source
    cache: Path
    say: Say

    @property
    def folder(self) -> Path:
        """Where the binary and its meta.json are, in the cache."""
        if isinstance(self.source, LocalFile):
            version = "file-" + hashlib.sha256(bytes(self.source.path.absolute())).hexdigest()[:12]
        else:
            version = self.source.version
        return self.cache / self.program / version / self.arch

    @property
    def identity(self) -> str:
        """What the entry is made from; an entry with another identity is out of date."""
        if not isinstance(self.source, LocalFile):
            return f"{self.source.label} {self.source.pin}"
        path, hint = self.source.path, f"`{self.program}: {{binary: …}}` in hosts.yml names it"
        try:
            stat = path.stat()
        except OSError as fault:
            raise ArtifactError(f"{display_path(path)}: {fault.strerror}", hint) from fault
        if not path.is_file():
            raise ArtifactError(f"{display_path(path)} is not a regular file", hint)
        return f"{path} {stat.st_size} {stat.st_mtime_ns} {self.source.version}"


def find_cached(job: Job) -> Artifact | None:
    """The entry if it is whole and from the same source, else None. It is hashed only when its time has changed."""
    packed, identity = job.folder / "binary.gz", job.identity
    try:
        meta = json.loads((job.folder / "meta.json").read_bytes())
        entry = meta["artifact"]
        artifact = Artifact(**{**entry, "packed": packed, "version": version_numbers(entry["version_text"])})
        stat = packed.stat()
        if meta["identity"] != identity or stat.st_size != artifact.packed_size:
            return None
        touched = stat.st_mtime_ns != meta["mtime_ns"]
        return None if touched and file_sha256(packed) != artifact.packed_sha256 else artifact
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, ArtifactError):
        return None


def fetch_into_cache(job: Job) -> Artifact:
    """Fetches, checks, packs and keeps the binary. ArtifactError, also for faults of the disk (full, read-only)."""
    name = "-".join(job.folder.relative_to(job.cache).parts)
    try:
        job.cache.mkdir(mode=0o700, parents=True, exist_ok=True)  # root on the hosts will run what is in it
        with _locked(job.cache / f".lock-{name}", job.say):
            if found := find_cached(job):
                return found
            with _work_folder(job.cache / f".work-{name}") as work:
                return _build_entry(job, work)
    except OSError as fault:
        full = fault.errno in _NO_ROOM
        raise ArtifactError(
            f"{(not full and fault.filename) or job.cache}: {fault.strerror or fault}",
            f"{'make room' if full else 'check its owner and mode'}, or name another cache: NEXUS_CACHE=DIR",
        ) from fault


@contextmanager
def _locked(lock: Path, say: Say) -> Iterator[None]:
    with lock.open("w") as handle:  # the file stays: else two runs could lock two files of one name
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run is fetching the same binary; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def _work_folder(work: Path) -> Iterator[Path]:
    shutil.rmtree(work, ignore_errors=True)  # left by a killed run; under the lock no other run uses it
    work.mkdir()
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _build_entry(job: Job, work: Path) -> Artifact:
    start, identity = time.monotonic(), job.identity
    plain, packed = work / "plain", work / "packed"
    fetch_binary(job.program, job.source, plain, job.say)
    with plain.open("rb") as head:
        if fault := elf_fault(head.read(20), job.arch):
            raise ArtifactError(
                f"{job.program} for {job.arch}, {job.source.label}: {fault}",
                f"one file an architecture: `{job.program}: {{binary: {job.program}-{{arch}}}}`",
            )
    version = version_of(job.program, job.arch, job.source, plain)
    sha256, size = _pack(plain, packed)
    artifact = Artifact(
        program=job.program,
        version=version_numbers(version),
        version_text=version,
        arch=job.arch,
        sha256=sha256,
        size=size,
        packed=job.folder / "binary.gz",
        packed_sha256=file_sha256(packed),
        packed_size=packed.stat().st_size,
        origin=job.source.label,
    )
    _keep(artifact, identity, packed, work / "meta")
    took = time.monotonic() - start
    job.say(
        f"{job.program} {version} {job.arch}: {megabytes(size)}, "
        f"{megabytes(artifact.packed_size)} packed, in {took:.1f} s"
    )
    return artifact


def _pack(plain: Path, packed: Path) -> tuple[str, int]:
    """Compresses reproducibly (no name, no time). Returns SHA-256 and size in bytes of the plain file."""
    import gzip

    sha256, size = hashlib.sha256(), 0
    with plain.open("rb") as source, packed.open("wb") as raw:
        with gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as out:
            while chunk := source.read(_CHUNK):
                sha256.update(chunk)
                size += out.write(chunk)
        raw.flush()
        os.fsync(raw.fileno())
    return sha256.hexdigest(), size


def _keep(artifact: Artifact, identity: str, packed: Path, draft: Path) -> None:
    folder = artifact.packed.parent
    folder.mkdir(parents=True, exist_ok=True)
    entry = {key: value for key, value in asdict(artifact).items() if key not in ("packed", "version")}
    meta = {"identity": identity, "mtime_ns": packed.stat().st_mtime_ns, "artifact": entry}
    with draft.open("w", encoding="utf-8") as out:
        json.dump(meta, out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    (folder / "meta.json").unlink(missing_ok=True)  # an old one must not describe the new bytes
    packed.replace(artifact.packed)
    draft.replace(folder / "meta.json")
