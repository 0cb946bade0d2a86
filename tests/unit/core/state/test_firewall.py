"""The firewall's rules as they are placed on a host."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.core.config.inventory import parse
from fabfile.core.errors import InputError
from fabfile.core.model.cluster import Cluster
from fabfile.core.state.firewall import (
    ALLOWANCES,
    NFTABLES,
    RULES,
    SCRIPT,
    UNIT,
    cluster_addresses,
    firewall_part,
    firewall_view,
    open_service_ports,
)
from fabfile.core.state.manifest import Manifest, text_file
from tests.support.samples import ADDRESSES, CLUSTER, CONTEXT, facts_of, wanted

BALANCERS, SERVERS, WORKERS = {"lb1", "all1"}, {"m1", "mw1", "all1"}, {"w1", "mw1", "all1"}
V4, V6 = ("203.0.113.0/24", "198.51.100.7/32"), ("2001:db8::/48",)
each_host = pytest.mark.parametrize("name", [h.name for h in CLUSTER.hosts])


def part(name: str, ufw: bool = False, admin: tuple[str, ...] = (), ssh: tuple[int, ...] = (22,),
         services: tuple[int, ...] = ()) -> Manifest:  # fmt: skip
    cluster = replace(CLUSTER, admin_from=admin)
    let_in = cluster_addresses(ADDRESSES.values())
    return firewall_part(firewall_view(cluster, cluster.host(name), let_in, ssh, ufw, services))


def text(manifest: Manifest, path: str) -> str:
    (content,) = (f.content for f in manifest.files if f.path == path)
    return (content or b"").decode()


def rules(name: str, **how: object) -> str:
    """The nftables rules without their comments."""
    lines = text(part(name, **how), RULES).splitlines()  # type: ignore[arg-type]
    return "\n".join(x for x in lines if not x.strip().startswith("#"))


def allowances(name: str, **how: object) -> list[str]:
    found = text(part(name, ufw=True, **how), ALLOWANCES)  # type: ignore[arg-type]
    return [x for x in found.splitlines() if x and not x.startswith("#")]


def ssh_rules(found: str) -> list[str]:
    return [x.strip() for x in found.splitlines() if "dport { 22 }" in x]


@each_host
@pytest.mark.parametrize("ufw", [True, False])
def test_equal_intent_gives_equal_rules(name: str, ufw: bool) -> None:
    """Addresses and ports in another order, or given twice, give the same bytes and the same stamps."""
    cluster = CLUSTER
    views = [
        firewall_view(cluster, cluster.host(name), cluster_addresses(where), ssh, ufw, services)
        for where, ssh, services in (
            (list(ADDRESSES.values()), [22, 2222], [8080, 9090]),
            ([*reversed(ADDRESSES.values()), ADDRESSES["m1"]], [2222, 22, 22], [9090, 8080, 8080]),
        )
    ]
    assert firewall_part(views[0]) == firewall_part(views[1])


def test_addresses_are_sorted_as_numbers() -> None:
    """Every host's own address and the one that others dial are let in, each once, in the order of numbers."""
    (found,) = re.findall(r"set cluster \{[^}]*elements = \{ ([^}]*) \}", rules("w1"))
    assert found == "10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4, 10.0.0.5, 203.0.113.1, 203.0.113.5"


def test_the_rules_replace_our_own_table_only() -> None:
    """Only our own table is dropped and made again, no ruleset is flushed, and what no rule accepts is dropped."""
    found = rules("all1", admin=V4 + V6)
    assert set(re.findall(r"table (\w+ \w+)", found)) == {"inet nexus"}
    assert found.index("delete table inet nexus") < found.index("table inet nexus {")
    assert "flush" not in found
    assert "hook input priority filter; policy drop;" in found


def test_without_admin_ssh_is_open() -> None:
    """Where hosts.yml names no admin networks, SSH is let in from anywhere."""
    assert ssh_rules(rules("w1")) == ["tcp dport { 22 } accept"]
    assert "admin" not in rules("w1")


@pytest.mark.parametrize(
    ("admin", "due"),
    [(V4, ["ip saddr @admin4"]), (V6, ["ip6 saddr @admin6"]), (V4 + V6, ["ip saddr @admin4", "ip6 saddr @admin6"])],
)
def test_admin_networks_narrow_ssh(admin: tuple[str, ...], due: list[str]) -> None:
    """With admin_from, SSH is let in from those networks and the cluster's own hosts, and from nowhere else."""
    found = rules("w1", admin=admin)
    assert ssh_rules(found) == [f"{source} tcp dport {{ 22 }} accept" for source in ["ip saddr @cluster", *due]]
    for network in admin:
        (sets,) = re.findall(rf"set admin{6 if ':' in network else 4} \{{[^}}]*elements = \{{ ([^}}]*) \}}", found)
        assert network in sets.split(", ")
    assert ("set admin4" in found, "set admin6" in found) == (V4[0] in admin, V6[0] in admin)


def test_sshd_is_let_in_where_it_listens() -> None:
    """The ports that sshd was seen on are open, and 22 is not unless it is one of them."""
    assert "tcp dport { 2200, 2222 } accept" in rules("w1", ssh=(2222, 2200))
    assert " 22 " not in rules("w1", ssh=(2222, 2200))


@each_host
def test_web_ports_are_open_on_balancers_only(name: str) -> None:
    """80 and 443 are open on hosts with the loadbalancer role, and on no others."""
    assert ("80, 443" in rules(name)) == (name in BALANCERS)
    assert "udp dport 443" not in rules(name)  # HTTP/3 is off
    assert ("proto tcp from any to any port 443" in allowances(name)) == (name in BALANCERS)
    assert ("proto tcp from any to any port 80" in allowances(name)) == (name in BALANCERS)


@each_host
def test_the_servers_port_is_open_on_servers_only(name: str) -> None:
    """8300 is open on managers only, and to the cluster only; 8301 everywhere, to the cluster only."""
    assert ("8300" in rules(name)) == ("8300" in "".join(allowances(name))) == (name in SERVERS)
    lines = [x.strip() for x in rules(name).splitlines() if "830" in x]
    assert len(lines) == 2
    assert all(x.startswith("ip saddr @cluster ") and "8301" in x for x in lines)
    assert all(" from any " not in x for x in allowances(name) if "830" in x)


@each_host
@pytest.mark.parametrize("port", ["8500", "8600", "8302", "8502", "8503", "2019"])
def test_loopback_services_are_never_open(name: str, port: str) -> None:
    """Consul's API and DNS, the WAN port and Caddy's own interface are open to nobody."""
    assert port not in rules(name) + "".join(allowances(name))


@each_host
def test_forwarded_ports_are_guarded_on_workers_only(name: str) -> None:
    """Workers, which run containers, guard what engines publish; others do not touch forwarding."""
    assert ("hook forward" in rules(name)) == (name in WORKERS)


@each_host
def test_services_are_open_to_the_cluster_only(name: str) -> None:
    """Ports of services are let in from the cluster's addresses and this host's containers; without services no rule is."""
    lines = [x.strip() for x in rules(name, services=(9090, 8080)).splitlines() if "8080" in x]
    sources = ("ip saddr @cluster", 'iifname "docker0"', 'iifname "br-*"')
    assert lines == [f"{source} tcp dport {{ 8080, 9090 }} accept" for source in sources]
    mine = [x for x in allowances(name, services=(9090, 8080)) if "8080" in x]
    cluster_addresses = {a for address in ADDRESSES.values() for a in (address.bind, address.advertise)}
    bridges = [f"in on {device} proto tcp from any to any port 8080,9090" for device in ("docker0", "br-+")]
    assert sorted(mine) == sorted([*(f"proto tcp from {a} to any port 8080,9090" for a in cluster_addresses), *bridges])
    assert "docker0" not in "".join(allowances(name))
    assert 'iifname "docker0" tcp' not in rules(name)


@pytest.mark.parametrize("ufw", [True, False])
@pytest.mark.parametrize("services", [(), (8080,), (80, 443, 8299, 8302, 8080, 9090)])
def test_the_services_ports_are_read_back_from_the_rules(ufw: bool, services: tuple[int, ...]) -> None:
    """What a rules file of ours opens for services is found in it, of every role, and no other port is."""
    for host in CLUSTER.hosts:
        files = facts_of(part(host.name, ufw, V4, (22, 2222), services)).files
        assert open_service_ports(files) == tuple(sorted(services))


def test_without_rules_no_service_has_a_port() -> None:
    """A host that is new, and rules that are not ours, keep nothing open."""
    assert open_service_ports({}) == ()
    strange = Manifest(files=(text_file(RULES, "table inet nexus { chain input { tcp dport { 4711 } accept } }"),))
    assert open_service_ports(facts_of(strange).files) == ()


@pytest.mark.parametrize("ufw", [frozenset(), frozenset({"w1"})])
def test_where_nobody_knows_the_services_their_ports_stay(ufw: frozenset[str]) -> None:
    """Without services.yml and without a cluster that answers, a worker's rules open what they opened before."""
    before = wanted("w1", context=replace(CONTEXT, service_ports=(8080, 9090), ufw=ufw))
    kept = {"w1": open_service_ports(facts_of(before).files)}
    after = wanted("w1", context=replace(CONTEXT, service_ports=None, kept_ports=kept, ufw=ufw))
    assert after == before
    assert wanted("lb1", context=replace(CONTEXT, service_ports=None, kept_ports={"lb1": (8080,)})) == wanted("lb1")


def test_ufw_has_allowances_and_no_table() -> None:
    """A host with ufw gets allowances and no rules for nft; other hosts get only the rules. Both get what loads them."""
    both = {SCRIPT: "0755", UNIT: "0644", NFTABLES: "0644"}
    assert {f.path: f.mode for f in part("all1", ufw=True).files} == {ALLOWANCES: "0644", **both}
    assert {f.path: f.mode for f in part("all1").files} == {RULES: "0644", **both}


def test_whoever_flushes_all_tables_loads_ours_again() -> None:
    """Start, reload and stop of nftables.service end with our rules; the unit itself is never ordered after it."""
    drop_in = text(part("w1"), NFTABLES).splitlines()
    again = "-+/bin/sh /usr/local/lib/nexus/firewall.sh again"
    assert drop_in[-3:] == [f"ExecStartPost={again}", f"ExecReload={again}", f"ExecStopPost={again}"]
    assert "nftables" not in text(part("w1"), UNIT)


@each_host
def test_ufw_keeps_the_operators_ssh_rules(name: str) -> None:
    """With ufw no SSH rule is ours, whatever admin_from says, and each line is one argument list of plain words."""
    assert allowances(name, admin=V4) == allowances(name)
    assert all(re.fullmatch(r"proto (tcp|udp) from [\w.]+ to any port [\d,]+", x) for x in allowances(name))
    assert not [x for x in allowances(name) if re.search(r"\b22\b", x)]


def test_new_rules_reload_and_never_restart() -> None:
    """Other rules change only the reload stamp, so that they replace the old ones without a gap."""
    (one,), (two,) = part("w1").units, part("w1", admin=V4).units
    assert one.restart_stamp == two.restart_stamp
    assert one.reload_stamp != two.reload_stamp


def test_admin_networks_are_sorted() -> None:
    """Admin networks in another order are the same intent, and give the same bytes."""
    assert rules("w1", admin=V4) == rules("w1", admin=V4[::-1])


@cache
def nft() -> str | None:
    """Path of the program; None where it is not installed or may not be run."""
    found = shutil.which("nft") or next((p for p in ("/usr/sbin/nft", "/sbin/nft") if Path(p).exists()), None)
    if found is None:
        return None
    table = "table inet nexus_probe { }\n"
    tried = subprocess.run([found, "-c", "-f", "-"], input=table, text=True, capture_output=True)
    return None if tried.returncode else found


def nft_errors(rule_set: str) -> str:
    """nft's errors for the rules; empty when it accepts them. Nothing is loaded."""
    program = nft()
    if program is None:
        pytest.skip("nft is not installed, or may not be run here")
    done = subprocess.run([program, "-c", "-f", "-"], input=rule_set, text=True, capture_output=True)
    return done.stderr if done.returncode else ""


@each_host
@pytest.mark.parametrize("admin", [(), V4, V6, V4 + V6, ("0.0.0.0/0", "::/0")])
def test_nft_accepts_the_rules(name: str, admin: tuple[str, ...]) -> None:
    """The rendered rules, of every role and with every kind of admin network, are valid for nft itself."""
    assert nft_errors(text(part(name, admin=admin, ssh=(22, 2222), services=(8080,)), RULES)) == ""


@pytest.mark.parametrize("admin", [("10.0.0.0/8", "10.1.2.3/32"), ("2001:db8::/32", "2001:db8:1::/48")])
def test_nft_accepts_admin_networks_within_each_other(admin: tuple[str, ...]) -> None:
    """A network and a part of it, both in admin_from, are valid for nft."""
    assert nft_errors(text(part("w1", admin=admin), RULES)) == ""


def inventory(admin: object) -> Cluster:
    given = {"cluster": "prod", "admin_from": admin,
             "hosts": {"m1": {"ssh": "192.0.2.1", "roles": ["manager"], "primary": True}}}  # fmt: skip
    return parse(json.dumps(given), Path("/ops/hosts.yml"), state_root=Path("/ops/.nexus"), home=Path("/root"))[0]


@pytest.mark.parametrize(
    ("given_", "normal"),
    [("203.0.113.7", "203.0.113.7/32"), ("2001:DB8:0:0::/48", "2001:db8::/48"), ("2001:db8::0001", "2001:db8::1/128"),
     ("203.0.113.0/255.255.255.0", "203.0.113.0/24")],
)  # fmt: skip
def test_admin_networks_are_in_their_normal_form(given_: str, normal: str) -> None:
    """However a network is written in hosts.yml, the rules get its one normal form."""
    assert inventory([given_]).admin_from == (normal,)


@pytest.mark.parametrize(
    "hostile",
    ["0.0.0.0/0 } ; flush ruleset ; {", "203.0.113.7\n", "203.0.113.7, 0.0.0.0/0", "$(id)", "`id`", "", "any",
     "203.0.113.7/24", "fe80::1%eth0/64%", "203.0.113.7 # x", "٣.0.0.1", 0, 3405803783, None, True],
)  # fmt: skip
def test_nothing_but_a_network_gets_into_the_rules(hostile: object) -> None:
    """What is no network, such as nft's own syntax, is refused in hosts.yml with the name of the key."""
    with pytest.raises(InputError, match="admin_from"):
        inventory([hostile])


@pytest.mark.parametrize("zoned", ["fe80::1%eth0", "fe80::%eth0/64", "fe80::1%x } accept", "::%\n}\nflush ruleset #"])
def test_a_zone_does_not_get_into_the_rules(zoned: str) -> None:
    """An IPv6 zone, which may be any text, is refused in hosts.yml too."""
    with pytest.raises(InputError, match="admin_from"):
        inventory([zoned])


@given(st.text(alphabet="0123456789abcdef:./{};\n $x", max_size=30))
def test_no_text_leaves_the_networks_alphabet(hostile: str) -> None:
    """Whatever text is in hosts.yml, only digits, hex letters, dots, colons and a slash can reach the rules."""
    try:
        admitted = inventory([hostile]).admin_from
    except InputError:
        return
    let_in = cluster_addresses(ADDRESSES.values())
    view = firewall_view(replace(CLUSTER, admin_from=admitted), CLUSTER.host("w1"), let_in, (22,), False)
    assert all(re.fullmatch(r"[0-9a-f.:]+/[0-9]+", n) for n in view.admin4 + view.admin6)
