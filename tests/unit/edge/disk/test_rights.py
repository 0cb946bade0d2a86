"""The state folder is its owner's alone: what is open is closed and told, or refused."""

from __future__ import annotations

from pathlib import Path
from stat import S_IMODE

import pytest
from invoke.context import Context
from invoke.exceptions import Exit

from fabfile.cli.tasks import secrets
from fabfile.core.errors import Refused
from fabfile.edge.disk.rights import close_to_others
from fabfile.edge.disk.vault import FILE, Vault
from tests.support.samples import SECRETS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Vault(tmp_path / ".nexus" / "prod").save(SECRETS)
    return tmp_path / ".nexus" / "prod"


def rights(path: Path) -> int:
    return S_IMODE(path.stat().st_mode)


def test_what_we_made_is_closed(folder: Path, tmp_path: Path) -> None:
    """Nothing is told of a folder as we leave it, nor of one that is not there."""
    assert close_to_others(folder) == ()
    assert close_to_others(tmp_path / "none" / "prod") == ()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o666, 0o604])
def test_open_secrets_are_closed_and_told(folder: Path, mode: int) -> None:
    """Whoever has read them meanwhile still has them, so the way to new ones is told. Kept copies count as well."""
    kept = folder / "before-import-1"
    Vault(kept).save(SECRETS)
    for file in (folder / FILE, kept / FILE):
        file.chmod(mode)
    told = close_to_others(folder)
    assert [rights(folder / FILE), rights(kept / FILE)] == [0o600, 0o600]
    assert len(told) == 2
    assert f"{FILE} was open to others ({mode:04o})" in told[0]
    assert "inv secrets.rotate" in told[0]
    assert close_to_others(folder) == ()


@pytest.mark.parametrize("mode", [0o777, 0o722, 0o755])
def test_open_folders_are_closed_and_told(folder: Path, mode: int) -> None:
    """The cluster's folder always, the one above where others may write in it."""
    folder.chmod(mode)
    folder.parent.chmod(mode)
    told = close_to_others(folder)
    assert rights(folder) == 0o700
    assert rights(folder.parent) == (0o755 if mode == 0o755 else 0o700)
    assert len(told) == (1 if mode == 0o755 else 2)


def test_a_folder_that_is_for_more_is_not_changed(tmp_path: Path) -> None:
    """A $NEXUS_STATE in which everybody may write is refused; one like /tmp, where nobody can take ours away, is not."""
    root = tmp_path / "shared"
    Vault(root / "prod").save(SECRETS)
    root.chmod(0o777)
    with pytest.raises(Refused, match="everybody may write in") as caught:
        close_to_others(root / "prod")
    assert "NEXUS_STATE" in caught.value.hint
    assert rights(root) == 0o777
    root.chmod(0o1777)
    assert close_to_others(root / "prod") == ()


@pytest.mark.parametrize("place", ["root", "folder"])
def test_a_file_in_its_place_is_told(tmp_path: Path, place: str) -> None:
    """A state folder that is a file, or in one, is refused by its name; /dev/null, above all, is left alone."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="is no folder"):
        close_to_others(tmp_path / "file" if place == "folder" else tmp_path / "file" / "prod")
    with pytest.raises(Refused, match=r"^/dev/null is no folder"):
        close_to_others(Path("/dev/null/prod"))


def test_what_cannot_be_closed_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without rights, or with a file of somebody else, the command ends."""
    (folder / FILE).chmod(0o644)
    monkeypatch.setattr(Path, "chmod", lambda *_: None)
    with pytest.raises(Refused, match=r"open to others \(0644\), and cannot be closed"):
        close_to_others(folder)


def test_every_command_looks(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever reads hosts.yml closes the folder beside it first."""
    monkeypatch.chdir(folder.parent.parent)
    monkeypatch.delenv("NEXUS_HOSTS", raising=False)
    monkeypatch.delenv("NEXUS_STATE", raising=False)
    Path("hosts.yml").write_text("cluster: prod\nhosts: {m1: {ssh: 192.0.2.1, roles: [manager]}}\n")
    (folder / FILE).chmod(0o644)
    with pytest.raises(Exit):
        secrets.export(Context(), "hosts.yml")
    assert capsys.readouterr().err.startswith(f"warning: .nexus/prod/{FILE} was open to others (0644)")
    assert rights(folder / FILE) == 0o600
