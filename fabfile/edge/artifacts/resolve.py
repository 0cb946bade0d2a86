"""Which binaries a cluster gets: resolved to one version, fetched once, checked, packed in the cache.

`edge.artifacts.cache` keeps them, `edge.artifacts.fetch` brings them; a run that finds all in the cache is a few file reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ...core.errors import ArtifactError
from ...core.model.cluster import Arch, Binary
from ...core.resources import PINS
from ...core.state.artifacts import Artifact, Offer, Pins, Program, offers, parse_pins
from .cache import Job, cached, taken
from .fetch import Say, Unreachable


def cache_dir(env: Mapping[str, str]) -> Path:
    """`$NEXUS_CACHE`, else `$XDG_CACHE_HOME/nexus-ops`, else `~/.cache/nexus-ops`."""
    if named := env.get("NEXUS_CACHE"):
        return Path(named).expanduser().absolute()
    base = Path(env.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # the XDG specification has relative ones ignored
        base = Path(env.get("HOME") or Path.home()) / ".cache"
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

    chosen: the `version_text` that the cluster got before. Where nobody asks for a version, this one stays:
    neither a network that comes back nor one that fails moves a cluster to another version.
    ArtifactError: not to be had, or not what the pin says (then no fallback is taken).
    """
    pins = pins or load_pins(program)
    kept = chosen if wanted.file is None and wanted.version is None else None
    missed: list[str] = []
    for offer in offers(program, Binary(version=kept) if kept else wanted, arches, pins):
        try:
            found = _all_of(program, offer, cache, say)
        except Unreachable as fault:
            missed.append(fault.message)
            say(f"{program}: {fault.message}")
            continue
        except ArtifactError as fault:
            raise ArtifactError("; ".join([*missed, fault.message]), fault.hint) from fault
        return {arch: _explained(found[arch], pins, kept, bool(missed)) for arch in arches}
    raise ArtifactError(
        f"{program}: " + ("; ".join(missed) or "no one version can be had for " + " and ".join(arches)),
        f"try again, or name a file of your own: `{program}: {{binary: FILE}}` in hosts.yml",
    )


def _explained(found: Artifact, pins: Pins, kept: str | None, fell_back: bool) -> Artifact:
    if fell_back:
        why = f" ({pins.publisher}'s release {pins.default} could not be reached)"
    elif kept and kept != pins.default:
        why = f" (kept: the cluster has it; the default is {pins.default})"
    else:
        return found
    return replace(found, origin=found.origin + why)


def _all_of(program: Program, offer: Offer, cache: Path, say: Say) -> dict[Arch, Artifact]:
    found = {
        arch: _first_of([Job(program, arch, source, cache, say) for source in sources])
        for arch, sources in offer.items()
    }
    versions = {arch: artifact.version_text for arch, artifact in found.items()}
    if len(set(versions.values())) > 1:  # only named files can differ
        told = ", ".join(f"{arch} {version}" for arch, version in versions.items())
        raise ArtifactError(f"{program}: the named files are of different versions: {told}")
    return found


def _first_of(jobs: Sequence[Job]) -> Artifact:
    # the whole cache before any network: two builds of one version must not swap places either
    for job in jobs:
        if found := cached(job):
            return found
    for job in jobs[:-1]:
        try:
            return taken(job)
        except Unreachable as fault:
            job.say(f"{job.program}: {fault.message}")
    return taken(jobs[-1])
