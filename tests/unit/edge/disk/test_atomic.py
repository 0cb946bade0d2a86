"""Atomic writes: a crash or a failure leaves the old file or the new one."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from fabfile.edge.disk.atomic import write_atomically


def rights(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("fails_at", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: str) -> None:
    """When the disk fails in the middle, the old bytes stay and no temporary file is left."""
    path = tmp_path / "x.json"
    write_atomically(path, b"old")

    def fail(*_: object) -> None:
        raise OSError("disk")

    monkeypatch.setattr(os, fails_at, fail)
    with pytest.raises(OSError, match="disk"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_a_write_is_never_seen_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All bytes are on disk, under another name, before the file gets its own."""
    path = tmp_path / "x.json"
    seen: list[bytes] = []
    real = os.replace

    def watch(source: str, target: Path) -> None:
        seen.append(Path(source).read_bytes())
        assert not target.exists()
        real(source, target)

    monkeypatch.setattr(os, "replace", watch)
    write_atomically(path, json.dumps({"a": 1}).encode())
    assert seen == [b'{"a": 1}']


def test_the_mode_is_set(tmp_path: Path) -> None:
    """A file that others may read gets that mode, and is private until then."""
    write_atomically(tmp_path / "a", b"", 0o644)
    write_atomically(tmp_path / "b", b"")
    assert (rights(tmp_path / "a"), rights(tmp_path / "b")) == (0o644, 0o600)


def test_a_failed_write_names_the_file(tmp_path: Path) -> None:
    """The error names the file itself, not the temporary one."""
    path = tmp_path / "none" / "x.json"
    with pytest.raises(FileNotFoundError) as failed:
        write_atomically(path, b"")
    assert failed.value.filename == str(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    """As root, a write to /dev/null must not make a plain file of it."""
    path = tmp_path / "null"
    os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    with pytest.raises(OSError, match="regular file"):
        write_atomically(path, b"x")
    assert stat.S_ISCHR(path.stat().st_mode)
    assert [p.name for p in tmp_path.iterdir()] == ["null"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """What a link leads to is replaced, wherever it is: secrets stay on the encrypted disk that they were put on."""
    (tmp_path / "safe").mkdir()
    link = tmp_path / "x.json"
    link.symlink_to("safe/x.json")
    for content in (b"1", b"2"):
        write_atomically(link, content)
        assert link.is_symlink()
        assert (tmp_path / "safe/x.json").read_bytes() == content
