"""Fetches one plain binary from its source (file, release, Debian package) and finds out its version.

Knows nothing of the cache. Heavy modules are imported where they are used: most runs fetch nothing.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ...core.errors import ArtifactError
from ...core.model.cluster import Arch
from ...core.state.artifacts import (
    DebianPackage,
    LocalFile,
    Program,
    Release,
    Source,
    embedded_version,
    printed_version,
    version_numbers,
)

if TYPE_CHECKING:
    from http.client import HTTPResponse

Say = Callable[[str], None]

SILENCE = 10.0  # seconds without a byte, connecting or reading, until a download is given up
PATIENCE = 1800.0  # seconds for a whole download: 60 MB on a slow line
_CHUNK = 1 << 20
_LOCAL: dict[str, Arch] = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armv7"}


class Unreachable(ArtifactError):
    """The publisher did not answer, or has no such file: the only fault after which a fallback is tried."""


def fetch_binary(program: Program, source: Source, plain: Path, say: Say) -> None:
    """Puts the plain binary into the file `plain`; downloads go into the same folder. ArtifactError when it fails."""
    match source:
        case LocalFile():
            say(f"{program}: reading {source.path} ({megabytes(source.path.stat().st_size)})")
            shutil.copyfile(source.path, plain)  # so that what is checked is what is kept
        case Release():
            archive = plain.with_name("archive")
            _download(source, archive, say)
            with _member(archive, program, source) as inner, plain.open("wb") as out:
                shutil.copyfileobj(inner, out, _CHUNK)
        case DebianPackage():
            from . import debian

            say(f"{program}: fetching {Path(source.path).name} from the apt mirror")
            package = debian.fetch_deb(source.path, source.pin, plain.with_name("package.deb"))
            debian.unpack(package, f"usr/bin/{program}", plain)


def _download(source: Release, to: Path, say: Say) -> None:
    """A download that breaks off is no `Unreachable`: the remedy is another run, not another version."""
    hasher, got, deadline = hashlib.new(source.digest), 0, time.monotonic() + PATIENCE
    with _open(source) as answer, to.open("wb") as out:
        total = int(answer.headers.get("Content-Length") or 0)
        say(f"fetching {source.url}" + (f" ({megabytes(total)})" if total else ""))
        while chunk := _read(answer, source, got):
            hasher.update(chunk)
            out.write(chunk)
            got += len(chunk)
            if time.monotonic() > deadline:
                raise _interrupted(source, f"not done after {PATIENCE:.0f} s")
    if got < total:
        raise _interrupted(source, f"the connection ended after {got} of {total} bytes")
    if hasher.hexdigest() != source.pin:
        raise ArtifactError(
            f"{source.url}: {source.digest} is {hasher.hexdigest()}, pinned is {source.pin}",
            "nothing was kept; somebody on the way (a proxy?) altered it: find out who before you go on",
        )


def _open(source: Release) -> HTTPResponse:
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import urlopen

    try:
        answer: HTTPResponse = urlopen(source.url, timeout=SILENCE)  # noqa: S310 - our own pins give the URL
        return answer
    except (OSError, HTTPException) as fault:
        cause = fault.reason if isinstance(fault, URLError) and not isinstance(fault, HTTPError) else fault
        why = (isinstance(cause, OSError) and cause.strerror) or str(cause) or type(cause).__name__
        raise Unreachable(f"{source.label} could not be reached ({source.url}: {why})") from fault


def _read(answer: HTTPResponse, source: Release, got: int) -> bytes:
    from http.client import HTTPException

    try:
        return answer.read1(_CHUNK)
    except (OSError, HTTPException) as fault:
        raise _interrupted(source, f"broke off after {got} bytes ({fault or type(fault).__name__})") from fault


def _interrupted(source: Release, what: str) -> ArtifactError:
    return ArtifactError(f"{source.url}: {what}", "nothing was kept; run the command again")


@contextmanager
def _member(archive: Path, name: str, source: Release) -> Iterator[IO[bytes]]:
    """Opens the file `name` of the archive: a zip if the URL ends so, else a tarball. ArtifactError if it has none."""
    import tarfile
    import zipfile

    try:
        if source.url.endswith(".zip"):
            with zipfile.ZipFile(archive) as archive_, archive_.open(name) as inner:
                yield inner
        else:
            with tarfile.open(archive) as tar:
                member = tar.extractfile(name)
                if member is None:
                    raise KeyError(name)
                yield member
    except KeyError:
        raise ArtifactError(f"{source.url} holds no file {name}") from None
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error) as fault:
        raise ArtifactError(f"{source.url} is not a whole archive: {fault}") from fault


def version_of(program: Program, arch: Arch, source: Source, plain: Path) -> str:
    """The binary's version: of a pinned source it is known; a file of the operator's reports it, or hosts.yml names it.

    ArtifactError: the file has another version than hosts.yml says, or its version is unknown.
    """
    if not isinstance(source, LocalFile):
        return source.version
    seen = _reported_version(program, plain) if _LOCAL.get(platform.machine()) == arch else ""
    seen = seen or embedded_version(program, plain.read_bytes())
    if seen and source.version and version_numbers(seen) != version_numbers(source.version):
        raise ArtifactError(
            f"{source.path} is {program} {seen}, not {source.version}",
            f"correct or drop `version:` under `{program}:` in hosts.yml",
        )
    if version := seen or source.version:
        return version
    raise ArtifactError(
        f"{source.path} does not tell which version of {program} it is",
        f"say it beside the file: `{program}: {{binary: FILE, version: 1.2.3}}`",
    )


def _reported_version(program: Program, plain: Path) -> str:
    """What `PROGRAM version` reports on this machine; empty when the program does not run here."""
    if sys.platform != "linux":
        return ""
    plain.chmod(0o700)
    env = {"PATH": "/usr/bin:/bin", "HOME": str(plain.parent)}
    argv = [str(plain), "version"]
    try:
        done = subprocess.run(argv, capture_output=True, env=env, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return printed_version(program, done.stdout.decode(errors="replace"))


def megabytes(size: int) -> str:
    """A size in bytes as text in MB."""
    return f"{size / 1e6:.1f} MB"
