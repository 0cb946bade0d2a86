"""Keeps records and their pages in one folder: `<utc timestamp>-<drill>.json`, and `.html` beside it.

Each file is written by rename, the JSON first: the page can be made from it again.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...core.errors import InputError
from ...core.text import file_timestamp
from ...edge.disk.atomic import write_atomically
from ..verdict.record import Record
from ..verdict.record_schema import read_record
from .html import render_page

COMPARED_RUNS = 10  # earlier runs that a report shows


def save(folder: Path, record: Record) -> Path:
    """Both files, mode 0600; returns the page's path. The page shows the last runs that the folder holds. OSError."""
    _ensure_folder(folder)
    path = _path(folder, record)
    kept = [r for _, r in kept_runs(folder, record.drill, COMPARED_RUNS + 1)]
    write_atomically(path, (json.dumps(record.to_json(), allow_nan=False) + "\n").encode())
    return _write_page(path.with_suffix(".html"), [record], kept)


def kept_runs(folder: Path, drill: str | None = None, limit: int | None = None) -> list[tuple[Path, Record]]:
    """The kept records, oldest first; of one drill only, or the newest `limit` only, if given.

    Damaged records and other files are left out: an unreadable file must not hide the others.
    """
    runs: list[tuple[Path, Record]] = []
    suffix = ".json" if drill is None else f"-{_slug(drill)}.json"
    for path in sorted(_files(folder, suffix), key=lambda p: p.name, reverse=True):
        record = _read(path)
        if record is not None and drill in (None, record.drill):
            runs.append((path, record))
        if len(runs) == limit:
            break
    return sorted(runs, key=lambda pair: pair[1].began)


def newest_page(folder: Path, page: Path) -> Path:
    """`page`, of the last drill, or a gameday's page that is not older: it includes that drill."""
    gamedays = sorted(folder.glob("*-gameday.html"), key=lambda p: p.stat().st_mtime)
    newer = gamedays and page.exists() and gamedays[-1].stat().st_mtime >= page.stat().st_mtime
    return gamedays[-1] if newer else page


def save_gameday(folder: Path, records: Sequence[Record]) -> Path:
    """`<utc timestamp of the first>-gameday.html`: a table, and a section per drill. `save` keeps its records."""
    _ensure_folder(folder)
    began = records[0].began if records else time.time()
    drills = sorted({r.drill for r in records})
    kept = [r for drill in drills for _, r in kept_runs(folder, drill, COMPARED_RUNS + len(records))]
    return _write_page(folder / f"{file_timestamp(began)}-gameday.html", records, kept)


def _write_page(path: Path, records: Sequence[Record], kept: Sequence[Record]) -> Path:
    write_atomically(path, render_page(records, kept).encode())
    return path


def _ensure_folder(folder: Path) -> None:
    """Mode 0700, for each folder above it that is created too."""
    for each in reversed([folder, *folder.parents]):
        if not each.exists():
            each.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)


def _path(folder: Path, record: Record) -> Path:
    """The same path when the same run is saved twice; another one for another run of the same second."""
    number = 1
    while True:
        counter = "" if number == 1 else f".{number}"
        path = folder / f"{file_timestamp(record.began)}{counter}-{_slug(record.drill)}.json"
        kept = _read(path) if path.exists() else None
        if not path.exists() or (kept is not None and (kept.drill, kept.began) == (record.drill, record.began)):
            return path
        number += 1


def _files(folder: Path, suffix: str) -> Iterator[Path]:
    """Without the half-written files of a killed process: their names begin with a dot."""
    if folder.is_dir():
        yield from (p for p in folder.iterdir() if p.name.endswith(suffix) and not p.name.startswith("."))


def _read(path: Path) -> Record | None:
    try:
        return read_record(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError, InputError):
        return None


def _slug(drill: str) -> str:
    """A drill's name as part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", drill.lower()).strip("-")[:60] or "drill"
