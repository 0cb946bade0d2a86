"""services.yml at the door: what is let in, in which words the rest is refused, and what of it travels."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fabfile.core.config import services
from fabfile.core.config.service_keys import SERVICE_KEYS
from fabfile.core.config.service_warnings import warnings
from fabfile.core.errors import InputError
from fabfile.core.model.cluster import Cluster, Host
from fabfile.core.model.service import Check, Replicas, Service, Services, routes, wanted
from fabfile.core.resources import ROOT

EXAMPLE = ROOT / "docs/examples/services.yml"
SOURCE = Path("/ops/services.yml")
RUN = {"command": ["run"]}
HTTP = RUN | {"port": 8080, "check": "/health"}
SITE = HTTP | {"domain": "example.org"}


def parse(text: str) -> Services:
    return services.parse(text, SOURCE)


def service(own: Any) -> Service:
    """The one service `web` of such a file."""
    return parse(json.dumps({"services": {"web": own}})).service("web")


def faults(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        parse(text)
    return list(caught.value.faults)


def web_faults(own: Any) -> list[str]:
    """The faults of the service `web`, without file, line and its path."""
    found = faults(json.dumps({"services": {"web": own}}))
    return [fault.removeprefix("services.yml:1: services.web").removeprefix(".") for fault in found]


def cluster(**workers: Mapping[str, str]) -> Cluster:
    """Workers with labels, and a manager."""
    hosts = [Host(name, name, ("worker",), labels=labels) for name, labels in workers.items()]
    return Cluster("c", (Host("m1", "m1", ("manager",)), *hosts), Path("/ops/hosts.yml"), Path("/s"), "c")


def known_keys() -> set[str]:
    """Of a service, and of its check and its replicas."""
    return {k.name for k in SERVICE_KEYS} | {sub.name for k in SERVICE_KEYS for sub in k.keys}


def test_the_example_names_every_key() -> None:
    """docs/examples/services.yml passes the door without warnings and uses each key that the schema knows."""
    text = EXAMPLE.read_text()
    made = services.parse(text, EXAMPLE)
    there = cluster(w1={"disk": "ssd"}, w2={"disk": "ssd"}, **{f"w{n}": {} for n in range(3, 7)})
    balancer = Host("lb1", "lb1", ("loadbalancer",))
    assert warnings(made, replace(there, hosts=(*there.hosts, balancer))) == ()
    assert len(known_keys()) == 23
    assert [key for key in sorted(known_keys()) if f"{key}:" not in text] == []
    used = set().union(*(own for own in yaml.safe_load(text)["services"].values() if isinstance(own, dict)))
    assert used == {key.name for key in SERVICE_KEYS}


def test_the_seeds_form_is_a_service_of_one_vouched_process() -> None:
    """A name with an argv list gets the documented defaults; a number in it becomes text."""
    web = service(["python3", "-m", "http.server", 8080])
    assert web == Service("web", Check("ttl"), command=("python3", "-m", "http.server", "8080"))
    assert web.spec() == {
        "name": "web", "command": ["python3", "-m", "http.server", "8080"], "image": None, "port": None,
        "target_port": None, "check": {"kind": "ttl", "path": "", "interval": 2.0, "timeout": 1.0}, "env": {}, "user": None,
        "memory_mb": None, "cpu": None, "stop_timeout": 10.0, "revision": web.revision,
        "replicas": {"all": False, "min": 1, "max": 1, "cpu": None}, "labels": {},
    }  # fmt: skip


def test_a_mapping_gives_every_value_its_normal_form() -> None:
    """Durations become seconds, memory MiB, domains lower case, paths lose their last slash."""
    web = service(
        {
            "image": "r.test/a/b:1", "args": ["-v", 2], "port": 8080, "target_port": 80, "user": "www-data", "memory": "1G",
            "check": {"http": "/up/?a=1", "interval": "1m", "timeout": "500ms"}, "replicas": {"min": 1, "max": 3, "cpu": 70},
            "env": {"A": "x=$Y %n 'q'", "B": 1}, "cpu": 2, "stop_timeout": 30, "domain": "App.Example.ORG", "path": "/api/",
            "headers": {"X-A": "default-src 'self'; x", "X-B": None, "X-C": 0}, "timeout": "1.5s", "labels": {"disk": "ssd"},
        }
    )  # fmt: skip
    assert web == Service(
        "web", Check("http", "/up/?a=1", 60.0, 0.5), ("-v", "2"), "r.test/a/b:1", 8080, 80, Replicas(min=1, max=3, cpu=70),
        {"A": "x=$Y %n 'q'", "B": "1"}, "www-data", 1024, 2.0, 30.0, "app.example.org", "/api",
        {"X-A": "default-src 'self'; x", "X-B": None, "X-C": "0"}, 1.5, {"disk": "ssd"},
    )  # fmt: skip
    assert web.line == 1


def test_numbers_arrive_as_they_are_written() -> None:
    """-0 in an argv and 1.10 in the environment keep their spelling, through aliases too; both argv forms do so."""
    made = parse(
        "services:\n"
        "  a: [xargs, -0, -5, 8080]\n"
        "  b: &b {command: [xargs, -0], env: {V: 1.10, N: 007x, M: -0}}\n"
        "  c: {image: x, args: [-0], env: *e}\n".replace("*e", "{V: 2.0}")
        + "  d: *b\n"
    )
    assert made.service("a").command == ("xargs", "-0", "-5", "8080")
    assert made.service("b").env == {"V": "1.10", "N": "007x", "M": "-0"}
    assert (made.service("c").command, made.service("c").env) == (("-0",), {"V": "2.0"})
    assert replace(made.service("d"), name="b") == made.service("b")


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("python3 -m http.server 8080", ("python3", "-m", "http.server", "8080")),
        ("sh -c 'a && b | c'", ("sh", "-c", "a && b | c")),
        ('/srv/run --name "a b" \'\' x\\ y', ("/srv/run", "--name", "a b", "", "x y")),
        ("run 'a|b' \\$x '$y' \"c;d\" e\\&f 10$ x=$1", ("run", "a|b", "$x", "$y", "c;d", "e&f", "10$", "x=$1")),
        ("run '#no comment' # none", ("run", "#no comment", "#", "none")),
    ],
)
def test_a_command_in_one_text_is_split_as_a_shell_would(text: str, argv: tuple[str, ...]) -> None:
    """Quotes and backslashes group; nothing is expanded."""
    assert service({"command": text}).command == argv


@pytest.mark.parametrize(
    ("own", "check"),
    [
        ({}, Check("ttl")),
        ({"port": 1}, Check("tcp")),
        ({"check": "ttl"}, Check("ttl")),
        ({"port": 1, "check": "ttl"}, Check("ttl")),
        ({"port": 1, "check": "tcp"}, Check("tcp")),
        ({"port": 1, "check": "/"}, Check("http", "/")),
        ({"port": 1, "check": {"http": "/a/"}}, Check("http", "/a/")),
        ({"port": 1, "check": {"tcp": True, "interval": 10}}, Check("tcp", interval=10.0)),
        ({"check": {"ttl": True, "interval": "5s", "timeout": "1m"}}, Check("ttl", "", 5.0, 60.0)),
    ],
)
def test_each_form_of_a_check(own: dict[str, Any], check: Check) -> None:
    """A port alone means tcp, none means ttl; short and long forms are one."""
    assert service(RUN | own).check == check


@pytest.mark.parametrize(
    ("written", "seconds"),
    [(1, 1.0), (1.5, 1.5), ("2s", 2.0), ("1500ms", 1.5), ("0.5m", 30.0), ("1h", 3600.0), ("1.0005s", 1.0), ("60m", 3600.0)],
)
def test_durations_are_seconds_however_they_are_written(written: object, seconds: float) -> None:
    """Numbers are seconds, units are read, and a millisecond is the finest."""
    assert service(RUN | {"stop_timeout": written}).stop_timeout == seconds


@pytest.mark.parametrize(
    ("written", "made"),
    [
        (0, Replicas(min=0, max=0)),
        (3, Replicas(min=3, max=3)),
        ("all", Replicas(all=True, min=0, max=0)),
        ({"min": 2, "max": 2, "cpu": 250}, Replicas(min=2, max=2, cpu=250)),
    ],
)
def test_each_form_of_replicas(written: object, made: Replicas) -> None:
    """A number is both bounds; only bounds with a target follow the CPU."""
    assert service(RUN | {"replicas": written}).replicas == made


@pytest.mark.parametrize(("written", "mb"), [(6, 6), ("256M", 256), ("2G", 2048)])
def test_memory_is_in_mebibytes(written: object, mb: int) -> None:
    """A bare number is M already."""
    assert service(RUN | {"memory": written}).memory_mb == mb


@pytest.mark.parametrize(
    "image",
    ["nginx", "nginx:1.27-alpine", "library/a__b", "localhost:5000/x/y.z:T_1", "r.example.org/a@sha256:" + "0a" * 32],
)
def test_images_of_every_form_pass(image: str) -> None:
    """Registry with port, nested repositories, tags and digests; the container's port is the host's by default."""
    made = service({"image": image, "port": 8080})
    assert (made.image, made.target_port, made.command) == (image, 8080, None)


@pytest.mark.parametrize(
    ("written", "user"),
    [("1000", "1000"), ("1000:1000", "1000:1000"), ('"0"', "0"), ("app:app", "app:app"), ("app", "app"), ("app:7", "app:7")],
)
def test_an_image_takes_numbers_and_groups(written: str, user: str) -> None:
    """As Docker does; the text is passed on as it stands."""
    assert parse(f"services: {{a: {{image: x, user: {written}}}}}").service("a").user == user


def test_all_faults_are_told_at_once_in_the_order_of_the_file() -> None:
    """Faults of every kind come together, each with line, path, value and what was due."""
    text = """\
services:
  hello.world: [python3, -m, http.server, yes]
  web:
    comand: run
    port: 8500
    check: {http: health, interval: 100ms}
    env: {DEBUG: no, "A B": x}
  web: [run]
  api:
    image: nginx
    command: [run]
    port: 8080
    memory: 1GB
    replicas: {min: 3, mx: 2}
  db: {command: run, port: 8080, path: /x}
version: 3
"""
    assert faults(text) == [
        "services.yml:2: services.hello.world[3]: YAML reads yes as true; write it in quotes: \"yes\"",
        "services.yml:2: services.hello.world: hello.world is not a service name of lower-case letters a-z, digits and inner"
        " hyphens; write hello-world",
        "services.yml:3: services.web: has neither command nor image; it needs one of them",
        "services.yml:4: services.web.comand: unknown key; did you mean command?",
        "services.yml:5: services.web.port: 8500 is Consul's (HTTP API) port on the hosts; choose another",
        "services.yml:6: services.web.check.http: health is not a path such as /api"
        " (/ first; letters, digits, . _ ~ - and /)",
        "services.yml:6: services.web.check.interval: 100ms is not a duration from 1s to 1h: seconds, or text such as 500ms,"
        " 10s, 1m",
        'services.yml:7: services.web.env.DEBUG: YAML reads no as false; write it in quotes: "no"',
        'services.yml:7: services.web.env."A B": the name is not a variable\'s name (letters, digits and _, no digit first)',
        "services.yml:8: services.web: given twice, in lines 3 and 8; a name may stand only once",
        "services.yml:11: services.api.command: stands beside image; a service has one of them (an image has args)",
        "services.yml:13: services.api.memory: 1GB is not an amount of memory from 6M on, such as 256M, 1G, or a number of"
        " M",
        "services.yml:14: services.api.replicas.mx: unknown key; did you mean max?",
        "services.yml:14: services.api.replicas.cpu: is missing: percent of one core that an instance is to use, such as 60",
        "services.yml:14: services.api.replicas.max: is missing: the greatest number of instances",
        "services.yml:15: services.db.path: needs a domain, below which it lies",
        "services.yml:15: services.db.port: 8080 is also the port of api; one host may get both",
        "services.yml:16: version: unknown key; known are services",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "services.yml: is empty; write `services: {}` for none"),
        ("# nothing\n", "services.yml: is empty"),
        ("- web\n", "services.yml:1: a list where a mapping (services: …) is due"),
        ("{}", "services.yml:1: services: is missing: the services, by name"),
        ("services:\n", "services.yml:1: services: is empty; write {} for no services"),
        ("services: [web]", "services.yml:1: services: a list where a mapping is due"),
        ("services: {web: }", "services.yml:1: services.web: is empty, and is neither a list such as [python3, -m,"),
        ("services: {web: run it}", 'services.yml:1: services.web: "run it" is neither a list such as [python3, -m,'),
        ("services: {1: [a]}", 'services.yml:1: services.1: YAML reads this name as the number 1; write it in quotes: "1"'),
        ("services: {a: !!python/name:os.system x}", "services.yml:1: services.a: the tag"),
        ("services:\n\ta: [b]", "services.yml:2: a tab indents this line"),
    ],
)
def test_each_broken_shape_has_its_message(text: str, fault: str) -> None:
    """Empty, wrong at the top, tabs, tags, names that are no text: each is told in its own words."""
    assert faults(text)[0].startswith(fault)


def test_no_services_is_a_valid_file() -> None:
    """`services: {}` asks for nothing to run, in so many words."""
    assert parse("services: {}") == Services((), SOURCE)


@pytest.mark.parametrize(
    ("own", "fault"),
    [
        ([], ": is empty; the program comes first, then its arguments"),
        ([""], "[0]: \"\" names no program"),
        (["run", 1.5], '[1]: YAML reads 1.5 as the number 1.5; write it in quotes: "1.5"'),
        (["run", None], '[1]: is empty; text is due, in quotes where the word itself is meant: "null"'),
        (["run", ["a"]], "[1]: a list where text is due"),
        (["run", 10**30], "[1]: YAML reads 1000000000000000000000000000000 as the number"),
        (["-x"], "[0]: -x begins with -, which systemd reads as an instruction; write the program's path"),
        (["@run"], '[0]: "@run" begins with @, which systemd'),
        (["./run"], "[0]: ./run is no program's path from / on (nor a name without slashes, found in PATH)"),
        (["~/run"], "[0]: ~/run is no program's path from / on"),
        (["/srv/"], "[0]: /srv/ is no program's path from / on"),
        (["python3 -m x"], '[0]: "python3 -m x" holds spaces; each item of the list is one argument'),
        ({"command": ""}, 'command: "" names no program'),
        ({"command": 7}, "command: 7 is not a command: a list such as"),
        ({"command": {"a": 1}}, "command: a mapping is not a command"),
        ({"command": "run 'x"}, 'command: "run \'x" cannot be split into arguments: no closing quotation'),
        ({"command": "cd /srv && run"}, 'command: "cd /srv && run" holds &&, but no shell runs it; quote it, or, for a sh'),
        ({"command": "run > log"}, 'command: "run > log" holds >, but no shell'),
        ({"command": "run >log 2>&1"}, 'command: "run >log 2>&1" holds >, but no shell'),
        ({"command": "a|b"}, 'command: "a|b" holds |, but no shell'),
        ({"command": "cd /srv; run"}, 'command: "cd /srv; run" holds ;, but no shell'),
        ({"command": 'run "$PORT"'}, 'command: "run \\"$PORT\\"" holds $PORT, but no shell'),
        ({"command": "run ${PORT}"}, 'command: "run ${PORT}" holds ${PORT}, but no shell'),
        ({"command": "run `id`"}, 'command: "run `id`" holds `, but no shell'),
        ({"command": "PORT=1 run"}, 'command: "PORT=1 run" begins with the variable PORT; it belongs under env'),
        ({"command": "run\nit"}, 'command: "run\\nit" holds a line break, a control or an invisible character (U+000A)'),
        ({"image": "Nginx"}, "image: Nginx is not an image such as nginx:1.27"),
        ({"image": "x", "args": "a b"}, 'args: "a b" is not a list of arguments, such as [serve'),
        (RUN | {"args": ["x"]}, "args: is for an image; the arguments of a command follow it in its list"),
        (RUN | {"port": 80, "target_port": 8080}, "target_port: is a container's port; a command listens on port itself"),
        ({"image": "x", "target_port": 80}, "target_port: needs a port: the one on the host"),
        (RUN | {"port": "8080"}, 'port: "8080" is not a port (1-65535); leave out the quotes'),
        (RUN | {"port": 0}, "port: 0 is not a port (1-65535)"),
        (RUN | {"check": "tcp"}, "check: needs a port to connect to; without one only ttl is possible"),
        (RUN | {"check": "/h"}, "check: needs a port to connect to"),
        (RUN | {"check": {"http": "/h"}}, "check: needs a port to connect to"),
        (RUN | {"check": "http"}, "check: http is not a check: a path such as /health, tcp, ttl, or a mapping with"),
        (RUN | {"check": True}, "check: true is not a check"),
        (RUN | {"check": ["ttl"]}, "check: a list is not a check"),
        (RUN | {"check": {}}, "check: names no http, tcp or ttl"),
        (RUN | {"check": {"ttl": True, "tcp": True}, "port": 1}, "check: names tcp and ttl; one of them"),
        (RUN | {"check": {"ttl": False}}, "check.ttl: false is not true; leave the key out for no such check"),
        (RUN | {"check": {"ttl": True, "intervall": 1}}, "check.intervall: unknown key; did you mean interval?"),
        (RUN | {"check": {"ttl": True, "timeout": "1 s"}}, 'check.timeout: "1 s" is not a duration from 100ms to 5m'),
        (RUN | {"check": {"ttl": True, "interval": 10**400}}, "check.interval: "),
        (HTTP | {"check": "/a?b c"}, 'check: "/a?b c" is not a path and a plain query such as /health?deep=1'),
        (RUN | {"replicas": -1}, 'replicas: -1 is not a number of instances (0-1000), all, or {min, max, cpu}'),
        (RUN | {"replicas": 1001}, "replicas: 1001 is not a number of instances (0-1000)"),
        (RUN | {"replicas": 1.5}, "replicas: 1.5 is not a number of instances"),
        (RUN | {"replicas": True}, "replicas: true is not a number of instances"),
        (RUN | {"replicas": "2"}, 'replicas: "2" is not a number of instances (0-1000), all, or {min, max, cpu}; leave out'),
        (RUN | {"replicas": "al"}, "replicas: al is not a number of instances"),
        (RUN | {"replicas": {"min": 3, "max": 2, "cpu": 5}}, "replicas: min 3 is more than max 2"),
        (RUN | {"replicas": {"min": 0, "max": 2, "cpu": 5}}, "replicas.min: 0 is not the least number of instances (1"),
        (RUN | {"replicas": {"min": 1, "max": 2, "cpu": 0}}, "replicas.cpu: 0 is not a percentage of one core (1-10000)"),
        (RUN | {"env": ["A=b"]}, "env: a list where a mapping is due"),
        (RUN | {"check": None}, "check: is empty, and is not a check: a path such as /health, tcp, ttl, or a mapping"),
        (RUN | {"env": {"A": None}}, 'env.A: is empty; text is due, in quotes where the word itself is meant: "null"'),
        (RUN | {"env": {"A": True}}, 'env.A: YAML reads true as true; write it in quotes: "true"'),
        (RUN | {"env": {"A": []}}, "env.A: a list where text is due"),
        (RUN | {"env": {"1A": "x"}}, "env.1A: the name is not a variable's name"),
        (RUN | {"env": {"A": "x" * 9000}}, "env.A: "),
        ({"image": "x", "user": "9a"}, "user: 9a is not a user name"),
        ({"image": "x", "user": "a:b:c"}, "user: a:b:c is not a user name"),
        ({"image": "x", "user": -1}, 'user: YAML reads -1 as the number -1; write it in quotes: "-1"'),
        (RUN | {"user": 1000}, "user: 1000 is for an image; a command runs as a user of the host, by name"),
        (RUN | {"user": "app:app"}, "user: app:app is for an image"),
        (RUN | {"memory": "5M"}, "memory: 5M is not an amount of memory from 6M on"),
        (RUN | {"memory": True}, "memory: true is not an amount of memory"),
        (RUN | {"cpu": 0}, "cpu: 0 is not a number of cores (0.01-1024)"),
        (RUN | {"cpu": "1"}, 'cpu: "1" is not a number of cores (0.01-1024); leave out the quotes'),
        (RUN | {"cpu": True}, "cpu: true is not a number of cores"),
        (RUN | {"stop_timeout": 0}, "stop_timeout: 0 is not a duration from 1s to 1h"),
        (RUN | {"stop_timeout": False}, "stop_timeout: false is not a duration"),
        (RUN | {"domain": "example.org"}, "domain: needs a port: the load balancer has to reach the service somewhere"),
        (SITE | {"domain": "localhost"}, "domain: localhost is not a DNS name"),
        (SITE | {"path": "api"}, "path: api is not a path such as /api"),
        (SITE | {"path": "/a/../b"}, "path: /a/../b is not a plain path: it holds .., //, or a part"),
        (SITE | {"path": "//a"}, "path: //a is not a plain path"),
        (SITE | {"path": "/./a"}, "path: /./a is not a plain path"),
        (SITE | {"path": "/a*"}, 'path: "/a*" is not a path such as /api'),
        (HTTP | {"headers": {"X-A": "b"}}, "headers: needs a domain; the load balancer sets them"),
        (HTTP | {"timeout": 5}, "timeout: needs a domain; the load balancer waits that long"),
        (SITE | {"headers": {"X A": "b"}}, 'headers."X A": the name is not a header\'s name'),
        (SITE | {"headers": {"Content-Length": 5}}, "headers.Content-Length: the name is set by the load balancer alone"),
        (SITE | {"headers": {"X-A": "{env.HOME}"}}, 'headers.X-A: "{env.HOME}" is not a header\'s value (ASCII without'),
        (SITE | {"headers": {"X-A": ""}}, "headers.X-A: \"\" is not a header's value"),
        (SITE | {"headers": {"X-A": True}}, 'headers.X-A: YAML reads true as true; write it in quotes: "true"'),
        (SITE | {"headers": {"X-A": "1", "x-a": "2"}}, "headers.x-a: is the same header as X-A"),
        (SITE | {"timeout": 0}, "timeout: 0 is not a duration from 100ms to 1h"),
        (RUN | {"labels": {"a": 1}}, 'labels.a: YAML reads 1 as the number 1; write it in quotes: "1"'),
        (RUN | {"labels": {"a b": "x"}}, 'labels."a b": the name is not a label'),
        (RUN | {"zzz": 1}, "zzz: unknown key; known are command, image, args, "),
        ({"port": 8080}, ": has neither command nor image; it needs one of them"),
    ],
)  # fmt: skip
def test_each_wrong_value_has_its_message(own: Any, fault: str) -> None:
    """A wrong value is told by path, value and what was expected, first of all its service's faults or alone."""
    found = web_faults(own)
    assert any(one.startswith(fault) for one in found), found
    assert len(found) <= 2


@pytest.mark.parametrize("port", [22, 80, 443, 2019, 8300, 8301, 8302, 8500, 8600])
def test_ports_of_the_clusters_own_are_refused(port: int) -> None:
    """SSH, Caddy and Consul keep theirs; a container may listen there inside."""
    (fault,) = web_faults(RUN | {"port": port})
    assert fault.startswith(f"port: {port} is ")
    assert fault.endswith(" port on the hosts; choose another")
    assert service({"image": "x", "port": 8080, "target_port": port}).target_port == port


@pytest.mark.parametrize("name", ["consul", "nexus-orchestrator", "nexus-x", "nexus-"])
def test_names_of_the_clusters_own_are_refused(name: str) -> None:
    """What the toolkit registers in Consul itself cannot be a service's name."""
    found = faults(json.dumps({"services": {name: ["run"]}}))
    assert f"services.{name}: {name} is a name of the cluster's own (consul, nexus-orchestrator, nexus-…)" in found[-1]


@pytest.mark.parametrize("name", ["a", "7", "a-b", "nexus", "a" * 40])
def test_dns_labels_are_names(name: str) -> None:
    """Lower-case letters, digits and inner hyphens, up to 40."""
    assert [s.name for s in parse(json.dumps({"services": {name: ["run"]}}))] == [name]


def test_two_services_at_one_place_are_refused() -> None:
    """One port, or one domain and path, in whatever spelling, is one service's; another path is another place."""
    a = RUN | {"port": 8001, "domain": "Example.org", "path": "/x/"}
    b = RUN | {"port": 8002, "domain": "example.org", "path": "/x"}
    (fault,) = faults(json.dumps({"services": {"a": a, "b": b}}))
    assert fault.endswith("services.b.path: example.org/x is also where a is offered")
    (fault,) = faults(json.dumps({"services": {"a": a, "b": b | {"path": "/X"}}}))
    assert fault.endswith("services.b.path: example.org/x is also where a is offered (to the balancer, case is one)")
    (fault,) = faults(json.dumps({"services": {"a": a, "b": b | {"path": "/", "port": 8001}}}))
    assert fault.endswith("services.b.port: 8001 is also the port of a; one host may get both")
    both = parse(json.dumps({"services": {"a": a, "b": b | {"path": "/"}}}))
    assert [(r["service"], r["path"]) for r in routes(both)["routes"]] == [("b", "/"), ("a", "/x")]
    assert both.ports == (8001, 8002)


HOSTILE = [
    "a\nb", "a\r", "a\x00b", "\x1b[31m", "\u202ex", "a\u2028b", "\ud7ff\u0085", "x" * 9000,
]  # fmt: skip
STRICT = [
    *HOSTILE, "; touch x", "$(id)", "`id`", "%n", "-x y", "{{ x }}", "${x}", "a'b", 'a"b', "a|b", "", "a b", "Jörg", "é/",
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
def test_no_text_holds_line_breaks_or_control_characters(value: str) -> None:
    """Commands, arguments, the environment and headers refuse them wherever they stand."""
    own = {"image": "x", "port": 1, "domain": "a.b", "args": [value], "env": {"A": value}, "headers": {"A": value}}
    found = faults(json.dumps({"services": {"a": ["run", value], "b": RUN | {"command": value}, "c": own}}))
    assert len(found) == 5
    assert all(fault.isprintable() for fault in found)


@pytest.mark.parametrize("value", STRICT)
def test_hostile_values_are_refused_everywhere_else(value: str) -> None:
    """Names, images, users, checks, domains, paths, labels, variables and headers' names have strict patterns."""
    own = {
        "image": value, "port": value, "check": value, "replicas": value, "user": value, "memory": value, "cpu": value,
        "stop_timeout": value, "domain": value, "path": value, "timeout": value, "labels": {"a": value},
    }  # fmt: skip
    odd = {value[:900]: "x"}  # YAML takes no key of more than 1024 characters
    keys = {"image": "x", "port": 1, "domain": "a.b", "labels": odd, "env": odd, "headers": odd}
    found = faults(json.dumps({"services": {value[:900]: ["run"], "web": own, "x": keys}}))
    assert len(found) == len(own) + 4
    assert all(fault.isprintable() for fault in found)


def test_more_than_the_store_takes_is_refused() -> None:
    """A file whose value would not fit into one of Consul's transactions is told so at the door."""
    many = {f"s{n}": RUN | {"env": {f"V{v}": "x" * 8000 for v in range(4)}} for n in range(9)}
    (fault,) = faults(json.dumps({"services": many}))
    assert fault.endswith("KiB; the cluster's store takes 256")


def test_a_revision_is_a_stable_value() -> None:
    """12 hexadecimal digits that a later version of the toolkit must not change: instances would restart."""
    assert service(["run"]).revision == "7e8c51ffc396"
    assert service(HTTP | {"env": {"A": "b", "C": "d"}}).revision == service(HTTP | {"env": {"C": "d", "A": "b"}}).revision


BASE = {"image": "x", "port": 8080, "domain": "a.b"}


@pytest.mark.parametrize(
    "change",
    [
        {"image": "y"}, {"args": ["a"]}, {"port": 8081}, {"target_port": 80}, {"check": "/health"}, {"check": "ttl"},
        {"check": {"tcp": True, "interval": 3}}, {"check": {"tcp": True, "timeout": 3}}, {"env": {"A": "b"}},
        {"user": "u"}, {"memory": 64}, {"cpu": 1}, {"stop_timeout": 11},
    ],
)  # fmt: skip
def test_what_an_instance_is_made_of_changes_its_revision(change: dict[str, Any]) -> None:
    """Anything that a running instance would have to be replaced for is another revision, and another digest."""
    assert service(BASE | change).revision != service(BASE).revision


@pytest.mark.parametrize(
    "change",
    [
        {"replicas": 3}, {"replicas": "all"}, {"replicas": {"min": 1, "max": 2, "cpu": 50}}, {"labels": {"a": "b"}},
        {"domain": "c.d"}, {"path": "/x"}, {"headers": {"X-A": "b"}}, {"timeout": 3},
    ],
)  # fmt: skip
def test_what_surrounds_an_instance_restarts_nothing_but_is_noticed(change: dict[str, Any]) -> None:
    """Replicas, labels and all of the balancer's keep the revision and change the digest."""
    old, new = (parse(json.dumps({"services": {"web": BASE | c}})) for c in ({}, change))
    assert new.service("web").revision == old.service("web").revision
    assert wanted(new)["digest"] != wanted(old)["digest"]


@pytest.mark.parametrize(
    "same",
    [
        {"target_port": 8080}, {"check": "tcp"}, {"check": {"tcp": True, "interval": "2000ms", "timeout": 1.0}}, {"env": {}},
        {"stop_timeout": "10s"}, {"replicas": 1}, {"path": "/"}, {"timeout": 10}, {"args": []}, {"domain": "A.B"},
    ],
)  # fmt: skip
def test_writing_a_default_out_changes_nothing(same: dict[str, Any]) -> None:
    """Equal intent gives an equal digest, whatever the spelling."""
    old, new = (parse(json.dumps({"services": {"web": BASE | own}})) for own in ({}, same))
    assert wanted(new) == wanted(old)


def test_the_order_of_the_file_changes_no_digest() -> None:
    """Services that change places are the same services."""
    own = {"a": ["run"], "b": SITE, "c": SITE | {"port": 8081, "path": "/c"}}
    back = dict(reversed(own.items()))
    one, two = (parse(json.dumps({"services": each})) for each in (own, back))
    assert (wanted(one), routes(one)) == (wanted(two), routes(two))


def test_routes_are_what_the_balancer_needs() -> None:
    """Only services with a domain; the http check's path or null; null headers stay, for they take defaults away."""
    made = parse(json.dumps({"services": {"a": HTTP, "b": SITE | {"port": 81, "headers": {"X-A": None}}, "c": BASE | {
        "port": 82, "timeout": "2s"}}}))  # fmt: skip
    assert routes(made) == {
        "routes": [
            {"service": "c", "domain": "a.b", "path": "/", "check_path": None, "headers": {}, "timeout": 2.0},
            {"service": "b", "domain": "example.org", "path": "/", "check_path": "/health", "headers": {"X-A": None},
             "timeout": 10.0},
        ]
    }  # fmt: skip
    assert list(wanted(made)["services"]) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("own", "warning"),
    [
        ({"replicas": 2}, None),
        ({"replicas": "all"}, None),
        ({"replicas": {"min": 1, "max": 2, "cpu": 9}}, None),
        ({"labels": {"disk": "ssd"}}, None),
        ({"replicas": 3}, "replicas: 3 wanted, but there are 2 workers, and a host runs one instance of a service: 2 at m"),
        ({"replicas": {"min": 1, "max": 5, "cpu": 9}}, "replicas: up to 5 wanted, but there are 2 workers, and a host runs"),
        ({"replicas": 2, "labels": {"disk": "ssd"}}, "replicas: 2 wanted, but 1 worker has the labels, and a host runs one"),
        ({"replicas": 0}, "replicas: 0, so it runs nowhere"),
        ({"labels": {"disk": "hdd", "a": "b"}}, "labels: no worker has {disk: hdd, a: b}, so it runs nowhere"),
        ({"port": 1, "domain": "a.b"}, "domain: no host has the role loadbalancer, so nothing answers for a.b"),
    ],
)
def test_what_is_hardly_meant_is_a_warning(own: dict[str, Any], warning: str | None) -> None:
    """Too many replicas, labels of nobody, no balancer, nothing to run: each is allowed and told, with its line."""
    made = parse(json.dumps({"services": {"web": RUN | own}}))
    found = warnings(made, cluster(w1={"disk": "ssd", "zone": "a"}, w2={}))
    assert len(found) == (warning is not None)
    assert all(w.startswith(f"services.yml:1: services.web.{warning}") for w in found)


@pytest.mark.parametrize(
    ("argv", "item"),
    [
        (["run", "--port", "$PORT"], "$PORT"), (["a", "|", "b"], "|"), (["run", ">", "log"], ">"), (["run", "${X}"], "${X}"),
        (["sh", "-c", "a | b", "$HOME"], None), (["/bin/bash", "-c", ">"], None), (["find", ".", ";"], None),
        (["grep", "a|b", "$"], None),
    ],
)  # fmt: skip
def test_a_list_that_wants_a_shell_is_a_warning(argv: list[str], item: str | None) -> None:
    """It may be meant, and is hardly: an item that only a shell would act on. A shell's own arguments are its own."""
    found = warnings(parse(json.dumps({"services": {"web": argv}})), cluster(w1={}))
    told = (f"services.yml:1: services.web.command: {item} reaches the program as it stands, for no shell runs it;"
            " for one: [sh, -c, '…']",)  # fmt: skip
    assert found == (told if item else ())


def test_a_cluster_without_workers_is_one_warning_a_service() -> None:
    """Where nothing can run, the number of replicas is not the point."""
    made = parse("services:\n  a: [run]\n  b: {command: run, replicas: 3}\n")
    assert warnings(made, cluster()) == (
        "services.yml:2: services.a: no host has the role worker, so it runs nowhere",
        "services.yml:3: services.b: no host has the role worker, so it runs nowhere",
    )


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()
KEYS = st.sampled_from(sorted(known_keys() | {"services"}))
VALUES = st.sampled_from(["run", "/x", "tcp", "all", "10s", "1G", "a.b", 8080, 1, True, ["run"], {"ttl": True}])
TREES = st.recursive(SCALARS | VALUES, lambda t: st.lists(t, max_size=3) | st.dictionaries(KEYS | SCALARS, t, max_size=5))
LINES = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "), max_size=8)
GOOD = st.fixed_dictionaries(
    {"command": st.lists(LINES | st.integers(-9, 9), max_size=3).map(lambda argv: ["/run", *argv])},
    optional={
        "check": st.sampled_from(["ttl", {"ttl": True, "interval": "3s"}]),
        "replicas": st.integers(0, 9) | st.just("all") | st.just({"min": 1, "max": 4, "cpu": 50}),
        "env": st.dictionaries(st.sampled_from("ABC"), LINES | st.integers(0, 9)),
        "user": st.sampled_from(["a", "_b"]),
        "memory": st.sampled_from([64, "64M", "1G"]),
        "cpu": st.floats(0.01, 9) | st.integers(1, 3),
        "stop_timeout": st.sampled_from([1, 10, "10s", "1m"]),
        "labels": st.dictionaries(st.sampled_from("ab"), st.just("v")),
    },
)


@given(st.text())
def test_arbitrary_text_is_an_input_error_or_services(text: str) -> None:
    """No text raises anything but InputError."""
    with contextlib.suppress(InputError):
        parse(text)


@given(TREES)
def test_arbitrary_structures_are_input_errors_or_services(tree: Any) -> None:
    """No YAML structure, near the schema or far from it, raises anything but InputError; what passes is JSON."""
    for document in (tree, {"services": tree}, {"services": {"a": tree}}, {"services": {"a": tree, "b": {"command": tree}}}):
        try:
            made = parse(yaml.safe_dump(document))
        except InputError as error:
            unprintable = [fault for fault in error.faults if not fault.isprintable()]
            if unprintable:
                raise AssertionError(unprintable) from None
        else:
            json.dumps([wanted(made), routes(made)], allow_nan=False)


@given(GOOD, GOOD)
def test_a_revision_is_equal_exactly_when_the_instances_are(a: dict[str, Any], b: dict[str, Any]) -> None:
    """Spec and route are JSON that comes back as it went; revisions follow the parts of an instance alone."""
    one, two = (parse(yaml.safe_dump({"services": {"web": own}}, allow_unicode=True)).service("web") for own in (a, b))
    assert json.loads(json.dumps(one.spec(), allow_nan=False)) == one.spec()
    parts = ("command", "image", "port", "target_port", "check", "env", "user", "memory_mb", "cpu", "stop_timeout")
    same = all(one.spec()[part] == two.spec()[part] for part in parts)
    assert (one.revision == two.revision) == same
    flow = json.dumps({"services": {"web": a}}, ensure_ascii=False)
    assert parse(flow).service("web") == one
