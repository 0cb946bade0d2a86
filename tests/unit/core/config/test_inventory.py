"""hosts.yml at the door: what is let in, and in which words the rest is refused."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fabfile.core.config import inventory
from fabfile.core.config.inventory_keys import DEFAULT_KEYS, HOST_KEYS, INVENTORY_KEYS
from fabfile.core.config.key_docs import hosts_schema
from fabfile.core.config.keys import ANY_NAME, Key
from fabfile.core.errors import InputError
from fabfile.core.model.cluster import ROLES, Binary, Cluster, SshDefaults
from fabfile.core.resources import ROOT
from fabfile.edge.disk.inventory import load

EXAMPLES = sorted(p for p in (ROOT / "docs/examples").glob("*.yml") if p.name != "services.yml")
SOURCE = Path("/ops/hosts.yml")
HOME = Path("/home/op")
M1 = {"ssh": "192.0.2.1", "roles": ["manager"]}


def parse(text: str) -> tuple[Cluster, tuple[str, ...]]:
    return inventory.parse(text, SOURCE, state_root=Path("/state"), home=HOME)


def cluster(**top: Any) -> Cluster:
    return parse(json.dumps({"cluster": "c", "hosts": {"m1": M1}} | top))[0]


def faults(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        parse(text)
    return list(caught.value.faults)


def host_faults(**fields: Any) -> list[str]:
    """The faults of a cluster whose second host, w1, has these fields too."""
    w1 = {"ssh": "192.0.2.2", "roles": ["worker"]} | fields
    found = faults(json.dumps({"cluster": "c", "hosts": {"m1": M1, "w1": w1}}))
    return [fault.removeprefix("hosts.yml:1: hosts.w1.") for fault in found]


def test_the_shipped_inventory_is_the_lab() -> None:
    """hosts.yml as shipped has no fault and no warning, and every host of it is a loopback address."""
    lab, warnings = load(str(ROOT / "hosts.yml"), {}, ROOT)
    assert warnings == ()
    assert [host.name for host in lab.hosts] == ["m1", "m2", "m3", "w1", "w2", "lb1"]
    assert all(host.ssh.startswith("127.0.7.") for host in lab.hosts)
    assert lab.host("w2").user == "ops"
    assert lab.ssh == SshDefaults(ROOT / ".nexus/lab-nodes/known_hosts", None, use_config=False)
    assert lab.state == ROOT / ".nexus/lab"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_passes_the_door(path: Path) -> None:
    """Every file of docs/examples is a valid inventory without warnings."""
    assert load(str(path), {"HOME": "/home/op"}, ROOT)[1] == ()


def known_keys(keys: Iterable[Key]) -> set[str]:
    return {k.name for k in keys if k.name != ANY_NAME}.union(*(known_keys(k.keys) for k in keys))


def test_the_reference_names_every_key() -> None:
    """docs/examples/reference.yml uses each key that the schema knows."""
    text = (ROOT / "docs/examples/reference.yml").read_text()
    assert len(known_keys(INVENTORY_KEYS)) == 27
    assert [key for key in known_keys(INVENTORY_KEYS) if f"{key}:" not in text] == []
    reference = yaml.safe_load(text)
    assert set(reference["defaults"]) == known_keys(DEFAULT_KEYS)
    assert set(reference["hosts"]["m1"]) == known_keys(HOST_KEYS)


def test_the_least_inventory_gets_the_documented_defaults() -> None:
    """A cluster name and one manager are enough; what is left out is None or follows the name."""
    least = cluster()
    assert (least.datacenter, least.state, least.consul) == ("c", Path("/state/c"), Binary())
    (host,) = least.hosts
    assert (host.port, host.user, host.key, host.gateway, host.address) == (None,) * 5
    assert least.ssh == SshDefaults()


def test_defaults_fill_what_a_host_leaves_out() -> None:
    """A host's own keys win over defaults; `gateway: none` on a host takes the default one away."""
    m2 = M1 | {"ssh": "192.0.2.2", "port": 23, "gateway": "none", "key": "/k"}
    made = cluster(
        defaults={"user": "op", "port": 22, "key": "~/k", "gateway": "j@h:1", "ssh_config": "../cfg"},
        hosts={"m1": M1, "m2": m2},
    )
    m1, m2_made = made.hosts
    assert (m1.user, m1.port, m1.key, m1.gateway) == ("op", 22, Path("/home/op/k"), "j@h:1")
    assert (m2_made.user, m2_made.port, m2_made.key, m2_made.gateway) == ("op", 23, Path("/k"), None)
    assert made.ssh == SshDefaults(None, Path("/ops/../cfg"))


def test_values_take_one_normal_form() -> None:
    """Addresses, domains and role lists have one spelling past the door."""
    host = M1 | {"ssh": "2001:DB8::0:1", "roles": ["worker", "manager"]}
    made = cluster(domain="App.Example.ORG", hosts={"m1": host})
    assert (made.domain, made.hosts[0].ssh) == ("app.example.org", "2001:db8::1")
    assert made.hosts[0].roles == ("manager", "worker")
    assert cluster(hosts={"m1": host | {"ssh": "[2001:DB8::0:1]"}}).hosts[0].ssh == "2001:db8::1"


def test_all_faults_are_told_at_once_in_the_order_of_the_file() -> None:
    """Syntax-free faults of every kind come together, each with line, path, value and what was due."""
    text = """\
cluster: c
consul: {version: 1.20}
defaults: {prot: 1, user: no}
hosts:
  m1: {ssh: 192.0.2.1, roles: [worker, wroker], port: 70000}
  m1: {ssh: 192.0.2.9, roles: [worker]}
  w1: {roles: [worker], port: 022}
"""
    assert faults(text) == [
        'hosts.yml:2: consul.version: YAML reads 1.20 as the number 1.2; write it in quotes: "1.20"',
        "hosts.yml:3: defaults.prot: unknown key; did you mean port?",
        'hosts.yml:3: defaults.user: YAML reads no as false; write it in quotes: "no"',
        "hosts.yml:4: hosts: no host has the role manager; one is needed, three survive the loss of one",
        "hosts.yml:5: hosts.m1.roles[1]: wroker is not a role (manager, worker, loadbalancer);"
        " did you mean worker?",
        "hosts.yml:5: hosts.m1.port: 70000 is not a port (1-65535)",
        "hosts.yml:6: hosts.m1: given twice, in lines 5 and 6; a name may stand only once",
        "hosts.yml:7: hosts.w1.port: YAML reads 022 as the number 18; write it in plain digits",
        "hosts.yml:7: hosts.w1.ssh: is missing: the address, DNS name or ssh_config alias that ssh goes to",
    ]


def test_the_hint_is_what_the_fault_wants() -> None:
    """Where nothing is there, the least that must be; else where the keys are explained."""
    for text, hint in (("", inventory.LEAST), ("- m1", inventory.LEAST), ("{}", inventory.HINT), ("a: [", inventory.HINT)):
        with pytest.raises(InputError) as refused:
            inventory.parse(text, SOURCE, state_root=SOURCE, home=SOURCE)
        assert refused.value.hint == hint


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "hosts.yml: is empty"),
        ("# nothing\n", "hosts.yml: is empty"),
        ("- m1\n", "hosts.yml:1: a list where a mapping (cluster: …, hosts: …) is due"),
        ("m1", "hosts.yml:1: text where a mapping (cluster: …, hosts: …) is due"),
        ("a:\n\tb: 1", "hosts.yml:2: a tab indents this line; YAML wants spaces there"),
        ("a: [", "hosts.yml:1: is not YAML: "),
        ("{}", "hosts.yml:1: cluster: is missing: the cluster's name, such as prod"),
        ("cluster: c\nhosts: []", "hosts.yml:2: hosts: a list where a mapping is due"),
        ("cluster: c\nhosts:", "hosts.yml:2: hosts: is empty; a mapping is due"),
        ("cluster: c\nhosts: null", "hosts.yml:2: hosts: is empty; a mapping is due"),
        ("cluster: c\nhosts: {}", "hosts.yml:2: hosts: no host has the role manager; "),
    ],
)
def test_each_broken_shape_has_its_message(text: str, fault: str) -> None:
    """Empty, wrong at the top, tabs, no YAML, nothing required: each is told in its own words."""
    assert faults(text)[0].startswith(fault)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"port": "22"}, 'port: "22" is not a port (1-65535); leave out the quotes'),
        ({"port": True}, "port: true is not a port (1-65535)"),
        ({"port": [22]}, "port: a list where a number is due"),
        ({"roles": "worker"}, "roles: worker is text where a list is due; write [worker]"),
        ({"roles": []}, "roles: is empty; a host has one or more roles (manager, worker, loadbalancer)"),
        ({"roles": ["worker", "worker"]}, "roles[1]: worker is given twice"),
        ({"roles": [["worker"]]}, "roles[0]: a list is not a role (manager, worker, loadbalancer)"),
        ({"ssh": "10.0.0.300"}, "ssh: 10.0.0.300 is not an IP address"),
        (
            {"ssh": "-oProxyCommand=x"},
            'ssh: "-oProxyCommand=x" is not an address, DNS name or ssh_config alias',
        ),
        ({"ssh": "root@host:22"}, 'ssh: root@host:22 is not an address, DNS name or ssh_config alias alone: write'
                                  ' `user: root` and `port: 22` as keys of their own'),
        ({"ssh": "root@host"}, "ssh: root@host is not an address, DNS name or ssh_config alias alone: write `user: root` "),
        ({"ssh": "10.0.0.2:2222"}, "ssh: 10.0.0.2:2222 is not an address, DNS name or ssh_config alias alone: write `port"),
        ({"ssh": "[fd00::1]:22"}, 'ssh: "[fd00::1]:22" is not an address, DNS name or ssh_config alias alone: write `port:'),
        ({"ssh": " host"}, 'ssh: " host" is not an address, DNS name or ssh_config alias alone: take away the space'),
        ({"ssh": "ssh://host"}, "ssh: ssh://host is not an address, DNS name or ssh_config alias alone: write the host"),
        ({"ssh": "[host]"}, 'ssh: "[host]" is not an IPv6 address, which alone stands in brackets'),
        ({"ssh": None}, 'ssh: is empty; text is due, in quotes where the word itself is meant: "null"'),
        ({"roles": None}, "roles: is empty; a list of one or more roles (manager, worker, loadbalancer) is due"),
        ({"labels": None}, "labels: is empty; a mapping is due"),
        ({"port": None}, "port: is empty; a port (1-65535) is due"),
        (
            {"address": "127.0.0.1"},
            "address: 127.0.0.1 is of the loopback kind; give the address that the other",
        ),
        ({"advertise": "0.0.0.0"}, "advertise: 0.0.0.0 is of the unspecified kind"),
        ({"address": "ff02::1"}, "address: ff02::1 is an IPv6 address"),
        ({"address": "::ffff:127.0.0.1"}, "address: ::ffff:127.0.0.1 is an IPv6 address"),
        ({"address": "fe80::1%eth0"}, 'address: "fe80::1%eth0" is not an IPv4 address'),
        ({"address": "w1.example.org"}, "address: w1.example.org is not an IPv4 address"),
        ({"user": "9a"}, "user: 9a is not a user name"),
        ({"user": 7}, 'user: YAML reads 7 as the number 7; write it in quotes: "7"'),
        ({"gateway": "a,b"}, 'gateway: "a,b" names several jump hosts; one is supported'),
        ({"gateway": "u@fd00::1"}, "gateway: u@fd00::1 is not [user@]host[:port]: an IPv6 address stands in brackets"),
        ({"gateway": "[fd00::1"}, 'gateway: "[fd00::1" is not [user@]host[:port]'),
        ({"address": "[fd00::1]"}, 'address: "[fd00::1]" is an IPv6 address; the cluster'),
        ({"gateway": "u@h:99999"}, "gateway: u@h:99999 is not [user@]host[:port]: a part is not a port"),
        ({"key": "~bob/k"}, "key: ~bob/k is not a path: only ~/… is expanded"),
        ({"labels": {"a": 1.5}}, 'labels.a: YAML reads 1.5 as the number 1.5; write it in quotes: "1.5"'),
        ({"labels": {"a b": "x"}}, 'labels."a b": the name is not a label'),
        ({"primary": "yes"}, 'primary: "yes" is not true or false (without quotes)'),
        ({"user": "1.5"}, 'user: "1.5" is not a user name'),
        ({"ssh": "@h"}, 'ssh: "@h" is not an address'),
        ({"user": "A"}, "user: A is not a user name"),
        ({"primary": True}, "primary: true, but w1 does not have the role manager"),
        ({"ssh": "192.0.2.1"}, "ssh: 192.0.2.1 port 22 is also where m1 is reached"),
        ({"adress": "10.0.0.1"}, "adress: unknown key; did you mean address?"),
        ({"zzz": 1}, "zzz: unknown key; known are ssh, "),
    ],
)
def test_each_wrong_host_value_has_its_message(fields: dict[str, Any], fault: str) -> None:
    """A wrong value is one fault that names the path, the value and what was expected."""
    (found,) = host_faults(**fields)
    assert found.startswith(fault)


@pytest.mark.parametrize(
    ("top", "fault"),
    [
        ({"cluster": "Prod"}, "cluster: Prod is not a name of lower-case letters"),
        ({"cluster": "../../etc"}, "cluster: ../../etc is not a name"),
        ({"domain": "localhost"}, "domain: localhost is not a DNS name"),
        ({"domain": "192.0.2.1"}, "domain: 192.0.2.1 is not a DNS name"),
        ({"domain": "example.org }"}, 'domain: "example.org }" is not a DNS name'),
        ({"consul": {"version": "1.20"}}, 'consul.version: "1.20" is not a version of the form X.Y.Z'),
        (
            {"consul": {"version": "1.8.6"}},
            "consul.version: 1.8.6 is too old: 1.8.7 is the oldest Consul supported",
        ),
        (
            {"caddy": {"version": "1.0.5"}},
            "caddy.version: 1.0.5 is too old: 2.6.2 is the oldest Caddy supported",
        ),
        ({"caddy": {}}, "caddy: is empty; give version, binary"),
    ],
)
def test_each_wrong_value_above_the_hosts_has_its_message(top: dict[str, Any], fault: str) -> None:
    """The cluster's own keys are checked as strictly as the hosts'."""
    (found,) = faults(json.dumps({"cluster": "c", "hosts": {"m1": M1}} | top))
    assert found.removeprefix("hosts.yml:1: ").startswith(fault)


@pytest.mark.parametrize("version", ["1.8.7", "1.17.0", "1.22.7", "2.0.0"])
def test_supported_consul_versions_pass(version: str) -> None:
    """The oldest, the seed's, the default and any newer version are accepted."""
    assert cluster(consul={"version": version}).consul == Binary(version)


@pytest.mark.parametrize("name", ["all", "manager", "workers", "loadbalancers"])
def test_words_of_hosts_expressions_are_no_host_names(name: str) -> None:
    """A host may not bear a name that `--hosts` reads as something else."""
    (fault,) = faults(json.dumps({"cluster": "c", "hosts": {name: M1}}))
    assert f"hosts.{name}: {name} is a word of --hosts" in fault


def two(first: dict[str, Any], second: dict[str, Any]) -> str:
    roles = {"roles": ["manager", "worker"]}
    m1, m2 = ({"ssh": ssh} | roles | own for ssh, own in (("a", first), ("b", second)))
    return json.dumps({"cluster": "c", "hosts": {"m1": m1, "m2": m2}})


def test_one_primary_and_one_address_each() -> None:
    """Two primaries, two hosts of one cluster address, and two of one SSH endpoint are refused."""
    (fault,) = faults(two({"primary": True}, {"primary": True}))
    assert fault.endswith("m2.primary: true, but m1 is marked primary already; one manager may be")
    (fault,) = faults(two({"address": "10.0.0.1"}, {"address": "10.0.0.1"}))
    assert fault.endswith("m2.address: 10.0.0.1 is also the cluster address of m1")
    (fault,) = faults(two({"address": "192.0.2.9"}, {"advertise": "192.0.2.9"}))
    assert fault.endswith("m2.advertise: 192.0.2.9 is also the cluster address of m1")
    (fault,) = faults(two({"port": 22}, {"ssh": "A"}))
    assert fault.endswith("m2.ssh: a port 22 is also where m1 is reached")


def test_one_private_address_in_two_networks_is_fine() -> None:
    """Hosts behind other gateways, advertised otherwise, or on another port may share an address."""
    inner = {"ssh": "10.0.0.1", "address": "10.0.0.1"}
    parse(
        two(
            inner | {"gateway": "g1", "advertise": "192.0.2.1"},
            inner | {"gateway": "g2", "advertise": "192.0.2.2"},
        )
    )
    parse(two({"ssh": "h", "port": 2201}, {"ssh": "h", "port": 2202}))


def test_an_even_number_of_managers_is_a_warning_that_says_why() -> None:
    """Two managers are allowed, with the arithmetic told."""
    (warning,) = parse(two({}, {}))[1]
    assert warning == (
        "hosts.yml:1: hosts: 2 managers (m1, m2) survive the loss of 0, as 1 would: "
        "a majority of 2 is 2; make it 1 or 3"
    )


HOSTILE = [
    "; touch x", "a; touch x", "$(id)", "`id`", "a\nb", "a\r", "%n", "a%h", "-oProxyCommand=x", "-x", "}",
    "{{ x }}", "${x}", "a'b", 'a"b', "a|b", "a&b", "<x", "a\x00b", "\x1b[31m", "\u202ex", "x" * 1100,
]  # fmt: skip
NOT_IN_PATHS = ["", "../../etc", "Jörg", "a b", "a/b", "a#b"]  # a path may hold these; nothing else may
TEXTS = ["ssh", "address", "advertise", "user", "gateway"]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("key", [*TEXTS, "key"])
def test_hostile_host_values_are_refused(key: str, value: str) -> None:
    """Nothing that shell, ssh, systemd, Caddy or HCL could act on gets into a host."""
    assert [fault.split(":")[0] for fault in host_faults(**{key: value})] == [key]


@pytest.mark.parametrize("value", NOT_IN_PATHS)
@pytest.mark.parametrize("key", TEXTS)
def test_what_only_paths_may_hold_is_refused_elsewhere(key: str, value: str) -> None:
    """Spaces, slashes, umlauts and emptiness are refused in all that is no path on the operator's machine."""
    assert [fault.split(":")[0] for fault in host_faults(**{key: value})] == [key]


@pytest.mark.parametrize("value", [*HOSTILE, *NOT_IN_PATHS])
def test_hostile_values_are_refused_everywhere_else(value: str) -> None:
    """Host names, labels on both sides, roles, and all keys above the hosts refuse the same corpus."""
    paths = {} if value in NOT_IN_PATHS else {"known_hosts": value, "ssh_config": value, "key": value}
    document = {
        "cluster": value,
        "datacenter": value,
        "domain": value,
        "consul": {"version": value},
        "caddy": {"binary": value or "-"} if paths else {"version": value},
        "defaults": {"user": value, "gateway": value} | paths,
        "hosts": {
            "m1": M1,
            "w1": {"ssh": "b", "roles": ["worker", value], "labels": {"k": value}},
            "w2": {"ssh": "c", "roles": ["worker"], "labels": {value[:900]: "v"}},
            value[:900]: {"ssh": "d", "roles": ["worker"]},
        },
    }
    found = faults(json.dumps(document))
    assert len(found) == 11 + len(paths)
    assert all(fault.isprintable() for fault in found)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()
WORDS = st.sampled_from(
    [*ROLES, "cluster", "hosts", "ssh", "roles", "port", "labels", "primary", "m1", "defaults"]
)
TREES = st.recursive(
    SCALARS | WORDS, lambda t: st.lists(t, max_size=3) | st.dictionaries(WORDS | SCALARS, t, max_size=4)
)
FITS_SCHEMA = fastjsonschema.compile(hosts_schema())
GOOD_HOSTS = st.dictionaries(
    st.from_regex(r"[a-z]([a-z0-9-]{0,9}[a-z0-9])?", fullmatch=True).filter(
        lambda n: n not in inventory.RESERVED
    ),
    st.fixed_dictionaries(
        {"roles": st.lists(st.sampled_from(ROLES), min_size=1, unique=True)},
        optional={
            "port": st.integers(1, 65535),
            "user": st.from_regex(r"[a-z_][a-z0-9_-]{0,8}", fullmatch=True),
            "labels": st.dictionaries(
                st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,9}", fullmatch=True), st.just("v")
            ),
        },
    ),
    max_size=8,
)


@given(st.text())
def test_arbitrary_text_is_an_input_error_or_a_cluster(text: str) -> None:
    """No text raises anything but InputError."""
    with contextlib.suppress(InputError):
        parse(text)


@given(TREES)
def test_arbitrary_structures_are_input_errors_or_clusters(tree: Any) -> None:
    """No YAML structure, near the schema or far from it, raises anything but InputError."""
    for document in (tree, {"cluster": "c", "hosts": tree}, {"cluster": "c", "hosts": {"m1": tree}}):
        try:
            parse(yaml.safe_dump(document))
        except InputError as error:
            unprintable = [fault for fault in error.faults if not fault.isprintable()]
            if unprintable:
                raise AssertionError(unprintable) from None


@given(GOOD_HOSTS)
def test_a_good_inventory_comes_back_as_it_was_written(hosts: dict[str, dict[str, Any]]) -> None:
    """Each host keeps its place, name and values, in block and flow style, quoted or not, and fits the schema."""
    hosts = {name: {"ssh": f"h{n}", **host} for n, (name, host) in enumerate(hosts.items())}
    document = {"cluster": "c", "hosts": {"zz--m": {"ssh": "zz", "roles": ["manager"]}, **hosts}}
    made = parse(yaml.safe_dump(document, sort_keys=False))[0]
    FITS_SCHEMA(document)
    assert made == parse(json.dumps(document))[0]
    back = [
        {"ssh": h.ssh, "roles": set(h.roles), "port": h.port, "user": h.user, "labels": h.labels}
        for h in made.hosts[1:]
    ]
    assert [h.name for h in made.hosts[1:]] == list(hosts)
    assert back == [
        {"port": None, "user": None, "labels": {}} | host | {"roles": set(host["roles"])}
        for host in hosts.values()
    ]
