"""Files that options name: what is wrong with one is reported before anything is done for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from invoke.context import Context
from invoke.exceptions import Exit

from fabfile.cli.console.command import command
from fabfile.cli.tasks import bench, chaos, secrets
from fabfile.cli.views import gameday_view
from fabfile.core.errors import InputError
from fabfile.drills.verdict.record import Record
from fabfile.edge.artifacts.resolve import cache_dir
from fabfile.edge.disk import paths

HOSTS = "cluster: c\nhosts: {m1: {ssh: 192.0.2.1, roles: [manager]}}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEXUS_HOSTS", raising=False)
    (tmp_path / "hosts.yml").write_text(HOSTS)
    return tmp_path


@pytest.mark.parametrize(
    ("named", "message"),
    [("none/x.xml", "none/x.xml: there is no folder none"), (".", ".: is a folder; a file is due")],
)
def test_where_nothing_can_be_written_is_told_first(
    folder: Path, capsys: pytest.CaptureFixture[str], named: str, message: str
) -> None:
    """Before a passphrase is asked for, or a drill begins."""
    for flag, task in (
        ("FILE", lambda: secrets.export(Context(), named)), ("--junit", lambda: chaos.report(Context(), junit=named)),
    ):  # fmt: skip
        with pytest.raises(Exit):
            task()
        assert capsys.readouterr().err.splitlines()[0] == f"error: {flag} {message}"


def test_what_is_not_ours_to_write_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder's mode counts for a new file, the file's own for one that is there."""
    (folder / "old").touch()
    asked: list[str] = []
    monkeypatch.setattr(paths.os, "access", lambda path, _: asked.append(Path(path).name))
    for name in ("new", "old"):
        with pytest.raises(InputError, match=f"--junit {name}: is not yours to write"):
            paths.output_path("--junit", name)
    assert asked == [folder.name, "old"]


@pytest.mark.parametrize(
    ("content", "message"), [(None, "is not there"), (b"\xffpassphrase", "is not UTF-8 text"), ("folder", "is a folder")]
)
def test_a_passphrase_file_that_is_none_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], content: object, message: str
) -> None:
    """One line with the option, the file and why; the hint says what is due."""
    file = folder / "p"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content:
        file.mkdir()
    with pytest.raises(Exit):
        secrets.export(Context(), "out", passphrase_file="p")
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: --passphrase-file p: {message}")
    assert hint == "hint: file with the passphrase in its first line (default: you are asked)"


def test_a_result_is_shown_before_it_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that went away meanwhile, or a document that is not text, does not lose what was measured."""
    (folder / "out").mkdir()

    def run_gameday(*_: object) -> tuple[list[Record], Path]:
        (folder / "out").rmdir()
        return [Record("kill-service", "PASS", 0.0)], folder / "page.html"

    monkeypatch.setattr(gameday_view, "run_gameday", run_gameday)
    with pytest.raises(Exit):
        chaos.gameday(Context(), only="kill-service", yes=True, junit="out/x.xml")
    said = capsys.readouterr()
    assert "kill-service" in said.out
    assert said.err.splitlines()[0] == "error: out/x.xml: no such file or directory"
    (folder / "book.md").write_bytes(b"\xff")
    with pytest.raises(UnicodeDecodeError):
        bench._publish({"bench.deploy": ["the table"]}, "book.md")
    assert capsys.readouterr().out == "the table\n"


def test_a_home_is_a_folder(tmp_path: Path) -> None:
    """$HOME goes before the account's; a file or a relative name is an error that names the variable."""
    (tmp_path / "file").write_text("")
    assert paths.home_folder({"HOME": str(tmp_path)}) == tmp_path
    assert paths.home_folder({"HOME": "/none-such"}) == Path("/none-such")  # nothing is in it, and nothing is missed
    assert paths.home_folder({"HOME": ""}) == Path.home()
    for home in (str(tmp_path / "file"), "here", "~"):
        with pytest.raises(InputError, match=r"HOME: .* is no folder"):
            paths.home_folder({"HOME": home})


def test_a_home_that_nobody_has_is_told() -> None:
    """~NAME of an account that is not there, wherever it stands, is one line."""
    with pytest.raises(InputError, match=r"NEXUS_CACHE: .*there is no such home"):
        cache_dir({"NEXUS_CACHE": "~no-such-account/x"})

    @command()
    def probe(c: Context) -> None:
        Path("~no-such-account/x").expanduser()

    with pytest.raises(Exit):
        probe(Context())


def test_an_account_without_a_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user id without an account, as in some containers, needs $HOME."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 987654)
    with pytest.raises(InputError, match="your account has no home folder"):
        paths.home_folder({})
