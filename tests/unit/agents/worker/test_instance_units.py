"""A service's unit and environment, parsed as systemd and Docker parse them: no value is interpreted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from voluptuous import Invalid, MultipleInvalid

from fabfile.core.config import service_texts, service_values
from fabfile.core.config.value_checks import user as user_name
from fabfile.core.model.service import Check, Service
from remote_agents.nexus_agents.worker.instance_units import env_path, env_text, quoted, revision_of, unit_text

BLANK = " \t\n\r"
ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " ",
           "\\": "\\", '"': '"', "'": "'"}  # fmt: skip
HOSTILE = (
    "%n", "%%", "100%", "%", "$HOME", "${HOME}", "$$", "$(id)", "`id`", '"', "'", "\\", "\\\\", "\\n", "\\x41", 'a"b', "a'b",
    "a b", " a", "a ", "", ";", "\\;", "#", "# no comment", "=", "a=b", "[Service]", "X-Nexus-Revision=000000000000",
    "ExecStartPost=/bin/true", "ÄÖÜ ß", "日本語", "🚀", "é", "@", "-", ":", "+", "!", "|", "&&", '\\"', '%"', '"%\\',
    "x" * 8192,
)  # fmt: skip


# How the values come in: by the door.


def let_in(check: Any, value: object) -> bool:
    try:
        check(value)
    except (Invalid, MultipleInvalid):
        return False
    return True


TEXTS = st.one_of(
    st.sampled_from(HOSTILE),
    st.text("ab%$\"'\\;#= nx41{}()`&|<>*?~!@-+:", max_size=30),
    st.text(max_size=30).filter(str.isprintable),
)
PROGRAMS = st.one_of(
    st.sampled_from(["python3", "/usr/bin/env", "/opt/my app/run", "/opt/100%/run", "/opt/$x/run", "/opt/日本/ü"]),
    st.text("ab%$; /#={}&*?~", min_size=1, max_size=20).map(lambda t: "/" + t),
).filter(lambda p: let_in(service_texts.command, [p]))  # fmt: skip
COMMANDS = st.builds(lambda p, args: (p, *args), PROGRAMS, st.lists(TEXTS, max_size=6))
ENVS = st.dictionaries(st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_]{0,20}\Z"), TEXTS, max_size=5)
NAMES = st.from_regex(r"\A[a-z0-9]([a-z0-9_-]{0,38}[a-z0-9])?\Z").filter(lambda n: let_in(service_values.name, n))
USERS = st.from_regex(r"\A[a-z_][a-z0-9_-]{0,31}\Z").filter(lambda n: let_in(user_name, n))
IMAGES = st.sampled_from(["nginx", "nginx:1.27", "r.test/owner/app@sha256:" + "a" * 64, "localhost:5000/a_b/c--d:v1"])
PORTS = st.sampled_from([None, 1, 81, 1023, 1024, 8080, 65535])
CORES = st.one_of(st.sampled_from([0.01, 0.29, 1 / 3, 0.5, 1.5, 2, 1024]), st.floats(0.01, 1024))
SECONDS = st.integers(1000, 3_600_000).map(lambda ms: ms / 1000)


def spec(**own: Any) -> dict[str, Any]:
    """A spec as it reaches the worker: through JSON."""
    given = {"name": "web", "check": Check("tcp"), "port": 8080, **own}
    if "image" not in given:
        given.setdefault("command", ("/bin/run",))
    return dict(json.loads(json.dumps(Service(**given).spec())))


# How systemd reads: systemd.syntax(7), systemd.service(5), systemd.exec(5); src/basic/extract-word.c and env-file.c.


def settings(text: str) -> list[tuple[str, str, str]]:
    """(section, key, value) of a unit file. None of our lines continues on the next one."""
    found, section = [], ""
    for line in text.split("\n"):
        if not line.strip() or line.lstrip()[0] in "#;":
            continue
        assert not line.endswith("\\")
        if line.startswith("["):
            section = line.strip("[]")
        else:
            key, equals, value = line.partition("=")
            assert equals, line
            found.append((section, key.strip(), value.strip()))
    return found


def values(text: str, key: str) -> list[str]:
    return [value for _, known, value in settings(text) if known == key]


def words(text: str) -> Iterator[str]:
    """The words of a command line, without quotes and C escapes; a bare semicolon would start another command."""
    at = 0
    while True:
        while at < len(text) and text[at] in BLANK:
            at += 1
        if at == len(text):
            return
        assert not re.match(r"\\?;(\s|$)", text[at:])
        word, quote = "", ""
        while at < len(text) and (quote or text[at] not in BLANK):
            char, at = text[at], at + 1
            if char == "\\":
                word, at = word + ESCAPES[text[at]], at + 1  # numbers and others: we write none
            elif quote:
                word, quote = (word, "") if char == quote else (word + char, quote)
            elif char in "\"'":
                quote = char
            else:
                word += char
        assert not quote, "unbalanced"
        yield word


def argv(line: str) -> list[str]:
    """The argv of an ExecStart: `%` specifiers are replaced; with the prefix `:`, `$` is not."""
    found = list(words(line))
    prefix = found[0][: len(found[0]) - len(found[0].lstrip("-@:+!|"))]
    assert prefix == ":", "$ means something"
    found[0] = found[0][1:]
    return [re.sub(r"%(.?)", lambda m: "%" if m[1] == "%" else f"<specifier {m[1]}>", word) for word in found]


def is_taken(program: str) -> bool:
    """Whether systemd takes it as a program: string_is_safe, path_is_valid, filename_is_valid of config_parse_exec."""
    safe = not re.search(r"[\x00-\x1f\x7f\"'\\]", program)
    parts = [part for part in program.split("/") if part]
    small = len(program.encode()) < 4096 and all(len(part.encode()) <= 255 for part in parts)
    named = program.startswith("/") or program not in (".", "..")
    return bool(parts) and safe and small and named and not program.endswith("/")


def systemd_environment(text: str) -> dict[str, str]:
    """An EnvironmentFile whose values are all in double quotes."""
    found = {}
    for line in text.splitlines():
        parts = re.fullmatch(r'([^=\s]+)="((?:[^"\\]|\\.)*)"', line)
        assert parts, line
        found[parts[1]] = re.sub(r"\\(.)", lambda m: m[1] if m[1] in '"\\`$' else m[0], parts[2])
    return found


# How Docker reads: docker/cli opts/file.go, and the flags of `docker run`.


def docker_environment(text: str) -> dict[str, str]:
    found = {}
    for line in text.split("\n"):
        line = line.lstrip()
        assert len(line.encode()) < 64 << 10, "longer than Go's scanner takes"
        if line and not line.startswith("#"):
            key, equals, value = line.partition("=")
            assert equals, "it would be taken from Docker's own environment"
            assert not set(key) & set(" \t")
            found[key] = value
    return found


SWITCHES = {"--rm", "--init"}


def docker_run(line: str) -> tuple[dict[str, str], str, list[str]]:
    """Flags, image and the container's own arguments."""
    program, verb, *rest = argv(line)
    assert (program, verb) == ("/usr/bin/docker", "run")
    flags = {}
    while rest[0].startswith("-"):
        flag = rest.pop(0)
        flags[flag] = "" if flag in SWITCHES else rest.pop(0)
    return flags, rest[0], rest[1:]


@given(COMMANDS)
@example(("/bin/run", *HOSTILE))
def test_a_command_reaches_the_process_unchanged(command: tuple[str, ...]) -> None:
    """Whatever the arguments contain, systemd starts exactly this argv: no specifier, no variable, no second command."""
    assume(let_in(service_texts.command, list(command)))
    [line] = values(unit_text(spec(command=command)), "ExecStart")
    assert argv(line) == list(command)


@given(st.lists(TEXTS, min_size=1))
def test_quoting_is_one_line_and_undone_by_reading(found: list[str]) -> None:
    """Any arguments become one line that parses to the same arguments."""
    line = quoted(found)
    assert "\n" not in line
    assert [re.sub("%%", "%", word) for word in words(line)] == found


@given(COMMANDS, ENVS, st.one_of(st.none(), USERS), NAMES, PORTS)
def test_no_value_becomes_a_setting(
    command: tuple[str, ...], env: dict[str, str], user: str | None, name: str, port: int | None
) -> None:
    """A unit has the same settings in the same order whatever its values contain, and does not contain the environment."""
    low = port is not None and port < 1024
    plain = spec(name="web", command=("/bin/run",), user=user and "app", port=81 if low else 8080)
    text = unit_text(spec(name=name, command=command, env=env, user=user, port=port))
    assert [s[:2] for s in settings(text)] == [s[:2] for s in settings(unit_text(plain))]
    assert values(text, "Description") == [f"Service {name}, kept by Nexus Ops"]
    assert values(text, "SyslogIdentifier") == [name]
    assert values(text, "EnvironmentFile") == [env_path(name)] == [f"/run/nexus-worker/{name}.env"]
    assert values(text, "User") == ([user] if user else [])
    assert values(text, "DynamicUser") == ([] if user else ["yes"])
    assert values(text, "StateDirectory") == [f"nexus-svc-{name}"]
    assert values(text, "WorkingDirectory") == [f"/var/lib/nexus-svc-{name}"]


@given(st.one_of(st.text("/.a\"'\\ %é", min_size=1, max_size=8), PROGRAMS))
@example("/opt/it's/run")
@example('/opt/a"b')
@example("/opt/a\\b")
@example("..")
@example("a" * 256)
def test_the_schema_accepts_no_program_that_systemd_refuses(program: str) -> None:
    """systemd does not load a unit whose program has a quote or backslash, is `..`, or is longer than a file's name."""
    assert is_taken(program) or not let_in(service_texts.command, [program])


def test_secrets_of_the_environment_are_not_in_the_unit() -> None:
    """Everybody can read the unit, so it contains no value of the environment."""
    for own in ({}, {"image": "nginx"}):
        assert "hunter2" not in unit_text(spec(env={"PASSWORD": "hunter2"}, **own))


@given(ENVS)
@example({f"V{n}": text for n, text in enumerate(HOSTILE)})
def test_the_environment_of_a_process_is_unchanged(env: dict[str, str]) -> None:
    """systemd reads exactly these values from the file, and our own three."""
    assume(all(let_in(service_texts.env_value, v) for v in env.values()))
    own = {"NEXUS_SERVICE": "web", "NEXUS_HOST": "w1", "PORT": "8080"}
    assert systemd_environment(env_text(spec(env=env), "w1")) == {**own, **env}


@given(ENVS)
@example({f"V{n}": text for n, text in enumerate(HOSTILE)})
def test_the_environment_of_a_container_is_unchanged(env: dict[str, str]) -> None:
    """Docker takes everything after the first `=`, quotes and blanks too."""
    assume(all(let_in(service_texts.env_value, v) for v in env.values()))
    own = {"NEXUS_SERVICE": "web", "NEXUS_HOST": "w1", "PORT": "8080"}
    assert docker_environment(env_text(spec(image="nginx", env=env), "w1")) == {**own, **env}


def test_a_service_without_port_has_no_port_variable() -> None:
    """PORT is set only where there is a port, and the operator's values override ours."""
    assert systemd_environment(env_text(spec(port=None), "w1")) == {"NEXUS_SERVICE": "web", "NEXUS_HOST": "w1"}
    assert systemd_environment(env_text(spec(env={"PORT": "9"}), "w1"))["PORT"] == "9"


def test_equal_specs_give_equal_bytes() -> None:
    """The order of the environment does not matter, so it restarts nothing."""
    one, two = spec(env={"A": "1", "B": "2"}), spec(env={"B": "2", "A": "1"})
    assert (unit_text(one), env_text(one, "w1")) == (unit_text(two), env_text(two, "w1"))


@given(COMMANDS, ENVS)
@example(("/bin/run", "X-Nexus-Revision=000000000000"), {"A": "X-Nexus-Revision=0"})
def test_a_unit_has_its_revision(command: tuple[str, ...], env: dict[str, str]) -> None:
    """The revision is read back from the text, and no value is taken for one."""
    for own in (spec(command=command, env=env), spec(image="nginx", command=command, env=env)):
        assert revision_of(unit_text(own)) == own["revision"]


@pytest.mark.parametrize("text", ["", "[Service]\nExecStart=/bin/true\n", "# X-Nexus-Revision=1\n", " X-Nexus-Revision=1\n"])
def test_a_foreign_unit_has_no_revision(text: str) -> None:
    """A unit that is not ours has no revision."""
    assert revision_of(text) is None


@given(PORTS)
def test_only_a_low_port_takes_a_capability(port: int | None) -> None:
    """A process may bind a port below 1024 where its port is one, and has no capability otherwise."""
    text = unit_text(spec(port=port))
    low = port is not None and port < 1024
    assert values(text, "CapabilityBoundingSet") == ["CAP_NET_BIND_SERVICE" if low else ""]
    assert values(text, "AmbientCapabilities") == (["CAP_NET_BIND_SERVICE"] if low else [])


def test_a_process_is_hardened() -> None:
    """Every process has the hardening options; Docker isolates a container, without new privileges."""
    text = unit_text(spec())
    for key, value in {"NoNewPrivileges": "yes", "ProtectSystem": "strict", "PrivateTmp": "yes"}.items():
        assert values(text, key) == [value]
    flags, _, _ = docker_run(values(unit_text(spec(image="nginx")), "ExecStart")[0])
    assert flags["--security-opt"] == "no-new-privileges"
    assert "--privileged" not in flags


@pytest.mark.parametrize("own", [{}, {"image": "nginx"}])
def test_a_service_comes_back_however_often_it_ends(own: dict[str, Any]) -> None:
    """systemd restarts at once and never gives up, and a reboot leaves no unit behind."""
    text = unit_text(spec(**own))
    assert values(text, "Restart") == ["always"]
    assert values(text, "RestartSec") == ["200ms"]
    assert ("Unit", "StartLimitIntervalSec", "0") in settings(text)
    assert "[Install]" not in text


def test_a_process_has_its_limits() -> None:
    """Memory in MiB without swap, CPU in percent of one core; no limit where none is set."""
    text = unit_text(spec(memory_mb=256, cpu=1.5))
    assert values(text, "MemoryMax") == ["256M"]
    assert values(text, "MemorySwapMax") == ["0"]
    assert values(text, "CPUQuota") == ["150%"]
    assert [k for _, k, _ in settings(unit_text(spec())) if k.startswith(("Memory", "CPUQ"))] == []


@given(CORES)
@example(0.333)
@example(1 / 3)
@example(1e-2)
def test_systemd_accepts_every_valid_cpu_limit(cores: float) -> None:
    """A quota of more than two decimals would be ignored (parse_permyriad_unbounded); it stays close to the given limit."""
    [quota] = values(unit_text(spec(cpu=cores)), "CPUQuota")
    assert re.fullmatch(r"[0-9]+(\.[0-9]{1,2})?%", quota), quota
    assert float(quota[:-1]) == pytest.approx(cores * 100, rel=0.01, abs=0.01)


@given(CORES)
@example(1e-2)
def test_docker_accepts_every_valid_cpu_limit(cores: float) -> None:
    """--cpus is a plain decimal number of nine decimals at most."""
    flags, _, _ = docker_run(values(unit_text(spec(image="nginx", cpu=cores)), "ExecStart")[0])
    assert re.fullmatch(r"[0-9]+(\.[0-9]{1,9})?", flags["--cpus"])
    assert float(flags["--cpus"]) == pytest.approx(cores, rel=0.01)


@given(SECONDS)
@example(1.0)
@example(1.5)
@example(3600.0)
def test_systemd_waits_as_long_as_a_service_may_take_to_stop(seconds: float) -> None:
    """The time from SIGTERM to SIGKILL, never endless; a little longer than Docker's own."""
    for own, more in (({}, 0), ({"image": "nginx"}, 5)):
        [stop] = values(unit_text(spec(stop_timeout=seconds, **own)), "TimeoutStopSec")
        assert re.fullmatch(r"[0-9]+(\.[0-9]+)?", stop)
        assert float(stop) == pytest.approx(seconds + more, rel=0.001)
        assert float(stop) > 0


@given(SECONDS)
@example(1.0)
@example(1.5)
def test_docker_waits_as_long_as_a_service_may_take_to_stop(seconds: float) -> None:
    """`docker stop` accepts whole seconds only."""
    [line] = values(unit_text(spec(image="nginx", stop_timeout=seconds)), "ExecStop")
    *command, time, name = line.split(" ")
    assert command[:2] == ["-/usr/bin/docker", "stop"]
    assert name == "nexus-svc-web"
    assert re.fullmatch(r"[0-9]+", time), line
    assert abs(int(time) - seconds) <= 1


@given(IMAGES, st.one_of(st.none(), st.lists(TEXTS, min_size=1, max_size=5)), NAMES, USERS)
@example("nginx", list(HOSTILE), "web", "app")
def test_a_container_is_started_as_specified(image: str, args: list[str] | None, name: str, user: str) -> None:
    """Docker finds the image in its place, its arguments unchanged after it, and no value among its own flags."""
    made = spec(
        name=name, image=image, command=tuple(args) if args else None, port=8080, target_port=80, user=user,
        memory_mb=256, cpu=0.5,
    )  # fmt: skip
    flags, found, rest = docker_run(values(unit_text(made), "ExecStart")[0])
    assert (found, rest) == (image, args or [])
    assert flags == {
        "--rm": "", "--init": "", "--name": f"nexus-svc-{name}", "--env-file": env_path(name), "--log-driver": "none",
        "--security-opt": "no-new-privileges", "--pull": "never", "--publish": "8080:80", "--user": user,
        "--memory": "256m", "--memory-swap": "256m", "--cpus": "0.5",
    }  # fmt: skip


def test_a_container_has_only_what_is_specified() -> None:
    """Without port, user and limits their flags are missing; the container's port defaults to the host's."""
    flags, _, _ = docker_run(values(unit_text(spec(image="nginx", port=None)), "ExecStart")[0])
    assert not flags.keys() & {"--publish", "--user", "--memory", "--memory-swap", "--cpus"}
    flags, _, _ = docker_run(values(unit_text(spec(image="nginx")), "ExecStart")[0])
    assert flags["--publish"] == "8080:8080"


def test_a_container_leaves_nothing_behind() -> None:
    """A container left over from a crash is removed before a start and after every end; Docker starts first."""
    text = unit_text(spec(image="nginx"))
    assert values(text, "ExecStartPre") == values(text, "ExecStopPost") == ["-/usr/bin/docker rm --force nexus-svc-web"]
    assert values(text, "After") == values(text, "Wants") == ["docker.service"]
    assert values(unit_text(spec()), "After") == values(unit_text(spec()), "Wants") == []
