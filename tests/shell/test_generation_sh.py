"""remote_agents/generation.sh, run for real on a temporary root under each shell."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.script_host import SCRIPTS, SHELLS, call, state_of

pytestmark = [
    pytest.mark.parametrize("shell", SHELLS),
    pytest.mark.skipif(shutil.which("flock") is None, reason="flock is not installed"),
]
SCRIPT = SCRIPTS / "generation.sh"


@pytest.mark.parametrize(
    ("links", "lines"),
    [
        ({}, ("current -",)), ({"current": "a1"}, ("current a1",)),
        ({"current": "a1", "pending": "b2"}, ("current a1", "pending b2")),
    ],
)  # fmt: skip
def test_what_stands_is_told(shell: str, tmp_path: Path, links: dict[str, str], lines: tuple[str, ...]) -> None:
    """The generation that is there, and the one that was begun and not finished."""
    state_of(tmp_path).mkdir(parents=True)
    for name, id_ in links.items():
        (state_of(tmp_path) / name).symlink_to(f"generations/{id_}")
    assert call(shell, SCRIPT, tmp_path, 1).lines == lines


def test_one_at_work_is_waited_for(shell: str, tmp_path: Path) -> None:
    """As long as it was told to; then it says that apply.sh is still at it."""
    state_of(tmp_path).mkdir(parents=True)
    lock = state_of(tmp_path) / ".apply.lock"
    with subprocess.Popen(["flock", str(lock), "sleep", "60"]) as apply:
        try:
            while subprocess.run(["flock", "-n", str(lock), "true"], check=False).returncode == 0:
                pass
            assert call(shell, SCRIPT, tmp_path, 0).lines == ("running yes",)
        finally:
            apply.terminate()
