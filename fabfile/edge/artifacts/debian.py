"""Debian packages as a source of pinned binaries: found on the operator's apt mirrors, checked, unpacked.

Installs nothing: a package's pool path and SHA-256 come from the caller, the mirror from the operator's apt
settings, and one file of the package goes where the caller says.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import quote, urlsplit

from ...core.errors import ArtifactError
from ..disk.atomic import replacing
from ..disk.state import file_sha256

MirrorList = Callable[[Path], list[str]]
_CHUNK = 1 << 20


def mirror_sites() -> tuple[str, ...]:
    """Base URLs of the operator's apt mirrors, Debian's own archive first; empty off Debian."""
    if shutil.which("apt-get") is None:
        return ()
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(SITE)"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return parse_sites(done.stdout.splitlines(), _lines_of)


def parse_sites(lines: Iterable[str], read: MirrorList) -> tuple[str, ...]:
    """Sites of `ORIGIN|SITE` lines, each once; Debian's and unlabelled ones come first.

    A `mirror+file:` site is a list of mirrors on disk (Debian's cloud images use it): `read` gives its lines.
    What is not http or https by then is left out. apt leaves `$(ORIGIN)` as it is before the first update.
    """
    rows = [(origin, site.rstrip("/")) for origin, _, site in (line.partition("|") for line in lines)]
    rows.sort(key=lambda row: row[0] not in ("", "$(ORIGIN)", "Debian"))
    found: dict[str, None] = {}
    for _, site in rows:
        listed = read(Path(urlsplit(site).path)) if site.startswith("mirror+file:") else [site]
        for url in listed:
            if urlsplit(url).scheme in ("http", "https"):
                found[url.split()[0].rstrip("/")] = None
    return tuple(found)


def fetch_deb(pool_path: str, sha256: str, dest: Path, timeout: float = 30) -> Path:
    """Downloads the package at `pool_path` (`pool/main/…`) to `dest`, unless the right file is already there.

    Tries each mirror in turn; `timeout` is seconds without data, not for the whole download.
    ArtifactError: no mirror has it, or its SHA-256 is not `sha256`.
    """
    if dest.is_file() and file_sha256(dest) == sha256:
        return dest
    sites = mirror_sites()
    hint = "name a file of your own instead, or point apt at a Debian mirror that has the package"
    if not sites:
        raise ArtifactError(f"no apt mirror is configured here to fetch {pool_path} from", hint)
    tried = []
    for site in sites:
        # '+' is legal in a path, yet some mirrors' storage reads it as a blank
        url = f"{site}/{quote(pool_path)}"
        try:
            return _download(url, sha256, dest, timeout)
        except (OSError, urllib.error.URLError, ArtifactError) as fault:
            tried.append(f"{urlsplit(site).netloc}: {fault}")
    raise ArtifactError(f"{pool_path} could not be fetched ({'; '.join(tried)})", hint)


def unpack(deb: Path, member: str, dest: Path) -> Path:
    """Extracts the file `member` (`usr/bin/consul`) of a package's data archive to `dest`, mode 0755.

    ArtifactError: the package is broken or has no such file.
    """
    from debian.arfile import ArError  # lazy: few runs unpack anything
    from debian.debfile import DebError, DebFile

    wanted = member.lstrip("./")
    try:
        with deb.open("rb") as raw, DebFile(fileobj=raw).data.tgz() as tar:
            for entry in tar:  # in order, so that a compressed archive is read once
                if entry.isfile() and entry.name.lstrip("./") == wanted:
                    return _extract(tar, entry, dest)
    except (ArError, DebError, tarfile.TarError, EOFError) as fault:
        hint = "remove the file and try again"
        raise ArtifactError(f"{deb} is not a whole Debian package: {fault}", hint) from fault
    raise ArtifactError(f"{deb} holds no file {wanted}")


def _extract(tar: tarfile.TarFile, entry: tarfile.TarInfo, dest: Path) -> Path:
    source = tar.extractfile(entry)
    if source is None:
        raise ArtifactError(f"{entry.name} is not a plain file")
    dest.parent.mkdir(parents=True, exist_ok=True)
    with source, replacing(dest) as out:
        shutil.copyfileobj(source, out, _CHUNK)
        os.fchmod(out.fileno(), 0o755)
    return dest


def _download(url: str, sha256: str, dest: Path, timeout: float) -> Path:
    hasher = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=timeout) as answer:  # noqa: S310 - http(s) only, see parse_sites
        dest.parent.mkdir(parents=True, exist_ok=True)
        with replacing(dest) as out:
            while chunk := answer.read(_CHUNK):
                hasher.update(chunk)
                out.write(chunk)
            if hasher.hexdigest() != sha256:
                raise ArtifactError(f"what came has SHA-256 {hasher.hexdigest()}, the pin says {sha256}")
    return dest


def _lines_of(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    except OSError:
        return []
