"""Builds the agents: one zip file that any host's Python can run. Equal sources give equal bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from ...core.resources import AGENT_SOURCES
from ...core.state.agents import AgentProgram
from ...core.version import VERSION
from ..disk.atomic import write_atomically

SOURCES = AGENT_SOURCES
_MAIN = "import sys\n\nfrom nexus_agents.__main__ import main\n\nsys.exit(main(sys.argv[1:]))\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip file can name


def build(cache: Path) -> AgentProgram:
    """Builds the program in memory, so that no stale copy is ever used, and keeps it packed in `cache`."""
    entries = {"__main__.py": _MAIN.encode(), **dict(_entries())}
    version = f"{VERSION}+{_digest(entries)}"
    content = _zip({**entries, "nexus_agents/VERSION": f"{version}\n".encode()})
    sha = hashlib.sha256(content).hexdigest()
    packed = cache / "agents" / f"{sha}.gz"
    if not packed.exists():
        packed.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(packed, gzip.compress(content, 9, mtime=0))
    return AgentProgram(sha, packed, version)


def _entries() -> Iterator[tuple[str, bytes]]:
    """Sources only: modules compiled here may not fit the host's Python."""
    for path in SOURCES.rglob("*.py"):
        yield f"nexus_agents/{path.relative_to(SOURCES).as_posix()}", path.read_bytes()


def _digest(entries: dict[str, bytes]) -> str:
    sums = sorted(f"{hashlib.sha256(data).hexdigest()} {name}" for name, data in entries.items())
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()[:12]


def _zip(entries: dict[str, bytes]) -> bytes:
    """Not compressed: versions of zlib give different bytes, and the upload is packed anyway."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(entries.items()):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system, info.external_attr = 3, 0o100644 << 16
            archive.writestr(info, data)
    return out.getvalue()
