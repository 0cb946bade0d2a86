"""The kept records: found again, readable by nobody else, never half."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from fabfile.drills.report import store
from fabfile.drills.report.store import kept_runs, save, save_gameday
from tests.support import drill_records as drilled


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_record_is_found_again(tmp_path: Path) -> None:
    """Its JSON and the page beside it, named by time and drill."""
    page = save(tmp_path / "drills", drilled.passed())
    assert sorted(p.name for p in (tmp_path / "drills").iterdir()) == [
        "20261123T201504Z-kill-service.html", "20261123T201504Z-kill-service.json"]  # fmt: skip
    assert page.name.endswith(".html")
    assert page.read_text().startswith("<!doctype html>")
    assert kept_runs(tmp_path / "drills") == [(page.with_suffix(".json"), drilled.passed())]


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    """Whatever the umask, and also where the folder was there before, open to all."""
    (tmp_path / "open").mkdir(mode=0o755)
    before = os.umask(0)
    try:
        for folder in (tmp_path / "a" / "b", tmp_path / "open"):
            save(folder, drilled.passed())
            save_gameday(folder, [drilled.passed()])
            assert mode(folder) == 0o700
            assert {mode(p) for p in folder.iterdir()} == {0o600}
    finally:
        os.umask(before)
    assert mode(tmp_path / "a") == 0o700


def test_runs_are_in_order_and_of_one_drill(tmp_path: Path) -> None:
    """Oldest first, however they were saved; a drill whose name ends like another's is another drill."""
    made = [replace(drilled.passed(), began=drilled.BEGAN + n) for n in (30, 10, 20)]
    for record in (*made, replace(made[0], drill="re-kill-service"), drilled.failed()):
        save(tmp_path, record)
    assert [r.began - drilled.BEGAN for _, r in kept_runs(tmp_path, "kill-service")] == [10, 20, 30]
    assert [r.began - drilled.BEGAN for _, r in kept_runs(tmp_path, "kill-service", limit=2)] == [20, 30]
    assert len(kept_runs(tmp_path)) == 5
    assert kept_runs(tmp_path, "kill-agent") == []
    assert kept_runs(tmp_path / "none") == []


def test_damaged_files_are_left_out(tmp_path: Path) -> None:
    """Cut short, not JSON, too deep, of something else, a folder: the others are still found."""
    good = save(tmp_path, drilled.passed()).with_suffix(".json")
    whole = good.read_bytes()
    for number, content in enumerate((b"", whole[: len(whole) // 2], b"\xff\xfe", b"[" * 100_000, b"{}", b"null",
                                      whole.replace(b"1.84", b"NaN"))):  # fmt: skip
        (tmp_path / f"20261123T20150{number}Z-kill-service.json").write_bytes(content)
    (tmp_path / "20261123T201600Z-kill-service.json").mkdir()
    good.write_bytes(whole)
    assert [r for _, r in kept_runs(tmp_path)] == [drilled.passed()]
    assert [r for _, r in kept_runs(tmp_path, "kill-service")] == [drilled.passed()]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("which", [1, 2])
def test_an_interrupted_save_leaves_no_half_file(tmp_path: Path, monkeypatch, call: str, which: int) -> None:
    """Stopped before the first or the second file is in place: the files of before, or whole new ones; no remains."""
    save(tmp_path, replace(drilled.passed(), began=1.0))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    real, calls = getattr(os, call), []

    def stopped(*args: object) -> object:
        calls.append(args)
        if len(calls) == which:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(os, call, stopped)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, drilled.passed())
    monkeypatch.undo()
    after = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert {name: after.pop(name) for name in before} == before
    assert list(after) == ([] if which == 1 else ["20261123T201504Z-kill-service.json"])
    assert all(json.loads(content) for content in after.values())
    assert len(kept_runs(tmp_path)) == which


def test_remains_of_a_killed_process_are_no_record(tmp_path: Path) -> None:
    """SIGKILL amid the writing leaves a file under another name, which nobody takes for a record."""
    whole = json.dumps(drilled.passed().to_json())
    (tmp_path / ".20261123T201504Z-kill-service.json").write_text(whole)
    (tmp_path / ".20261123T201504Z-kill-service.json.abcdefgh").write_text(whole)
    assert kept_runs(tmp_path) == []


def test_the_same_run_is_kept_once_and_another_of_the_same_second_beside_it(tmp_path: Path) -> None:
    """No record is ever overwritten by another one, not even where what is there is damaged."""
    first, second = drilled.passed(), replace(drilled.passed(), began=drilled.BEGAN + 0.5)
    assert save(tmp_path, first) == save(tmp_path, first)
    assert save(tmp_path, second) != save(tmp_path, first)
    assert [r for _, r in kept_runs(tmp_path, "kill-service")] == [first, second]
    damaged = save(tmp_path, drilled.failed()).with_suffix(".json")
    damaged.write_text("half")
    save(tmp_path, drilled.failed())
    assert damaged.read_text() == "half"
    assert [r for _, r in kept_runs(tmp_path, "hang-service")] == [drilled.failed()]


def test_a_drills_name_cannot_leave_the_folder(tmp_path: Path) -> None:
    """Neither up, nor to a hidden file, nor to no name at all."""
    for name in ("../../etc/passwd", ".hidden", "", "a/b", drilled.HOSTILE, "x" * 500):
        page = save(tmp_path / "drills", replace(drilled.passed(), drill=name))
        assert page.parent == tmp_path / "drills"
        assert drilled.passed().began in [r.began for _, r in kept_runs(tmp_path / "drills", name)]
    assert [p.name for p in tmp_path.iterdir()] == ["drills"]


def test_a_report_shows_the_runs_before_it(tmp_path: Path) -> None:
    """Those of the same drill that the folder holds."""
    for n in (1, 2):
        save(tmp_path, replace(drilled.passed(), began=drilled.BEGAN - 100 * n, recovered_s=4.0))
    page = save(tmp_path, drilled.passed()).read_text()
    assert "2.16 s faster than the median of 2 earlier runs, 4.00 s." in page
    assert "No earlier run" in save(tmp_path, drilled.failed()).read_text()


def test_a_gameday_is_one_page_of_all(tmp_path: Path) -> None:
    """With a section each; compared with the runs of before; and no record of its own."""
    save(tmp_path, replace(drilled.passed(), began=1.0, recovered_s=9.0))
    made = [drilled.passed(), drilled.failed(), drilled.skipped()]
    for record in made:
        save(tmp_path, record)
    page = save_gameday(tmp_path, made)
    assert page.name == "20261123T201504Z-gameday.html"
    text = page.read_text()
    assert text.count("<article") == 3
    assert "Gameday: 1 of 2 drills passed" in text
    assert "faster than the median of 1 earlier run, 9.00 s" in text
    assert len(kept_runs(tmp_path)) == 4
    assert "0 of 0 drills" in save_gameday(tmp_path, []).read_text()


def test_a_number_that_is_none_is_not_kept(tmp_path: Path) -> None:
    """It would be a file that cannot be read again."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        save(tmp_path, replace(drilled.passed(), recovered_s=float("nan")))
    assert list(tmp_path.iterdir()) == []


def test_a_page_is_compared_with_few(tmp_path: Path, monkeypatch) -> None:
    """A folder of many runs is not read whole for one report."""
    for n in range(30):
        save(tmp_path, replace(drilled.unloaded(), began=float(n)))
    read = []
    real = store._read
    monkeypatch.setattr(store, "_read", lambda path: read.append(path) or real(path))
    save(tmp_path, replace(drilled.unloaded(), began=100.0))
    assert len(read) <= 12
