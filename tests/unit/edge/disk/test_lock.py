"""The lock between runs on one machine."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from fabfile.core.errors import Busy
from fabfile.edge.disk import lock
from fabfile.edge.disk.lock import locked


def test_only_one_holds_it(tmp_path: Path) -> None:
    """Threads that read, wait and write lose no count."""
    count = tmp_path / "count"
    count.write_text("0")

    def add() -> None:
        for _ in range(20):
            with locked(tmp_path / ".lock"):
                number = int(count.read_text())
                count.write_text(str(number + 1))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count.read_text() == "80"
    assert (tmp_path / ".lock").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_replaced_meanwhile_is_locked_anew(tmp_path: Path) -> None:
    """Who waited for the old file holds the new one, so the file itself can be what is locked."""
    path = tmp_path / "f"
    path.write_text("old")
    held, seen = threading.Event(), []

    def wait_for_it() -> None:
        held.wait()
        with locked(path):
            seen.append(path.read_text())

    waiter = threading.Thread(target=wait_for_it)
    waiter.start()
    with locked(path):
        held.set()
        waiter.join(0.2)
        (tmp_path / "g").write_text("new")
        os.replace(tmp_path / "g", path)
    waiter.join()
    assert seen == ["new"]


def test_a_holder_that_does_not_move_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped run does not let others wait for ever."""
    monkeypatch.setattr(lock, "PATIENCE", 0.1)
    with locked(tmp_path / "f"), pytest.raises(Busy, match="another run holds it"), locked(tmp_path / "f"):
        pass
    with locked(tmp_path / "f"):
        pass


def test_nothing_is_made_where_it_must_not_be(tmp_path: Path) -> None:
    """An operator's file that is gone is not brought back empty."""
    with pytest.raises(FileNotFoundError), locked(tmp_path / "f", create=False):
        pass
    assert not list(tmp_path.iterdir())
