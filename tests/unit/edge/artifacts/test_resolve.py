"""Binaries: which source is taken, and that nothing but a whole, checked binary ever stays in the cache.

Releases come from a real HTTP server on loopback; only one test leaves the machine, through its apt mirror.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import platform
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fabfile.core.errors import ArtifactError
from fabfile.core.model.cluster import Arch, Binary
from fabfile.core.resources import ROOT
from fabfile.core.state.artifacts import (
    Artifact,
    DebianPackage,
    LocalFile,
    Pins,
    Program,
    Release,
    candidates,
    elf_fault,
    embedded_version,
)
from fabfile.edge.artifacts import debian
from fabfile.edge.artifacts import fetch as obtain
from fabfile.edge.artifacts import resolve as artifacts

MACHINES = {"amd64": (2, 62), "arm64": (2, 183), "armv7": (1, 40)}


def elf(arch: str, rest: bytes = b"", kind: int = 2) -> bytes:
    bits, machine = MACHINES[arch]
    return b"\x7fELF" + bytes([bits, 1, 1]) + bytes(9) + struct.pack("<HH", kind, machine) + bytes(44) + rest


def zipped(data: bytes, name: str = "consul") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as box:
        box.writestr("LICENSE.txt", "text")
        box.writestr(name, data)
    return out.getvalue()


PROGRAM = elf("amd64", os.urandom(300_000))
ZIP = zipped(PROGRAM)
DEFAULT = Binary("1.22.7")


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.mode = ""
        self.asked: list[str] = []
        self.done = threading.Event()

    def pins(self, **files: bytes) -> Pins:
        """Pins with 1.22.7 for the given architectures, served by this server, and Debian's 1.8.7."""
        releases = {"1.22.7": {arch: hashlib.sha256(data).hexdigest() for arch, data in files.items()}}
        self.files = {f"/1.22.7/{arch}.zip": data for arch, data in files.items()}
        url = f"http://127.0.0.1:{self.server_port}/{{version}}/{{arch}}.zip"
        packages = {arch: DebianPackage("1.8.7", f"pool/{arch}.deb", "0" * 64) for arch in MACHINES}
        return Pins("HashiCorp", "1.22.7", "sha256", url, {}, releases, packages)  # type: ignore[arg-type]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        data = self.server.files.get(self.path)
        if self.server.mode == "hang":
            self.server.done.wait(20)
        if data is None:
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        half = len(data) // 2
        self.wfile.write(data[:half])
        self.wfile.flush()
        if self.server.mode == "stall":
            self.server.done.wait(20)
        if self.server.mode == "slow":
            time.sleep(0.4)
        if self.server.mode != "truncate":
            self.wfile.write(data[half:])
        return None


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(obtain, "SILENCE", 0.5)
    with Server() as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.done.set()
        running.shutdown()


@pytest.fixture
def deb(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's mirror answers, with a package whose program is an ELF of the architecture it is named for."""

    def fetch_deb(pool_path: str, sha256: str, dest: Path, timeout: float = 30) -> Path:
        dest.write_bytes(elf(Path(pool_path).stem, b"debian"))
        return dest

    def unpack(deb: Path, member: str, dest: Path) -> Path:
        return Path(shutil.copyfile(deb, dest))

    monkeypatch.setattr(debian, "fetch_deb", fetch_deb)
    monkeypatch.setattr(debian, "unpack", unpack)


def mute(line: str) -> None:
    pass


def fetch(pins: Pins, cache: Path, wanted: Binary = DEFAULT, arch: Arch = "amd64") -> Artifact:
    return artifacts.fetch("consul", wanted, arch, cache, mute, pins)


def left(cache: Path) -> list[str]:
    """What lies in the cache apart from locks (empty files that stay)."""
    return [p.name for p in cache.rglob("*") if p.is_file() and not p.name.startswith(".lock-")]


# which source


def test_order_of_sources() -> None:
    """Without a wish the default release comes first and Debian's package second; a wish stands alone."""
    pins = artifacts.load_pins("consul")
    default = candidates("consul", Binary(), "armv7", pins)
    assert [(type(s), s.version) for s in default] == [(Release, "1.22.7"), (DebianPackage, "1.8.7")]
    assert isinstance(default[0], Release)
    assert default[0].url == "https://releases.hashicorp.com/consul/1.22.7/consul_1.22.7_linux_arm.zip"
    assert [s.version for s in candidates("consul", Binary("1.17.0"), "amd64", pins)] == ["1.17.0"]
    assert [type(s) for s in candidates("consul", Binary("1.8.7"), "amd64", pins)] == [DebianPackage]
    named = candidates("consul", Binary(file=Path("/opt/consul-{arch}")), "arm64", pins)
    assert named == (LocalFile(Path("/opt/consul-arm64"), None),)


def test_unpinned_version_names_its_neighbours() -> None:
    """A version without a pinned sum is refused with the nearest ones and the way out."""
    with pytest.raises(ArtifactError, match=r"1\.22\.9 .*: 1\.22\.5, 1\.22\.6, 1\.22\.7$") as caught:
        candidates("consul", Binary("1.22.9"), "amd64", artifacts.load_pins("consul"))
    assert "`consul: {binary: FILE}`" in caught.value.hint


@pytest.mark.parametrize(("program", "digits"), [("consul", 64), ("caddy", 128)])
def test_shipped_pins_are_whole(program: Program, digits: int) -> None:
    """Every release is pinned for every architecture by a full sum, and so is Debian's package."""
    pins = artifacts.load_pins(program)
    assert pins.default in pins.releases
    for sums in pins.releases.values():
        assert {len(s) for s in sums.values()} == {digits}
        assert set(sums) == set(MACHINES)
    assert {len(p.pin) for p in pins.debian.values()} == {64}
    assert set(pins.debian) == set(MACHINES)


@pytest.mark.parametrize(
    ("head", "fault"),
    [
        (elf("amd64"), ""),
        (elf("amd64", kind=3), ""),
        (elf("arm64"), "it is built for arm64"),
        (elf("armv7"), "it is built for armv7"),
        (elf("amd64", kind=1), "it is an ELF file, but not a program"),
        (b"#!/bin/sh\nexec consul\n", "it is not a Linux (ELF) program"),
        (b"\x7fELF", "it is not a Linux (ELF) program"),
        (ZIP, "it is a zip archive; unpack it and name the program inside"),
    ],
)
def test_elf_check(head: bytes, fault: str) -> None:
    """Only an ELF program of the wanted architecture passes."""
    assert elf_fault(head[:20], "amd64") == fault


# fetching a release


def test_good_release(server: Server, tmp_path: Path) -> None:
    """A release is fetched once, packed reproducibly, and found in the cache from then on."""
    pins = server.pins(amd64=ZIP)
    got = fetch(pins, tmp_path)
    assert gzip.decompress(got.packed.read_bytes()) == PROGRAM
    assert (got.version, got.size, got.origin) == ((1, 22, 7), len(PROGRAM), "HashiCorp's release 1.22.7")
    assert got.sha256 == hashlib.sha256(PROGRAM).hexdigest()
    assert got.packed_sha256 == hashlib.sha256(got.packed.read_bytes()).hexdigest()
    assert fetch(pins, tmp_path) == got
    assert len(server.asked) == 1
    assert fetch(pins, tmp_path / "other").packed_sha256 == got.packed_sha256


def test_damaged_cache_is_made_anew(server: Server, tmp_path: Path) -> None:
    """A packed file that was only touched is hashed and kept; a changed one is fetched again."""
    pins = server.pins(amd64=ZIP)
    got = fetch(pins, tmp_path)
    os.utime(got.packed, (1, 1))
    assert fetch(pins, tmp_path) == got
    assert len(server.asked) == 1
    got.packed.write_bytes(bytes(got.packed_size))
    assert fetch(pins, tmp_path) == got
    assert len(server.asked) == 2
    assert gzip.decompress(got.packed.read_bytes()) == PROGRAM


@pytest.mark.parametrize(
    ("mode", "served", "says"),
    [
        ("", zipped(elf("amd64", b"x" * 300_000)), "sha256 is"),
        ("truncate", ZIP, "the connection ended after|broke off after"),
        ("stall", ZIP, "broke off after"),
        ("hang", ZIP, "could not be reached .*timed out"),
        ("", None, "could not be reached .*404"),
    ],
)
def test_bad_download_keeps_nothing(
    server: Server, tmp_path: Path, mode: str, served: bytes | None, says: str
) -> None:
    """A wrong sum, a broken line, a silent or missing publisher: a clear error and an empty cache."""
    pins = server.pins(amd64=ZIP)
    server.files = {} if served is None else dict.fromkeys(server.files, served)
    server.mode = mode
    with pytest.raises(ArtifactError, match=says):
        fetch(pins, tmp_path)
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("archive", "says"),
    [
        (b"not a zip at all", "not a whole archive"),
        (zipped(PROGRAM, "something"), "holds no file consul"),
        (zipped(elf("arm64")), "built for arm64"),
    ],
)
def test_bad_archive_keeps_nothing(server: Server, tmp_path: Path, archive: bytes, says: str) -> None:
    """An archive that has its pinned sum and still is not what it should be is refused."""
    with pytest.raises(ArtifactError, match=says):
        fetch(server.pins(amd64=archive), tmp_path)
    assert left(tmp_path) == []


def test_tarball(server: Server, tmp_path: Path) -> None:
    """Caddy's releases are tarballs, pinned by SHA-512."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tape:
        entry = tarfile.TarInfo("caddy")
        entry.size = len(PROGRAM)
        tape.addfile(entry, io.BytesIO(PROGRAM))
    tar = out.getvalue()
    pins = server.pins(amd64=tar)
    server.files = {"/1.22.7/amd64.tar.gz": tar}
    pins = replace(
        pins,
        digest="sha512",
        url=pins.url.replace(".zip", ".tar.gz"),
        releases={"1.22.7": {"amd64": hashlib.sha512(tar).hexdigest()}},
    )
    got = artifacts.fetch("caddy", Binary(), "amd64", tmp_path, mute, pins)
    assert gzip.decompress(got.packed.read_bytes()) == PROGRAM


def test_full_disk(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is named with its folder and leaves nothing."""

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(ArtifactError, match=f"{tmp_path}: No space left on device") as caught:
        fetch(server.pins(amd64=ZIP), tmp_path)
    assert "NEXUS_CACHE" in caught.value.hint
    assert left(tmp_path) == []


def test_killed_half_way(server: Server, tmp_path: Path) -> None:
    """After kill -9 in the middle of a download nothing is taken for whole, and the next run cleans up."""
    pins = server.pins(amd64=ZIP)
    server.mode = "stall"
    code = (
        "import sys; from pathlib import Path; from fabfile.edge.artifacts.resolve import fetch\n"
        "from fabfile.core.state.artifacts import Pins; from fabfile.core.model.cluster import Arch, Binary\n"
        "url, pin, cache = sys.argv[1:]\n"
        "pins = Pins('HashiCorp', '1.22.7', 'sha256', url, {}, {'1.22.7': {'amd64': pin}}, {})\n"
        "fetch('consul', Binary('1.22.7'), 'amd64', Path(cache), lambda s: print(s, flush=True), pins)\n"
    )
    argv = [sys.executable, "-c", code, pins.url, pins.releases["1.22.7"]["amd64"], str(tmp_path)]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdout.readline().startswith(b"fetching")
        run.send_signal(signal.SIGKILL)
    assert not list(tmp_path.rglob("binary.gz"))
    server.mode = ""
    assert fetch(pins, tmp_path).size == len(PROGRAM)
    assert sorted(left(tmp_path)) == ["binary.gz", "meta.json"]


def test_two_at_once(server: Server, tmp_path: Path) -> None:
    """Of two runs that want the same binary one fetches it, the other waits, says so, and takes it."""
    pins = server.pins(amd64=ZIP)
    server.mode = "slow"
    lines: list[str] = []
    got: list[Artifact] = []

    def run() -> None:
        got.append(artifacts.fetch("consul", Binary(), "amd64", tmp_path, lines.append, pins))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got[0] == got[1]
    assert len(server.asked) == 1
    assert any("waiting" in line for line in lines)


# one version for a cluster


@pytest.mark.usefixtures("deb")
def test_fallback_is_said_and_stays(server: Server, tmp_path: Path) -> None:
    """Where the release cannot be had all get Debian's, and keep it when the network is back."""
    pins = server.pins(amd64=ZIP, arm64=zipped(elf("arm64")))
    del server.files["/1.22.7/arm64.zip"]
    lines: list[str] = []
    got = artifacts.resolve("consul", Binary(), ["amd64", "arm64"], tmp_path, None, lines.append, pins)
    assert {a: x.version_text for a, x in got.items()} == {"amd64": "1.8.7", "arm64": "1.8.7"}
    assert got["arm64"].origin == "Debian package 1.8.7 (HashiCorp's release 1.22.7 could not be reached)"
    assert any("could not be reached" in line for line in lines)
    pins = server.pins(amd64=ZIP, arm64=zipped(elf("arm64")))
    kept = artifacts.resolve("consul", Binary(), ["amd64", "arm64"], tmp_path, "1.8.7", lines.append, pins)
    assert kept["amd64"].sha256 == got["amd64"].sha256
    asked = artifacts.resolve("consul", Binary("1.22.7"), ["arm64"], tmp_path, "1.8.7", lines.append, pins)
    assert asked["arm64"].version == (1, 22, 7)


@pytest.mark.usefixtures("deb")
@pytest.mark.parametrize(("version", "chosen"), [("1.22.7", None), (None, "1.22.7")])
def test_no_silent_fallback(server: Server, tmp_path: Path, version: str | None, chosen: str | None) -> None:
    """A version that was asked for, or that the cluster has, is never replaced by Debian's."""
    pins = server.pins(amd64=ZIP)
    server.files = {}
    with pytest.raises(ArtifactError, match=r"release 1\.22\.7 could not be reached") as caught:
        artifacts.resolve("consul", Binary(version), ["amd64"], tmp_path, chosen, mute, pins)
    assert "binary: FILE" in caught.value.hint
    assert left(tmp_path) == []


@pytest.mark.usefixtures("deb")
def test_wrong_sum_takes_no_fallback(server: Server, tmp_path: Path) -> None:
    """A release that is not what its pin says stops the run, though Debian's package could be had."""
    pins = server.pins(amd64=ZIP)
    server.files = dict.fromkeys(server.files, zipped(b"other"))
    with pytest.raises(ArtifactError, match="pinned is"):
        fetch(pins, tmp_path, Binary())


# a file that the operator names


def test_named_file(server: Server, tmp_path: Path) -> None:
    """A named file's version comes from Go's module list or from `version:`; both must agree."""
    pins, mine = server.pins(), tmp_path / "consul-arm64"
    mine.write_bytes(elf("arm64", b"\x00dep\tgithub.com/hashicorp/consul\tv1.21.3\th1:abc=\n"))
    got = fetch(pins, tmp_path / "cache", Binary(file=tmp_path / "consul-{arch}"), "arm64")
    assert (got.version_text, got.origin) == ("1.21.3", f"file {mine}")
    with pytest.raises(ArtifactError, match=r"is consul 1\.21\.3, not 1\.20\.0"):
        fetch(pins, tmp_path / "cache", Binary("1.20.0", mine), "arm64")
    with pytest.raises(ArtifactError, match="built for arm64"):
        fetch(pins, tmp_path / "cache", Binary(file=mine), "armv7")
    mine.write_bytes(elf("arm64", b"rebuilt, and mute"))
    with pytest.raises(ArtifactError, match="does not tell which version"):
        fetch(pins, tmp_path / "cache", Binary(file=mine), "arm64")
    assert fetch(pins, tmp_path / "cache", Binary("1.20.0", mine), "arm64").version == (1, 20, 0)


def test_missing_file(server: Server, tmp_path: Path) -> None:
    """A named file that is not there is an error; no other source stands in for it."""
    with pytest.raises(ArtifactError, match="nowhere: No such file"):
        fetch(server.pins(amd64=ZIP), tmp_path, Binary(file=tmp_path / "nowhere"))
    with pytest.raises(ArtifactError, match="not a regular file"):
        fetch(server.pins(amd64=ZIP), tmp_path, Binary(file=tmp_path))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="runs a program of this machine's architecture")
def test_program_tells_its_version(tmp_path: Path) -> None:
    """On its own architecture a program is asked; what answers like another program is not believed."""
    mine = tmp_path / "plain"
    mine.write_text("#!/bin/sh\necho Consul v1.19.2+ent\n")
    assert obtain.version_of("consul", "amd64", LocalFile(mine, None), mine) == "1.19.2+ent"
    with pytest.raises(ArtifactError):
        obtain.version_of("caddy", "amd64", LocalFile(mine, None), mine)


def test_embedded_version() -> None:
    """A development build of the module itself bears no version."""
    assert embedded_version("caddy", b"mod\tgithub.com/caddyserver/caddy/v2\t(devel)\t\n") == ""
    assert embedded_version("caddy", b"..mod\tgithub.com/caddyserver/caddy/v2\tv2.9.1\th1:x=\n") == "2.9.1"


# the world outside


def test_cache_dir() -> None:
    """NEXUS_CACHE wins over XDG_CACHE_HOME, which wins over ~/.cache when it is absolute."""
    env = {"NEXUS_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}
    assert artifacts.cache_dir(env) == Path("/a")
    del env["NEXUS_CACHE"]
    assert artifacts.cache_dir(env) == Path("/b/nexus-ops")
    assert artifacts.cache_dir({**env, "XDG_CACHE_HOME": "b"}) == Path("/c/.cache/nexus-ops")


@pytest.mark.skipif(not debian.mirror_sites(), reason="no apt mirror is configured here")
def test_debian_consul_for_real(tmp_path: Path) -> None:
    """Debian's Consul comes through the apt mirror, with its pinned sum and for the right machine."""
    try:
        got = artifacts.fetch("consul", Binary("1.8.7"), "amd64", tmp_path, mute)
    except ArtifactError as fault:
        if "could not be fetched" in fault.message and "the pin says" not in fault.message:
            pytest.skip(fault.message)  # offline, or apt knows only mirrors of another distribution
        raise
    assert (got.version, got.origin) == ((1, 8, 7), "Debian package 1.8.7")
    assert got.size > 50_000_000
