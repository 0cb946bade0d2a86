"""What every command shares: its files are checked before any connection, and an error is a line, a hint and exit code 1."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.program import Program

from fabfile.cli.console.command import command
from fabfile.cli.console.output import show_errors
from fabfile.cli.namespace import namespace
from fabfile.cli.tasks import deploy, hosts, secrets, service
from fabfile.core.config import inventory
from fabfile.core.errors import ApplyError, HostError, InputError, Refused, Several
from fabfile.core.model.cluster import Host
from fabfile.core.state.facts import Facts, LockFact
from fabfile.edge.disk.paths import display_path
from fabfile.edge.ssh.fleet import Fleet
from tests.support.samples import bare_facts

HOSTS = "cluster: c\nhosts: {m1: {ssh: 192.0.2.1, roles: [manager, worker]}}\n"
SERVICES = "services: {web: {command: run, port: 8080}}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with both files; whoever connects to a host fails the test."""

    def connect(*_: object) -> None:
        raise AssertionError("a connection was made")

    for module in ("connection", "trust"):
        monkeypatch.setattr(f"fabfile.edge.ssh.{module}.new_connection", connect)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEXUS_HOSTS", raising=False)
    (tmp_path / "hosts.yml").write_text(HOSTS)
    (tmp_path / "services.yml").write_text(SERVICES)
    return tmp_path


def refused(task: Any, *words: object, **options: object) -> int:
    """The exit code of a command that must not end well."""
    with pytest.raises(Exit) as ended:
        task(Context(), *words, **options)
    return int(ended.value.code)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (deploy.plan, ()), (deploy.deploy, ()), (service.list_, ()), (service.deploy, ()), (service.scale, ("web", "2")),
        (service.stop, ("web",)), (service.restart, ("web",)), (service.logs, ("web",)), (hosts.add_worker, ("192.0.2.2",)),
        (secrets.rotate, ("gossip",)),
    ],
)  # fmt: skip
def test_broken_services_are_told_before_any_connection(
    folder: Path, capsys: pytest.CaptureFixture[str], task: Any, words: tuple[str, ...]
) -> None:
    """Whatever brings services about or looks at them checks services.yml as early as hosts.yml, and tells of both."""
    (folder / "services.yml").write_text("services: {web: {command: run, port: 0}}\n")
    assert refused(task, *words) == 1
    assert "error: services.yml:1: services.web.port: 0 is not a port (1-65535)" in capsys.readouterr().err
    (folder / "hosts.yml").write_text(HOSTS.replace("manager", "managr"))
    assert refused(task, *words) == 1
    said = capsys.readouterr().err
    assert "error: hosts.yml:2: hosts.m1.roles[0]: managr is not a role" in said
    assert "error: services.yml:1: services.web.port: 0 is not a port (1-65535)" in said


@pytest.fixture
def typed(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str]]]:
    """Runs words as `inv` does; exit code and the lines of both channels."""
    root = namespace()

    def run(*words: str) -> tuple[int, list[str]]:
        with pytest.raises(SystemExit) as ended:
            Program(namespace=root).run(["inv", *words])
        said = capsys.readouterr()
        return int(ended.value.code or 0), [*said.out.splitlines(), *said.err.splitlines()]

    return run


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        ("events --lines all", "--lines all"), ("ui --port x", "--port x"), ("chaos.report --last=x", "--last x"),
        ("chaos.gameday --repeat x", "--repeat x"), ("bench.deploy --runs x", "--runs x"),
        ("service.logs web -l 1.5", "--lines 1.5"), ("add-worker h --port ssh", "--port ssh"),
        ("events -l 1e3", "--lines 1e3"),
    ],
)  # fmt: skip
def test_a_number_that_is_none_is_one_line(typed: Callable[..., tuple[int, list[str]]], words: str, flag: str) -> None:
    """Whichever option wants a number says so, with what it is for, and the help goes on calling it one."""
    task, *_ = words.split()
    option = flag.split()[0]
    code, said = typed(*words.split())
    assert (code, said[0]) == (1, f"error: {flag}: is not a whole number")
    assert len(said) == 2
    assert said[1].startswith(f"hint: {option}: ")
    assert any(f"{option}=INT" in line for line in typed("--help", task)[1])


@pytest.mark.parametrize("count", ["9" * 40, "9" * 5000, "٣", "²", "-1", "1.5", "many"])
def test_a_number_of_instances_that_is_none_is_one_line(
    folder: Path, typed: Callable[..., tuple[int, list[str]]], count: str
) -> None:
    """Whatever stands there, and services.yml stays as it is."""
    code, said = typed("service.scale", "web", "--", count) if count == "-1" else typed("service.scale", "web", count)
    assert (code, len(said)) == (1, 2)
    assert said[0].startswith("error: ")
    assert (folder / "services.yml").read_text() == SERVICES


def test_a_host_that_only_consul_knows_is_told(folder: Path) -> None:
    """As when an instance still runs on a host that has left hosts.yml."""
    cluster, _ = inventory.parse(HOSTS, folder / "hosts.yml", state_root=folder, home=folder)
    with Fleet(cluster) as fleet, pytest.raises(HostError, match=r"^w9: hosts.yml knows no host of this name"):
        fleet["w9"]


@pytest.mark.parametrize("lines", ["-5", "1000000000", "+3", "9" * 5000])
def test_a_number_beyond_its_range_is_one_line(typed: Callable[..., tuple[int, list[str]]], lines: str) -> None:
    """Below 0, with a sign or longer than any count is refused as a number, not as a word."""
    assert typed("events", f"--lines={lines}")[1][0].endswith(": is not a whole number from 0 to 999999999")


def test_a_port_that_no_machine_has_is_refused(typed: Callable[..., tuple[int, list[str]]]) -> None:
    """The local port of ui is one, before anything is opened."""
    assert typed("ui", "--port", "99999")[1][0] == "error: --port 99999: is not a port (1-65535)"


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (("plan", "--inventory", ""), "--inventory"), (("plan", "--inventory="), "--inventory"),
        (("plan", "-i", ""), "--inventory"), (("chaos.gameday", "--only", ""), "--only"),
        (("deploy", "--hosts", ""), "--hosts"), (("trust", "--fingerprint", ""), "--fingerprint"),
        (("secrets.export", "x", "--passphrase-file", ""), "--passphrase-file"), (("service.logs", ""), "NAME"),
    ],
)  # fmt: skip
def test_an_empty_value_is_no_default(
    typed: Callable[..., tuple[int, list[str]]], words: tuple[str, ...], flag: str
) -> None:
    """An option that was given and is empty, as from an unset variable, is refused by its name."""
    code, said = typed(*words)
    assert (code, said[0]) == (1, f"error: {flag}: is empty; give it a value or leave it out")


def test_a_list_of_nothing_is_not_all(typed: Callable[..., tuple[int, list[str]]]) -> None:
    """A comma list with an empty item is refused, and never read as everything."""
    for given in (",", "kill-service,,heal", " "):
        assert typed("chaos.gameday", "--skip", given)[1][0].endswith(": an item is empty")


@pytest.mark.parametrize(
    ("words", "told", "hint"),
    [
        ("depoly", "depoly: there is no such command; did you mean deploy?", "inv --list"),
        ("service.log web", "service.log: there is no such command; did you mean service.logs?", "inv --list"),
        ("zzz", "zzz: there is no such command", "inv --list"),
        ("deploy --host all", "deploy --host: there is no such option; did you mean --hosts?", "inv --help deploy"),
        ("deploy --host=all", "deploy --host: there is no such option; did you mean --hosts?", "inv --help deploy"),
        ("--lst", "inv --lst: there is no such option; did you mean --list?", "inv --list"),
        ("deploy w1", "w1: is no command, and no value that deploy takes", "inv --help deploy"),
        ("events --lines", "events --lines: wants a value", "inv --help events"),
        ("add-worker --nmae w9 10.0.0.2", "add-worker --nmae: there is no such option; did you mean --name?",
         "inv --help add-worker"),
        ("promote", "promote: HOST is missing", "inv --help promote"),
        ("service.scale web", "service.scale: COUNT is missing", "inv --help service.scale"),
    ],
)  # fmt: skip
def test_a_slip_is_told_with_what_comes_near(
    typed: Callable[..., tuple[int, list[str]]], words: str, told: str, hint: str
) -> None:
    """Of commands and options alike, in one line and a hint, with exit code 1."""
    assert typed(*words.split()) == (1, [f"error: {told}", f"hint: {hint}"])


@pytest.mark.parametrize(
    "words",
    ["service.scale --help", "service.scale web --help", "service.scale web 3 --help", "service.logs -h", "promote --help",
     "add-worker h --help", "secrets.rotate --yes --help", "consul --help", "plan --help", "plan service.stop --help",
     "deploy --hosts w1 --help", "chaos.gameday --help"],
)  # fmt: skip
def test_help_behind_a_command_explains_it(typed: Callable[..., tuple[int, list[str]]], words: str) -> None:
    """Whatever words the command wants, and wherever the option stands; the last command that was named."""
    single = ("plan", "promote", "deploy", "consul", "add-worker")
    named = [word for word in words.split() if word in single or "." in word][-1]
    code, said = typed(*words.split())
    assert (code, said[0].split()[:4]) == (0, ["Usage:", "inv", "[--core-opts]", named])
    assert any(line.endswith("the traceback of an error") for line in said)  # each option's own words


def test_help_of_a_program_on_a_host_is_its_own(typed: Callable[..., tuple[int, list[str]]]) -> None:
    """What stands behind `--` is not for us."""
    assert typed("consul", "--host", "nope", "--", "members", "--help")[1][0].startswith("error: ")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("status --json --inventory /nope", {"error": "/nope: is not there", "hint": "check --inventory and NEXUS_HOSTS"}),
        ("plan --jsno --json", {"error": "plan --jsno: there is no such option; did you mean --json?",
                                "hint": "inv --help plan"}),
        ("events --json --lines x", {"error": "--lines x: is not a whole number",
                                     "hint": "--lines: how many (default: 50; 0: all)"}),
        ("chaos.list -j --drill x", None),
    ],
)  # fmt: skip
def test_an_error_is_json_where_json_was_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str], words: str, told: dict[str, str] | None
) -> None:
    """On stdout, for the program that reads it; the same words stand on stderr, for whoever reads the log."""
    with pytest.raises(SystemExit) as ended:
        Program(namespace=namespace()).run(["inv", *words.split()])
    said = capsys.readouterr()
    assert ended.value.code == 1
    error = json.loads(said.out)
    assert set(error) == {"error", "hint"}
    assert told in (None, error)
    assert f"error: {error['error']}" in said.err


def test_several_errors_are_json_with_their_own_hints(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A reader of `error` and `hint` alone misses none of the words."""
    (folder / "hosts.yml").write_text(HOSTS.replace("manager", "managr"))
    (folder / "services.yml").write_text("services: {web: {command: run, port: 0}}\n")
    assert refused(deploy.plan, json=True) == 1
    error = json.loads(capsys.readouterr().out)
    assert [one["error"].partition(":")[0] for one in error["errors"]] == ["hosts.yml", "services.yml"]
    assert all(one["error"] in error["error"] for one in error["errors"])


def test_a_mistyped_kind_of_secret_is_told_with_what_comes_near(typed: Callable[..., tuple[int, list[str]]]) -> None:
    """As commands and options are."""
    told = "KIND gosip: is not one of gossip, tokens, certs; did you mean gossip?"
    assert typed("secrets.rotate", "gosip") == (1, [f"error: {told}", "hint: inv --help secrets.rotate"])


def test_an_option_is_no_name(typed: Callable[..., tuple[int, list[str]]]) -> None:
    """A slip before the name that a command wants is not taken for the name."""
    said = typed("service.stop", "--yse")
    assert said == (1, ["error: --yse: there is no such option; did you mean --yes?"])


def test_what_was_typed_arrives_as_what_it_is() -> None:
    """Numbers, texts and defaults reach the command in their own types, whoever calls it."""
    seen: list[tuple[object, ...]] = []

    @command()
    def probe(c: Context, name: str, count: int = 3, only: str = "", yes: bool = False) -> None:
        seen.append((name, count, only, yes))

    root = Collection(probe)
    for words in (["x"], ["x", "--count", "07"], ["x", "--only", "a", "--yes"]):
        Program(namespace=root).run(["inv", "probe", *words])
    probe(Context(), "x", count=2)
    assert seen == [("x", 3, "", False), ("x", 7, "", False), ("x", 3, "a", True), ("x", 2, "", False)]
    assert {type(value) for row in seen for value in row} == {str, int, bool}


def test_logs_of_a_cluster_without_workers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing can run, that is what is told."""
    (folder / "hosts.yml").write_text(HOSTS.replace(", worker", ""))
    assert refused(service.logs, "web") == 1
    assert "error: hosts.yml: no host has the role worker, so no service runs" in capsys.readouterr().err


def test_unlock_says_for_whom_it_holds(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`no lock stands` is said of the hosts that answered, and is no success while one did not."""
    (folder / "hosts.yml").write_text("cluster: c\nhosts: {m1: {ssh: a, roles: [manager]}, w1: {ssh: b, roles: [worker]}}\n")
    fault = HostError("w1", "closed", "up?")
    free, held = bare_facts(), bare_facts(lock=LockFact("id", "ann", "deploy", "x:1", 1, 2))

    def unlocked(facts: dict[str, Facts], before: list[HostError], after: list[HostError]) -> list[str]:
        monkeypatch.setattr(Fleet, "probe", lambda _: (facts, before))
        monkeypatch.setattr("fabfile.edge.deploy.lock.release", lambda *_: after)
        if before or after:
            assert refused(deploy.unlock, yes=True) == 1
        else:
            deploy.unlock(Context(), yes=True)
        return capsys.readouterr().err.splitlines()

    closed = ["error: w1: closed", "hint: up?"]
    assert unlocked({"m1": free, "w1": free}, [], []) == ["no lock stands"]
    assert unlocked({"m1": free}, [fault], []) == [*closed, "no lock stands on m1; what the others have is not known"]
    assert unlocked({}, [fault], []) == [*closed, "no host answered"]
    assert unlocked({"m1": held, "w1": held}, [], [])[1:] == ["the lock is gone"]
    told = unlocked({"m1": held, "w1": held}, [], [fault])[1:]
    assert told == [*closed, "the lock is gone on m1; what the others have is not known"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"address": "root@h:22"}, "ADDRESS: root@h:22 is not an address, DNS name or ssh_config alias alone: write `user"),
        ({"name": "W_1"}, "--name W_1: W_1 is not a host name of lower-case letters"),
        ({"name": "a b"}, '--name "a b": "a b" is not a host name of lower-case letters'),
        ({"name": "m1"}, "--name m1: is there already"),
        ({"port": 70000}, "--port: 70000 is not a port (1-65535)"),
        ({"address": "192.0.2.1", "port": 22, "user": "9"}, "192.0.2.1 is in hosts.yml already"),
        ({"gateway": "a,b"}, '--gateway: "a,b" names several jump hosts'),
    ],
)  # fmt: skip
def test_add_worker_tells_faults_of_its_options(
    folder: Path, capsys: pytest.CaptureFixture[str], given: dict[str, Any], told: str
) -> None:
    """Not of a line that is not in hosts.yml; and the file stays as it was."""
    assert refused(hosts.add_worker, **{"address": "192.0.2.9", **given}) == 1
    assert capsys.readouterr().err.splitlines()[0].startswith(f"error: {told}")
    assert (folder / "hosts.yml").read_text() == HOSTS


def test_trust_goes_on_where_one_host_fails(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each host is asked about; who is left without a pinned key is named at the end, with exit code 1."""
    (folder / "hosts.yml").write_text(
        "cluster: c\nhosts: {m1: {ssh: a, roles: [manager]}, w1: {ssh: b, roles: [worker]}, w2: {ssh: d, roles: [worker]}}\n"
    )
    seen: list[str] = []

    def pin(_: object, host: Host, **__: object) -> None:
        seen.append(host.name)
        if host.name == "m1":
            raise HostError("m1", "closed", "up?")
        if host.name == "w1":
            raise Refused("not confirmed; nothing was changed")

    monkeypatch.setattr("fabfile.cli.flows.host_keys.pin", pin)
    assert refused(hosts.trust) == 1
    assert seen == ["m1", "w1", "w2"]
    assert capsys.readouterr().err.splitlines() == [
        "error: m1: closed", "hint: up?", "error: not confirmed; nothing was changed", "not pinned: m1, w1",
    ]  # fmt: skip
    hosts.trust(Context(), hosts="w2")


def test_each_error_is_told_with_its_own_way_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Of several errors, those that follow each other with one way out share it; none goes without its own."""
    show_errors(Several([HostError("a", "closed", "up?"), HostError("b", "closed", "up?"), InputError(["c", "d"], "mend")]))
    show_errors(ApplyError("e", "failed", "look", "1\n2"), HostError("f", "odd"))
    assert capsys.readouterr().err.splitlines() == [
        "error: a: closed", "error: b: closed", "hint: up?", "error: c", "error: d", "hint: mend",
        "error: e: failed", "  | 1", "  | 2", "hint: look", "error: f: odd",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError(13, "Permission denied", "/etc/x y"), 'error: "/etc/x y": permission denied'),
        (OSError(28, "No space left on device", b"here/f"), "error: here/f: no space left on device"),
        (OSError(5, "Input/output error"), "error: the system refused: input/output error"),
        (TimeoutError(), "error: the system refused: timeouterror"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "error: text that is not UTF-8 stood in the way"),
    ],
)  # fmt: skip
def test_what_the_system_refuses_is_one_line(capsys: pytest.CaptureFixture[str], error: Exception, told: str) -> None:
    """A full disk, a file's mode or its bytes end a command as any other error does, and --debug shows where."""

    @command()
    def probe(c: Context, debug: bool = False) -> None:
        raise error

    assert refused(probe) == 1
    line, hint = capsys.readouterr().err.splitlines()
    assert line.startswith(told)
    assert hint.endswith("--debug shows where it happened")
    with pytest.raises(type(error)):
        probe(Context(), debug=True)


def test_a_path_below_the_working_directory_is_shown_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the operator sees is what he would type."""
    monkeypatch.chdir(tmp_path)
    assert (display_path(tmp_path / "a" / "b.yml"), display_path("c"), display_path("/etc/d")) == ("a/b.yml", "c", "/etc/d")
    assert display_path("/" + "x" * 300) == "/" + "x" * 300
    assert (display_path("a b"), display_path("a\x1b")) == ('"a b"', r'"a\u001b"')
