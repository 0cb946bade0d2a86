"""remote_agents/lock.sh, run for real on a temporary root under each shell."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.script_host import SCRIPTS, SHELLS, Outcome, call, state_of

pytestmark = [
    pytest.mark.parametrize("shell", SHELLS),
    pytest.mark.skipif(shutil.which("flock") is None, reason="flock is not installed"),
]
LOCK = SCRIPTS / "lock.sh"


def take(shell: str, root: Path, lock_id: str, seconds: int = 60, what: str = "deploy") -> Outcome:
    return call(shell, LOCK, root, "take", lock_id, seconds, "laptop:boot:7", "ann@laptop", what)


def release(shell: str, root: Path, lock_id: str) -> Outcome:
    return call(shell, LOCK, root, "release", lock_id)


def test_a_free_lock_is_taken(shell: str, tmp_path: Path) -> None:
    """On a host that never saw us the lock is taken, in a folder that only root may enter."""
    assert take(shell, tmp_path, "a").lines == ("taken a",)
    assert state_of(tmp_path).stat().st_mode & 0o777 == 0o700


def test_the_lock_file_says_who_what_and_until_when(shell: str, tmp_path: Path) -> None:
    """All that a refused colleague will read is in the file, times in seconds since the epoch."""
    before = int(time.time())
    take(shell, tmp_path, "a", 60, "deploy --hosts all")
    held = dict(line.split(" ", 1) for line in (state_of(tmp_path) / "lock").read_text().splitlines())
    since = int(held.pop("since"))
    assert before <= since <= int(time.time())
    assert int(held.pop("expires")) == since + 60
    assert held == {"id": "a", "origin": "laptop:boot:7", "who": "ann@laptop", "what": "deploy --hosts all"}


def test_a_held_lock_is_refused_with_its_lines(shell: str, tmp_path: Path) -> None:
    """A second taker gets every line of the lock that stands, and does not change it."""
    take(shell, tmp_path, "a")
    before = (state_of(tmp_path) / "lock").read_text()
    refused = take(shell, tmp_path, "b")
    assert refused.lines == tuple(f"held {line}" for line in before.splitlines())
    assert (state_of(tmp_path) / "lock").read_text() == before


def test_the_holder_may_take_it_again(shell: str, tmp_path: Path) -> None:
    """Taking one's own lock again prolongs it."""
    take(shell, tmp_path, "a", 60)
    assert take(shell, tmp_path, "a", 600).lines == ("taken a",)
    assert "expires" in (state_of(tmp_path) / "lock").read_text()
    assert [x for x in take(shell, tmp_path, "b").lines if x.startswith("held id")] == ["held id a"]


def test_a_released_lock_is_free(shell: str, tmp_path: Path) -> None:
    """After its release nobody is refused."""
    take(shell, tmp_path, "a")
    assert release(shell, tmp_path, "a").lines == ("released a",)
    assert take(shell, tmp_path, "b").lines == ("taken b",)


def test_anothers_lock_is_not_released(shell: str, tmp_path: Path) -> None:
    """A release under another id tells who holds it and leaves it standing."""
    take(shell, tmp_path, "a")
    assert "held id a" in release(shell, tmp_path, "b").lines
    assert "held id a" in take(shell, tmp_path, "b").lines


def test_releasing_what_nobody_holds_is_no_fault(shell: str, tmp_path: Path) -> None:
    """A release on a bare host, and a second one, succeed."""
    assert release(shell, tmp_path, "a").code == 0
    assert release(shell, tmp_path, "a").lines == ("released a",)


def test_an_expired_lock_may_be_taken(shell: str, tmp_path: Path) -> None:
    """A lock whose time has run out holds nobody up."""
    take(shell, tmp_path, "a", 0)
    assert take(shell, tmp_path, "b").lines == ("taken b",)


@pytest.mark.parametrize("text", ["", "id a\n", "expires\n", "id a\nexpires soon\n", "id a\nexp"])
def test_a_broken_lock_file_holds_nobody_up(shell: str, text: str, tmp_path: Path) -> None:
    """A lock file that is empty or cut short does not lock the cluster for ever."""
    state_of(tmp_path).mkdir(parents=True)
    (state_of(tmp_path) / "lock").write_text(text)
    assert take(shell, tmp_path, "b").lines == ("taken b",)


@pytest.mark.parametrize("what", ["$(touch x) `y`", "50% of \\n it's \"all\"", "-n", "tab\tin", "* ?"])
def test_words_are_kept_as_they_are(shell: str, what: str, tmp_path: Path) -> None:
    """What the holder says reaches the colleague letter by letter, whatever the shell could make of it."""
    take(shell, tmp_path, "a", 60, what)
    assert f"held what {what}" in take(shell, tmp_path, "b").lines


def test_of_twenty_takers_one_gets_it(shell: str, tmp_path: Path) -> None:
    """Twenty that take it at the same moment: one has it, and the others are told of that one."""
    words = ["60", "laptop:boot:7", "ann@laptop", "deploy"]
    running = [
        subprocess.Popen([shell, LOCK, tmp_path, "take", f"id{n}", *words], stdout=subprocess.PIPE, text=True)
        for n in range(20)
    ]
    said = [process.communicate(timeout=30)[0].splitlines() for process in running]
    won = [lines[0].removeprefix("taken ") for lines in said if lines[0].startswith("taken ")]
    assert len(won) == 1
    assert [lines for lines in said if f"held id {won[0]}" not in lines] == [[f"taken {won[0]}"]]
