"""Records and their reports, kept in one folder: `<utc stamp>-<drill>.json` and `.html` beside it.

Each file lands by rename, the JSON first: it is what the other can be made from again.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...core.errors import InputError
from ...core.text import stamp
from ...edge.disk.state import write_atomically
from ..verdict.record import Record
from ..verdict.record_schema import read_record
from .html import report

COMPARED = 10  # earlier runs that a report shows


def save(folder: Path, record: Record) -> Path:
    """Both files, 0600; the path of the HTML. The report shows the last runs that the folder holds. OSError."""
    _ensure(folder)
    path = _path(folder, record)
    before = [r for _, r in runs(folder, record.drill, COMPARED + 1)]
    write_atomically(path, (json.dumps(record.to_json(), allow_nan=False) + "\n").encode())
    return _write_page(path.with_suffix(".html"), [record], before)


def runs(folder: Path, drill: str | None = None, most: int | None = None) -> list[tuple[Path, Record]]:
    """The records kept, oldest first; of one drill, and the newest `most`, if so asked.

    What is no record, or is damaged, is left out: a file that nobody can read must not hide the others.
    """
    found: list[tuple[Path, Record]] = []
    ends = ".json" if drill is None else f"-{_slug(drill)}.json"
    for path in sorted(_files(folder, ends), key=lambda p: p.name, reverse=True):
        record = _read(path)
        if record is not None and drill in (None, record.drill):
            found.append((path, record))
        if len(found) == most:
            break
    return sorted(found, key=lambda pair: pair[1].began)


def newest(folder: Path, page: Path) -> Path:
    """`page`, of the last drill, or the page of a gameday that is no older: it has the drill in it."""
    days = sorted(folder.glob("*-gameday.html"), key=lambda p: p.stat().st_mtime)
    later = days and page.exists() and days[-1].stat().st_mtime >= page.stat().st_mtime
    return days[-1] if later else page


def save_gameday(folder: Path, records: Sequence[Record]) -> Path:
    """`<utc stamp of the first>-gameday.html`: a table of all, and each drill's section. Its records are kept by `save`."""
    _ensure(folder)
    began = records[0].began if records else time.time()
    before = [r for drill in sorted({r.drill for r in records}) for _, r in runs(folder, drill, COMPARED + len(records))]
    return _write_page(folder / f"{stamp(began)}-gameday.html", records, before)


def _write_page(path: Path, records: Sequence[Record], before: Sequence[Record]) -> Path:
    write_atomically(path, report(records, before).encode())
    return path


def _ensure(folder: Path) -> None:
    """0700, and so is each folder above it that had to be made."""
    for each in reversed([folder, *folder.parents]):
        if not each.exists():
            each.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)


def _path(folder: Path, record: Record) -> Path:
    """Its own again when the same run is saved twice; never that of another run of the same second."""
    number = 1
    while True:
        mark = "" if number == 1 else f".{number}"
        path = folder / f"{stamp(record.began)}{mark}-{_slug(record.drill)}.json"
        kept = _read(path) if path.exists() else None
        if not path.exists() or (kept is not None and (kept.drill, kept.began) == (record.drill, record.began)):
            return path
        number += 1


def _files(folder: Path, ends: str) -> Iterator[Path]:
    """Half-written ones of a killed process begin with a dot, and are none."""
    if folder.is_dir():
        yield from (p for p in folder.iterdir() if p.name.endswith(ends) and not p.name.startswith("."))


def _read(path: Path) -> Record | None:
    try:
        return read_record(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError, InputError):
        return None


def _slug(drill: str) -> str:
    """A drill's name as part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", drill.lower()).strip("-")[:60] or "drill"
