"""Which Debian the lab's nodes run: the options, the mirror that has it, its image, its place in the Compose file."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from invoke.context import Context
from invoke.exceptions import Exit

from fabfile.cli.tasks import lab
from fabfile.core.errors import InputError
from fabfile.lab import compose, debian_packages, nodes, releases
from fabfile.lab import node_image as image
from fabfile.lab.releases import OWN, Releases

TRIXIE = "Hash: SHA256\n\nOrigin: Debian\nLabel: Debian\nSuite: stable\nCodename: trixie\nDate: x\n"


@pytest.mark.parametrize(
    ("nodes", "spare", "there", "chosen"),
    [
        ("", "", None, Releases()),
        ("13", "", None, Releases("13", "13")),
        ("", "13", None, Releases(OWN, "13")),
        ("13", "12", None, Releases("13", OWN)),
        ("12", "", None, Releases()),
        ("", "", Releases(OWN, "13"), Releases(OWN, "13")),
        ("13", "", Releases(), Releases("13", "13")),
        ("", "12", Releases(OWN, "13"), Releases()),
        ("", "13", Releases("13", "13"), Releases("13", "13")),
    ],
)
def test_what_the_options_leave_open_stays(nodes: str, spare: str, there: Releases | None, chosen: Releases) -> None:
    """On a Debian 12: asking for 12 is asking for the image that is there anyway."""
    assert releases.choose(nodes, spare, there, "12") == chosen


def test_another_system_has_no_release_of_its_own() -> None:
    """An Ubuntu is none of Debian's releases, and nothing that was left out turns into one."""
    assert releases.own_number({"ID": "ubuntu", "VERSION_ID": "24.04"}) == ""
    assert releases.own_number({"ID": "debian", "VERSION_ID": "12"}) == "12"
    assert releases.choose("", "", Releases("13", "13"), "") == Releases("13", "13")
    assert releases.choose("12", "", None, "") == Releases("12", "12")


@pytest.mark.parametrize("text", ["11", "trixie", "13.1", " 13", "own"])
def test_a_release_that_the_lab_cannot_build_is_one_line(text: str) -> None:
    """With the option and what it may be."""
    with pytest.raises(InputError, match=r"--debian .*: is not one of 12, 13"):
        releases.check("--debian", text)


def mirrors(answers: dict[str, str]) -> Callable[[str], str]:
    def read(url: str) -> str:
        if url not in answers:
            raise OSError("HTTP Error 404: Not Found")
        return answers[url]

    return read


def test_the_first_mirror_that_has_the_release_is_taken() -> None:
    """One without it is passed over, and so is another archive with a folder of that name."""
    sites = ["http://old.example/debian", "http://docker.example/debian", "http://a.example/debian"]
    read = mirrors({
        "http://docker.example/debian/dists/trixie/InRelease": TRIXIE.replace("Origin: Debian", "Origin: Docker"),
        "http://a.example/debian/dists/trixie/InRelease": TRIXIE,
    })  # fmt: skip
    assert releases.source_line("13", sites, read) == "deb http://a.example/debian trixie main"


@pytest.mark.parametrize(
    ("sites", "told"),
    [
        (["http://u:secret@old.example/debian"], "old.example: HTTP Error 404: Not Found"),
        (["http://x.example/debian"], "x.example: what it calls trixie is not Debian's"),
        ([], "none is configured"),
    ],
)
def test_no_mirror_with_the_release_is_one_sentence(sites: list[str], told: str) -> None:
    """It names the release and what each mirror answered, and no password of a mirror."""
    read = mirrors({"http://x.example/debian/dists/trixie/InRelease": "<html>welcome</html>"})
    with pytest.raises(releases.NoMirror) as error:
        releases.source_line("13", sites, read)
    assert error.value.message == f"no apt mirror of this machine has Debian 13 (trixie): {told}"
    assert "secret" not in error.value.message


def test_another_release_comes_from_the_mirror_that_is_named() -> None:
    """mmdebstrap's last argument is apt's line; without it mmdebstrap takes the machine's own sources."""
    line = "deb http://a.example/debian trixie main"
    assert image.bootstrap_command("trixie", line)[-3:] == ["trixie", "-", line]
    assert image.bootstrap_command("bookworm")[-2:] == ["bookworm", "-"]
    assert image.dockerfile("13").startswith("FROM debian:13\n")


def test_each_release_has_an_image_that_tells_it() -> None:
    """The releases' images lie side by side, and the tag says which is which."""
    tags = {release: image.tag(release) for release in (OWN, *releases.SUITES)}
    assert len(set(tags.values())) == 3
    assert {release: image.release_of(tag) for release, tag in tags.items()} == {r: r for r in tags}
    assert image.release_of("nexus-lab-node:debian99-0123456789ab") == OWN


def test_only_the_spare_has_the_other_image_and_a_docker_folder_of_its_own() -> None:
    """A Docker of Debian 12 never sees what one of Debian 13 has written; the other nodes stay byte by byte."""
    plain = yaml.safe_load(compose.render("nexus-lab-node:a"))
    mixed: dict[str, Any] = yaml.safe_load(compose.render("nexus-lab-node:a", "nexus-lab-node:debian13-b"))
    spare, before = mixed["services"].pop("spare"), plain["services"].pop("spare")
    assert mixed["services"] == plain["services"]
    assert (spare["image"], spare["volumes"]) == ("nexus-lab-node:debian13-b", ["spare-docker-debian13:/var/lib/docker"])
    assert before["volumes"] == ["spare-docker:/var/lib/docker"]
    assert {**spare, "image": 0, "volumes": 0} == {**before, "image": 0, "volumes": 0}
    assert "spare-docker-debian13" in mixed["volumes"]
    assert compose.render("nexus-lab-node:a", "nexus-lab-node:a") == compose.render("nexus-lab-node:a")


def test_the_compose_file_says_which_debian_is_there(tmp_path: Path) -> None:
    """Read back as it was written. No file, or one that is damaged, is no lab."""
    assert nodes.releases_there(tmp_path) is None
    file = compose.compose_file(tmp_path)
    for there in (Releases(), Releases(OWN, "13"), Releases("13", "13")):
        file.write_text(compose.render(image.tag(there.nodes), image.tag(there.spare)))
        assert nodes.releases_there(tmp_path) == there
    for damaged in ("", "services: [", "services: {m1: {}}", "[]"):
        file.write_text(damaged)
        assert nodes.releases_there(tmp_path) is None


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Releases]:
    """What `lab.up` brings up on a Debian 12 whose lab is of Debian 12, instead of doing it."""
    calls: list[Releases] = []
    monkeypatch.setattr(nodes, "up", lambda _, wanted: calls.append(wanted))
    monkeypatch.setattr(nodes, "releases_there", Releases)
    monkeypatch.setattr("sys.stdin", io.StringIO())  # a terminal would be asked
    monkeypatch.setattr(debian_packages, "os_release", lambda: {"ID": "debian", "VERSION_ID": "12"})
    return calls


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"debian": "14"}, "--debian 14: is not one of 12, 13"),
        ({"spare_debian": "sid"}, "--spare-debian sid: is not one of 12, 13"),
        ({"debian": "13"}, "a cluster may be on them\nhint: inv lab.down takes them away; then: inv lab.up --debian 13"),
        ({"spare_debian": "13"}, "add --yes to go on without asking"),
    ],
)
def test_no_node_that_is_there_is_replaced_unasked(
    asked: list[Releases], capsys: pytest.CaptureFixture[str], options: dict[str, str], told: str
) -> None:
    """Another release for nodes that are up: refused, for a cluster may be on them; the spare's goes by --yes."""
    with pytest.raises(Exit):
        lab.up(Context(), **options)
    assert told in capsys.readouterr().err
    assert asked == []


def test_a_spare_of_another_release_beside_the_lab(asked: list[Releases], capsys: pytest.CaptureFixture[str]) -> None:
    """By --yes; and what the lab has already is no change."""
    lab.up(Context(), debian="12")
    lab.up(Context(), spare_debian="13", yes=True)
    assert asked == [Releases(), Releases(OWN, "13")]
    assert "spare (127.0.7.7), Debian 13, to grow by" in capsys.readouterr().err
