"""Reading the probe's output: recorded outputs of several machines, and outputs that are none."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.core.errors import HostError
from fabfile.core.state.facts import RulesFact, UnitFact
from fabfile.core.state.manifest import Account, File, Manifest, Unit
from fabfile.core.state.probe_output import parse
from tests.support.script_host import sha

HCL = b'node_name = "m1"\n'
RECORDED = f"""nexus-probe 1
now 1700000000.123456789
machine x86_64
bits 64
os.PRETTY_NAME Debian GNU/Linux 12 (bookworm)
os.VERSION_ID 12
os.ID debian
cpus 2
memory_kb 4026532
disk 20000000 4096
python Python 3.11.2
boot 5a0c8e0e-3c0b-4a51-9c39-1d1f0a3d7a55
route default via 10.0.0.254 dev eth1 proto dhcp src 10.0.0.1 metric 100
2: eth0    inet 192.0.2.1/24 brd 192.0.2.255 scope global dynamic eth0\\       valid_lft 86000sec preferred_lft 86000sec
3: docker0    inet 172.17.0.1/16 brd 172.17.255.255 scope global docker0\\       valid_lft forever preferred_lft forever
14: eth1    inet 10.0.0.1/24 brd 10.0.0.255 scope global eth1\\       valid_lft forever preferred_lft forever
users root daemon consul
current generations/0123456789ab
previous generations/ba9876543210
stamp consul.service 1111 -
store {"a" * 64} {"b" * 64}
lock id 77aa
lock origin laptop:boot:4242
lock who ann@laptop
lock what deploy --hosts all
lock since 1699999000
lock expires 1700000800
systemd 252
unit consul.service enabled
unit caddy.service disabled
unit nexus-worker.service enabled
unit nexus-balancer.service disabled
rules-loaded 0f0f
rules-loaded 1e1e
rules-now 2d2d  -
consul.service         loaded active   running Consul of the Nexus cluster lab
nexus-balancer.service masked inactive dead    nexus-balancer.service
nexus-worker.service   loaded failed   failed  Worker agent
Id=consul.service
NeedDaemonReload=no

Id=caddy.service
NeedDaemonReload=yes

said nexus-worker.service cannot read nexus/placement/w1/orders since 2026-11-25 03:00:00 UTC: 403 ACL not found
current-manifest user\tconsul\t/var/lib/consul
current-manifest file\t/etc/consul.d/consul.hcl\t0640\troot\tconsul\t{sha(HCL)}
current-manifest unit\tconsul.service\tenabled\tactive\t1111\t-
file /etc/consul.d/consul.hcl 640 root consul {len(HCL)} -
file /usr/local/bin/consul 755 root root 150000000 {"c" * 64}
odd /etc/nexus/host.json
sum /etc/consul.d/consul.hcl {sha(HCL)}
"""


def archive(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def output_of(text: str = RECORDED, tail: bytes | None = None) -> bytes:
    return text.encode() + b"contents\n" + (archive(**{"etc/consul.d/consul.hcl": HCL}) if tail is None else tail)


def test_a_recorded_answer_is_read_in_full() -> None:
    """Every line of a recorded output of a deployed Debian manager becomes its fact."""
    facts = parse("m1", output_of())
    assert (facts.arch, facts.bits, facts.cpus, facts.memory_kb, facts.disk_kb) == (
        "amd64", 64, 2, 4026532, 80000000)  # fmt: skip
    assert (facts.os_id, facts.os_version, facts.os_name) == ("debian", "12", "Debian GNU/Linux 12 (bookworm)")
    assert (facts.python, facts.systemd, facts.now) == ((3, 11, 2), 252, 1700000000.123456789)
    assert (facts.default_device, facts.default_address()) == ("eth1", "10.0.0.1")
    assert facts.users == {"root", "daemon", "consul"}
    assert (facts.current, facts.pending, facts.store) == ("0123456789ab", None, {"a" * 64, "b" * 64})
    assert facts.stamps == {"consul.service": "1111 -"}
    assert facts.not_regular == {"/etc/nexus/host.json"}
    assert facts.manifest == Manifest(
        (Account("consul", "/var/lib/consul"),), (),
        (File("/etc/consul.d/consul.hcl", sha(HCL), "0640", "root", "consul"),),
        (Unit("consul.service", "1111", "-"),),
    )  # fmt: skip


def test_a_computed_sum_comes_before_the_recorded_one() -> None:
    """A file's sum is the one computed now, else the ledger's; small files have content, modes have four digits."""
    files = parse("m1", output_of()).files
    config, binary = files["/etc/consul.d/consul.hcl"], files["/usr/local/bin/consul"]
    assert (config.sha256, config.mode, config.group, config.content) == (sha(HCL), "0640", "consul", HCL)
    assert (binary.sha256, binary.mode, binary.size, binary.content) == ("c" * 64, "0755", 150000000, None)


def test_units_have_their_states() -> None:
    """Each unit has systemd's words; a unit with a file that systemd has not loaded is inactive."""
    units = parse("m1", output_of()).units
    assert units == {
        "consul.service": UnitFact("loaded", "active", "running", enabled=True),
        "caddy.service": UnitFact("loaded", "inactive", "dead", enabled=False, outdated=True),
        "nexus-worker.service": UnitFact("loaded", "failed", "failed", enabled=True),
        "nexus-balancer.service": UnitFact("masked", "inactive", "dead", enabled=False),
    }
    assert [name for name, unit in units.items() if unit.running] == ["consul.service"]


@pytest.mark.parametrize(
    ("lines", "due"),
    [
        ("rules-loaded 0f\nrules-loaded 1e\nrules-now 2d  -\n", RulesFact("0f", "1e", "2d")),
        ("rules-loaded 0f\nrules-loaded 1e\nrules-now -\n", RulesFact("0f", "1e", None)),
        ("rules-now 2d  -\n", RulesFact(None, None, "2d")),
        ("rules-loaded 0f\nrules-now 2d  -\n", RulesFact(None, None, "2d")),
        ("", None),
    ],
)
def test_the_firewalls_rules_are_read(lines: str, due: RulesFact | None) -> None:
    """What was loaded and what is in force are told apart; half a record is none."""
    text = "".join(line for line in RECORDED.splitlines(keepends=True) if not line.startswith("rules-"))
    assert parse("m1", output_of(text + lines)).rules == due


def test_what_agents_say_is_read() -> None:
    """An agent's own words come whole; an agent that says nothing has no entry."""
    assert parse("m1", output_of()).said == {
        "nexus-worker.service": "cannot read nexus/placement/w1/orders since 2026-11-25 03:00:00 UTC: 403 ACL not found"
    }


def test_the_lock_is_read() -> None:
    """The lock's words and times come whole, blanks included."""
    lock = parse("m1", output_of()).lock
    assert lock is not None
    assert (lock.id, lock.who, lock.what, lock.origin) == (
        "77aa", "ann@laptop", "deploy --hosts all", "laptop:boot:4242")  # fmt: skip
    assert (lock.since, lock.expires) == (1699999000, 1700000800)


@pytest.mark.parametrize(
    ("machine", "bits", "arch"),
    [
        ("x86_64", 64, "amd64"), ("amd64", 64, "amd64"), ("aarch64", 64, "arm64"), ("arm64", 64, "arm64"),
        ("armv7l", 32, "armv7"), ("armv8l", 32, "armv7"), ("aarch64", 32, "armv7"),
        ("riscv64", 64, None), ("armv6l", 32, None), ("i686", 32, None), ("ppc64le", 64, None), ("s390x", 64, None),
    ],
)  # fmt: skip
def test_machines_are_named_or_unknown(machine: str, bits: int, arch: str | None) -> None:
    """Each kernel's word maps to one of our architectures, by its userland, or to none."""
    text = RECORDED.replace("machine x86_64", f"machine {machine}").replace("bits 64", f"bits {bits}")
    facts = parse("m1", output_of(text))
    assert (facts.machine, facts.arch) == (machine, arch)


def test_a_32_bit_userland_on_x86_has_no_binaries() -> None:
    """A 32-bit x86 system on a 64-bit kernel is not amd64: it is not one of ours."""
    assert parse("m1", output_of(RECORDED.replace("bits 64", "bits 32"))).arch is None


@pytest.mark.parametrize(
    ("line", "python"),
    [("python Python 3.9.2", (3, 9, 2)), ("python Python 3.13.0rc1", (3, 13, 0)), ("python ", ()), ("", ())],
)
def test_pythons_version_is_numbers(line: str, python: tuple[int, ...]) -> None:
    """The version is a tuple to compare, empty where there is no Python."""
    assert parse("m1", output_of(RECORDED.replace("python Python 3.11.2", line))).python == python


@pytest.mark.parametrize(("word", "number"), [("systemd 252.22-1~deb12u1\n", 252), ("systemd 257~rc1\n", 257), ("", 0)])
def test_systemds_version_is_a_number(word: str, number: int) -> None:
    """A distribution's additions to the version do not matter; without systemd it is 0."""
    assert parse("m1", output_of(RECORDED.replace("systemd 252\n", word))).systemd == number


def test_a_bare_host_has_the_least_of_everything() -> None:
    """A host without ip, systemd, Python or anything of ours still makes facts."""
    text = "nexus-probe 1\nnow 1.5\nmachine x86_64\nbits 64\ncpus 1\nmemory_kb 1\npython \nusers root\nstore\n"
    facts = parse("h1", output_of(text, b""))
    assert (facts.default_address(), facts.default_device, facts.units, facts.files) == (None, None, {}, {})
    assert (facts.current, facts.previous, facts.lock, facts.store) == (None, None, None, frozenset())
    assert (facts.os_id, facts.os_name, facts.systemd, facts.python) == ("unknown", "unknown", 0, ())


@pytest.mark.parametrize(
    "output",
    [
        b"", b"\n", b"contents\n", b"Welcome to the machine!\n", b"nexus-probe 2\nnow 1\ncontents\n",
        b"Welcome\n" + output_of(), output_of().split(b"\ncontents\n")[0], b"nexus-probe 1\ncontents\n",
        output_of(RECORDED.replace("cpus 2", "cpus two")), output_of(RECORDED.replace("bits 64\n", "")),
        output_of(RECORDED.replace("now 1700000000.123456789", "now ")),
        output_of(RECORDED.replace("unit caddy.service disabled", "unit caddy.service")),
        output_of(RECORDED.replace("file /usr", "file u /usr")),
        output_of(RECORDED.replace("lock since 1699999000", "lock since yesterday")),
        output_of(RECORDED.replace("odd /etc/nexus/host.json", "odd ")),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_the_hosts_error(output: bytes) -> None:
    """An answer that is cut, of another kind, or with a banner before it is an error that names the host."""
    with pytest.raises(HostError, match=r"^m1: the probe's answer"):
        parse("m1", output)


@pytest.mark.parametrize("tail", [b"garbage", archive(a=b"x" * 2000)[:1000], b"\xff" * 2048])
def test_a_broken_archive_is_the_hosts_error(tail: bytes) -> None:
    """An archive of contents that is cut or is none is an error that names the host, never a traceback."""
    with pytest.raises(HostError, match=r"^m1: the probe's answer"):
        parse("m1", output_of(tail=tail))


@given(st.integers(0, len(RECORDED)), st.binary(max_size=8))
def test_no_cut_answer_escapes_as_another_error(cut: int, noise: bytes) -> None:
    """Cut anywhere before its contents, with noise behind, an answer is the host's error and no other."""
    with pytest.raises(HostError):
        parse("m1", RECORDED.encode()[:cut] + noise)
