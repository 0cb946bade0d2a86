"""Whatever a host says for facts: a value that every command can use, or an error that names the host; never a bomb."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import subprocess
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fabfile.cli.tasks.deploy import _fact_json, _fact_row
from fabfile.core.config import inventory
from fabfile.core.errors import HostError, NexusError
from fabfile.core.state import guards, identity
from fabfile.core.state.facts import Facts
from fabfile.core.state.probe_output import parse
from fabfile.core.state.tar_reader import read_files
from fabfile.core.state.topology import addresses
from fabfile.edge.deploy.lock import busy, is_dead
from tests.unit.core.state.test_probe_output import RECORDED, archive, output_of

WORDS = st.sampled_from([
    "", " ", "x", "-", "-1", "0", "1.5", "nan", "inf", "1e400", "9" * 18, "9" * 400, "9" * 5000, "²", "٣", "1_0", "0x10",
    "999.1.1.1", "01.2.3.4", "1.2.3.4", "::1", "fe80::1%eth0", "1.2.3", "UNKNOWN", "a\x1b]0;t\x07", "\u202e", "a\x85b",
    "\t", "\0",
])  # fmt: skip


def used(facts: Facts) -> None:
    """What plan, deploy, detect, unlock and the guards do with one host's facts."""
    text = "cluster: c\nhosts: {m1: {ssh: 192.0.2.1, roles: [manager, worker]}}\nadmin_from: [192.0.2.0/24]\n"
    cluster, _ = inventory.parse(text, Path("hosts.yml"), state_root=Path("/nowhere"), home=Path("/nowhere"))
    by_host = {"m1": facts}
    _fact_row("m1", facts, 1.7e9)
    _fact_json(cluster.hosts[0], facts, 1.7e9)
    if facts.lock:
        busy(facts.lock)
        is_dead(facts.lock)
    found = addresses(cluster, by_host, {})
    guards.check_hosts(by_host)
    guards.check_admin(cluster, by_host, found)
    identity.identities(by_host)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """The recorded answer with some words, lines or bytes of it changed."""
    lines = RECORDED.splitlines()
    for _ in range(draw(st.integers(1, 4))):
        n = draw(st.integers(1, len(lines) - 1))
        words = lines[n].split(" ")
        words[draw(st.integers(0, len(words) - 1))] = draw(WORDS)
        lines[n] = " ".join(words)
    if draw(st.booleans()):
        lines.append(f"ssh {draw(WORDS)} {draw(WORDS)}")
    text = "\n".join(lines)
    return text.encode("utf-8", "surrogatepass") + b"\ncontents\n" + draw(st.just(b"") | st.binary(max_size=40))


@settings(max_examples=400, deadline=None)
@given(answers() | st.binary(max_size=200) | st.binary(max_size=99).map(lambda b: b"nexus-probe 1\n" + b + b"\ncontents\n"))
def test_an_answer_is_facts_or_an_error(answer: bytes) -> None:
    """Facts from any answer serve all that is done with facts."""
    with suppress(NexusError):
        used(parse("m1", answer))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("memory_kb 4026532", "memory_kb 1" + "0" * 400), ("cpus 2", "cpus " + "9" * 5000), ("10.0.0.1/", "999.0.0.1/"),
        ("now 1700000000.123456789", "now inf"), ("now 1700000000.123456789", "now 1e300"),
    ],
)  # fmt: skip
def test_each_value_that_is_none_is_told(old: str, new: str) -> None:
    """A number that no machine has, an address that is none, a time outside the calendar."""
    assert old in RECORDED
    with pytest.raises(HostError, match=r"^m1: the probe's answer cannot be read \("):
        parse("m1", output_of(RECORDED.replace(old, new)))


@pytest.mark.parametrize("line", ["ssh UNKNOWN 65535", "ssh garbage 22", "ssh 192.0.2.9 x", "ssh 192.0.2.9 99999", "ssh "])
def test_an_operator_whom_sshd_does_not_know_is_nobody(line: str) -> None:
    """sshd says UNKNOWN where its connection is no socket: then no guard can judge the operator's address."""
    facts = parse("m1", output_of(f"{RECORDED}{line}\n"))
    assert (facts.ssh_client, facts.ssh_port) == (None, None)
    known = parse("m1", output_of(f"{RECORDED}ssh fe80::1%eth0 2222\n"))
    assert (known.ssh_client, known.ssh_port) == ("fe80::1%eth0", 2222)


@pytest.mark.parametrize("since", ["1" + "0" * 30, "-5", "253402300799999"])
def test_a_lock_beyond_time_is_still_a_lock(since: str) -> None:
    """It is named, and `unlock` can take it away."""
    text = RECORDED.replace("lock since 1699999000", f"lock since {since}")
    lock = parse("m1", output_of(text.replace("lock expires 1700000800", f"lock expires {'9' * 25}"))).lock
    assert lock
    assert lock.expires > 1.7e9
    assert "ann@laptop" in busy(lock).message


def tar_of(*members: tuple[tarfile.TarInfo, bytes], format_: int = tarfile.GNU_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format_) as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_links_and_devices_are_passed_over() -> None:
    """A link to itself, to another, a device, a folder: none of them has contents; the files beside them do."""
    odd = [
        entry("self", tarfile.SYMTYPE, "self"), entry("hard", tarfile.LNKTYPE, "hard"), entry("a", tarfile.SYMTYPE, "b"),
        entry("null", tarfile.CHRTYPE), entry("pipe", tarfile.FIFOTYPE), entry("folder", tarfile.DIRTYPE),
    ]  # fmt: skip
    packed = tar_of((entry("etc/a"), b"A"), *((info, b"") for info in odd), (entry("etc/b"), b""))
    assert read_files(packed) == {"/etc/a": b"A", "/etc/b": b""}


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_nothing_is_unpacked(pack: object) -> None:
    """A compressed archive is none: 2 MB of it would be 2 GB here."""
    with pytest.raises(HostError, match="cannot be read"):
        parse("m1", output_of(tail=pack(tar_of((entry("a"), b"\0" * 5_000_000)))))  # type: ignore[operator]


def test_holes_are_not_filled(tmp_path: Path) -> None:
    """A sparse file of 2 GB is a few hundred bytes of archive, and stays that."""
    with (tmp_path / "holes").open("wb") as file:
        file.truncate(2 << 30)
    (tmp_path / "small").write_bytes(b"x")
    done = subprocess.run(["tar", "-S", "-cf", "-", "holes", "small"], cwd=tmp_path, capture_output=True, check=True)
    assert read_files(done.stdout) == {"/small": b"x"}


@pytest.mark.parametrize("options", [[], ["--format=gnu"], ["--format=ustar"]])
def test_what_tar_writes_is_read(tmp_path: Path, options: list[str]) -> None:
    """As GNU tar writes it, for names up to and beyond a header's field, and sizes around a block's."""
    wanted = {}
    for size in (0, 1, 511, 512, 513, 65536):
        for name in (f"f{size}", f"{'d' * 60}/{'e' * 60}/f{size}"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"x" * size)
            wanted[f"/{name}"] = b"x" * size
    names = [name[1:] for name in wanted]
    packed = subprocess.run(["tar", *options, "-cf", "-", *names], cwd=tmp_path, capture_output=True, check=True).stdout
    assert read_files(packed) == wanted


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 1600), st.binary(min_size=1, max_size=16), st.booleans())
@example(124, b"\xff" * 12, False)  # a size below 0, in tar's other number form
@example(124, b"77777777777\0", True)
def test_a_damaged_archive_ends(at: int, noise: bytes, mend_sum: bool) -> None:
    """At its end, or with an error; with no more contents than it has bytes. Also where its sums are right."""
    packed = bytearray(archive(a=b"x" * 600, b=b"y"))
    packed[at : at + len(noise)] = noise
    if mend_sum:
        total = sum(packed[:148]) + 8 * 32 + sum(packed[156:512])
        packed[148:156] = b"%06o\0 " % total
    try:
        found = read_files(bytes(packed))
    except ValueError:
        return
    assert sum(map(len, found.values())) <= len(packed)
