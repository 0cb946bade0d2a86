"""Which binaries a cluster gets: resolved to one version, fetched once, checked, packed in the cache.

`artifacts.cache` keeps them, `artifacts.fetch` downloads them; when all are in the cache, a run is a few file reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ...core.config.fault import shown
from ...core.errors import ArtifactError, InputError
from ...core.model.cluster import Arch, Binary
from ...core.resources import PINS
from ...core.state.artifacts import Artifact, Pins, Program, SourcesByArch, common_candidates, parse_pins
from ..disk.paths import home_folder
from .cache import Job, fetch_into_cache, find_cached
from .fetch import Say, Unreachable


def cache_dir(env: Mapping[str, str]) -> Path:
    """`$NEXUS_CACHE`, else `$XDG_CACHE_HOME/nexus-ops`, else `~/.cache/nexus-ops`. InputError when there is no such home."""
    if named := env.get("NEXUS_CACHE"):
        try:
            return Path(named).expanduser().absolute()
        except RuntimeError:
            raise InputError([f"NEXUS_CACHE: {shown(named)}: there is no such home"], "NEXUS_CACHE=DIR") from None
    base = Path(env.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # the XDG specification has relative ones ignored
        base = home_folder(env) / ".cache"
    return base / "nexus-ops"


def load_pins(program: Program) -> Pins:
    """The pins shipped with the toolkit."""
    raw = json.loads(PINS.read_bytes())
    return parse_pins(raw[program])


def fetch(program: Program, wanted: Binary, arch: Arch, cache: Path, say: Say, pins: Pins | None = None) -> Artifact:
    """`resolve` for a single architecture of a cluster that has no binary yet."""
    return resolve(program, wanted, (arch,), cache, None, say, pins)[arch]


def resolve(
    program: Program,
    wanted: Binary,
    arches: Sequence[Arch],
    cache: Path,
    chosen: str | None,
    say: Say,
    pins: Pins | None = None,
) -> dict[Arch, Artifact]:
    """The binaries for all architectures, of one version. The caller records that version for the next call.

    chosen: the `version_text` that the cluster got before. When hosts.yml names no version, this one stays:
    a cluster does not change its version because a network fails or comes back.
    ArtifactError: no source has the binary, or it does not match its pin (then no fallback is tried).
    """
    pins = pins or load_pins(program)
    kept = chosen if wanted.file is None and wanted.version is None else None
    unreachable: list[str] = []
    for sources_by_arch in common_candidates(program, Binary(version=kept) if kept else wanted, arches, pins):
        try:
            found = _all_of(program, sources_by_arch, cache, say)
        except Unreachable as fault:
            unreachable.append(fault.message)
            say(f"{program}: {fault.message}")
            continue
        except ArtifactError as fault:
            raise ArtifactError("; ".join([*unreachable, fault.message]), fault.hint) from fault
        return {arch: _with_reason(found[arch], pins, kept, bool(unreachable)) for arch in arches}
    raise ArtifactError(
        f"{program}: " + ("; ".join(unreachable) or "no one version can be had for " + " and ".join(arches)),
        f"try again, or name a file of your own: `{program}: {{binary: FILE}}` in hosts.yml",
    )


def _with_reason(found: Artifact, pins: Pins, kept: str | None, fell_back: bool) -> Artifact:
    if fell_back:
        why = f" ({pins.publisher}'s release {pins.default} could not be reached)"
    elif kept and kept != pins.default:
        why = f" (kept: the cluster has it; the default is {pins.default})"
    else:
        return found
    return replace(found, origin=found.origin + why)


def _all_of(program: Program, sources_by_arch: SourcesByArch, cache: Path, say: Say) -> dict[Arch, Artifact]:
    found = {
        arch: _first_of([Job(program, arch, source, cache, say) for source in sources])
        for arch, sources in sources_by_arch.items()
    }
    versions = {arch: artifact.version_text for arch, artifact in found.items()}
    if len(set(versions.values())) > 1:  # only named files can differ
        listing = ", ".join(f"{arch} {version}" for arch, version in versions.items())
        raise ArtifactError(f"{program}: the named files are of different versions: {listing}")
    return found


def _first_of(jobs: Sequence[Job]) -> Artifact:
    # all of the cache before any network: two builds of one version must not replace each other
    for job in jobs:
        if found := find_cached(job):
            return found
    for job in jobs[:-1]:
        try:
            return fetch_into_cache(job)
        except Unreachable as fault:
            job.say(f"{job.program}: {fault.message}")
    return fetch_into_cache(jobs[-1])
