"""Root by sudo with a password: what goes over stdin, and that nothing of it reaches the command."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fabfile.core.errors import InputError
from fabfile.edge.ssh import sudo

PASSWORD = "correct horse"
BYTES = bytes(range(256)) * 500


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(sudo.FILE, raising=False)
    monkeypatch.setattr(sudo, "_asked", [])
    sudo._from_file.cache_clear()
    yield
    sudo._from_file.cache_clear()


def run(argv: list[str], stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    argv, chunks = sudo.as_root(argv, [stdin])
    return subprocess.run(argv, input=b"".join(chunks), capture_output=True, check=False)


def test_without_a_password_stdin_is_as_it_was() -> None:
    argv, stdin = sudo.as_root(["cat"], [b"x"])
    assert (argv[-1], list(stdin)) == ("cat", [b"x"])
    assert "-S" not in argv[2]


def test_the_password_is_in_no_argv_and_reaches_no_command() -> None:
    """Where sudo does not ask, as for root, the command still gets its own stdin only, byte for byte."""
    sudo.use(PASSWORD)
    argv, stdin = sudo.as_root(["cat"], [BYTES])
    assert PASSWORD not in " ".join(argv)
    assert b"".join(stdin).startswith(PASSWORD.encode() + b"\n")
    assert run(["cat"], BYTES).stdout == BYTES
    assert run(["sh", "-s"], b"echo $((1+1))").stdout == b"2\n"


def test_it_is_read_from_a_file_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    file.chmod(0o600)
    monkeypatch.setenv(sudo.FILE, str(file))
    assert b"".join(sudo.as_root(["true"], [])[1]).startswith(PASSWORD.encode() + b"\n")


@pytest.mark.parametrize(("text", "mode", "told"), [
    (PASSWORD, 0o644, "is open to others"), ("", 0o600, "is empty"), ("\n", 0o600, "is empty"), (None, 0, "is not there"),
    (b"\xff\xfe", 0o600, "is no text file"),
])  # fmt: skip
def test_a_file_that_is_unfit_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | bytes | None, mode: int, told: str
) -> None:
    file = tmp_path / "password"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        file.chmod(mode)
    monkeypatch.setenv(sudo.FILE, str(file))
    with pytest.raises(InputError, match=told):
        sudo.as_root(["true"], [])
