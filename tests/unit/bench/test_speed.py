"""The pure parts of the speed benchmarks: numbers, tables, inventories, and the checks of the tools' output."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from bench import endpoints, report, stats, targets, tools
from bench.files import source_name
from bench.stats import Sample
from fabfile.core.config import inventory
from fabfile.core.errors import InputError, Refused
from fabfile.core.model.cluster import Binary, Cluster, Host, SshDefaults


def sample(wall: float, memory: float = 50.0) -> Sample:
    return Sample(wall, wall / 2, wall / 4, memory)


FILES = targets.HostFiles((), ({"path": "/etc/consul.d/consul.hcl", "source": "etc_consul.d_consul.hcl"},))


def target(user: str = "root") -> targets.Target:
    return targets.Target("w2", "127.0.7.5", 22, user, Path("/k"), Path("/known"), Path("/files/w2"))


def cluster(ssh: str) -> Cluster:
    host = Host("h", ssh, ("manager",), user="root", key=Path("/k"))
    return Cluster("c", (host,), Path("hosts.yml"), Path("/s"), "dc1", ssh=SshDefaults(known_hosts=Path("/known")))


def test_our_inventory_is_the_same_cluster_without_what_the_peers_lack() -> None:
    """It keeps hosts, roles, keys and the Consul version, turns the firewall off, and is a valid inventory."""
    original = replace(cluster("127.0.7.1"), consul=Binary(version="1.22.7"))
    text = targets.our_inventory(original, targets.lab_targets(original, Path("/files")))
    parsed, _ = inventory.parse(text, Path("/w/hosts.yml"), state_root=Path("/s"), home=Path("/h"))
    host = parsed.hosts[0]
    assert (parsed.name, parsed.firewall, parsed.consul.version) == ("c", False, "1.22.7")
    assert (host.name, host.ssh, host.port, host.roles, host.user, host.key) == (
        "h", "127.0.7.1", 22, ("manager",), "root", Path("/k"))  # fmt: skip


def test_spread_is_median_and_ends() -> None:
    """One slow run moves the maximum, never the median."""
    assert stats.spread([1.0, 9.0, 2.0]) == stats.Spread(2.0, 1.0, 9.0)
    with pytest.raises(ValueError, match="no runs"):
        stats.spread([])


def test_ratio_is_taken_within_each_round() -> None:
    """A round that was twice as slow for both has the same ratio as the others."""
    assert stats.ratio([sample(4), sample(8)], [sample(1), sample(2)]) == stats.Spread(4, 4, 4)


def test_ratio_refuses_unequal_rounds() -> None:
    """A tool that missed a round is not compared."""
    with pytest.raises(ValueError, match="argument 2"):
        stats.ratio([sample(1)], [sample(1), sample(2)])


@pytest.mark.parametrize(("value", "text"), [(0.512, "0.51"), (12.34, "12.3"), (123.4, "123")])
def test_number_has_three_digits(value: float, text: str) -> None:
    """A number has three significant digits and at most two decimals."""
    assert report.format_number(value) == text


def test_comparison_row() -> None:
    """Each tool's row has its wall times, CPU, highest memory, and ratio; our own ratio is 1."""
    rows = report.comparison_rows("cold", {"ours": [sample(1), sample(3, 61)], "peer": [sample(4), sample(6)]}, "ours")
    assert rows[0] == ["cold", "ours", "2.00", "1.00", "3.00", "1.00 (0.50)", "61", "1"]
    assert rows[1][-1] == "3.00× (2.00–4.00)"


def test_table_is_markdown() -> None:
    """Text is aligned left, numbers right."""
    assert report.table(["a", "b", "n"], [["x", "y", "1"]]) == "| a | b | n |\n| --- | --- | --: |\n| x | y | 1 |\n"


def test_goal_says_whether_it_is_met() -> None:
    """A goal is a minimum or a maximum, and the line says whether it is met."""
    assert report.goal_line("faster", 4, 4.0) == "- met: faster: 4.00\n"
    assert report.goal_line("MB", 200, 201, more_is_better=False) == "- MISSED: MB: 201\n"


def test_sections_are_replaced_one_by_one() -> None:
    """A new run of one benchmark changes no byte of other sections or of text that people wrote."""
    both = report.replace_section("", "bench.a", report.render_section("bench.a", ["first text"]))
    both = report.replace_section(both, "bench.b", report.render_section("bench.b", ["two"])) + "by hand\n"
    again = report.replace_section(both, "bench.a", report.render_section("bench.a", ["three"]))
    assert again == both.replace("first text", "three")
    assert report.replace_section(again, "bench.a", report.render_section("bench.a", ["three"])) == again


def test_one_command_may_have_sections_for_versions() -> None:
    """A command has a section of notes and one section for each version, with markers of their own."""
    text = report.render_section("bench.a, Consul 1.2", ["x"])
    assert text == "<!-- bench.a, Consul 1.2 -->\n## `inv bench.a`, Consul 1.2\n\nx\n<!-- /bench.a, Consul 1.2 -->\n"
    notes = report.replace_section("", "bench.a", report.render_section("bench.a", ["notes"]))
    both = report.replace_section(notes, "bench.a, Consul 1.2", text)
    assert both.endswith("<!-- /bench.a -->\n\n" + text)


def test_a_section_without_an_end_is_refused() -> None:
    """A missing end marker is an error, or the write would drop the rest of the document."""
    with pytest.raises(ValueError, match="never closed"):
        report.replace_section("<!-- bench.a -->\ntext\n", "bench.a", "x")


def test_peers_get_the_same_hosts() -> None:
    """Both inventories name address, user, key and pinned host keys, and use sudo only where the user is not root."""
    module: dict[str, list[tuple[str, dict[str, object]]]] = {}
    text = targets.pyinfra_inventory([target("ops")], Path("/b"), {"w2": FILES})
    exec(text, module)  # noqa: S102  pyinfra's format is Python
    name, data = module["hosts"][0]
    assert (name, data["ssh_hostname"], data["ssh_user"], data["_sudo"]) == ("w2", "127.0.7.5", "ops", True)
    assert data["ssh_strict_host_key_checking"] == "yes"
    assert data["configs"] == [{"path": "/etc/consul.d/consul.hcl", "source": "etc_consul.d_consul.hcl"}]
    host = json.loads(targets.ansible_inventory([target()], Path("/b"), {"w2": FILES}))["all"]["hosts"]["w2"]
    assert (host["ansible_host"], host["ansible_user"], host["ansible_become"]) == ("127.0.7.5", "root", False)
    assert "UserKnownHostsFile=/known" in host["ansible_ssh_common_args"]


@pytest.mark.parametrize("address", ["10.0.0.2", "web.example.com", "localhost", "128.0.0.1"])
def test_only_loopback_is_ever_wiped(address: str) -> None:
    """A benchmark refuses an inventory with any host that is not a literal loopback address."""
    with pytest.raises(Refused, match="no lab host"):
        targets.lab_targets(cluster(address), Path("/files"))


def test_loopback_hosts_are_targets() -> None:
    """A lab host's port is 22 unless the inventory says otherwise."""
    (host,) = targets.lab_targets(cluster("127.0.7.1"), Path("/files"))
    assert (host.port, host.files, host.sudo) == (22, Path("/files/h"), False)


def test_counts() -> None:
    """Sizes are sorted and unique, and every wrong item is named."""
    assert endpoints.parse_counts("100, 1,10,1") == (1, 10, 100)
    with pytest.raises(InputError, match="'x'") as caught:
        endpoints.parse_counts("x,0,251")
    assert len(str(caught.value).splitlines()) == 3


def test_scale_inventory_is_valid(tmp_path: Path) -> None:
    """The generated fleet is a valid inventory: one manager, the rest workers, no address twice."""
    text = endpoints.inventory(100, tmp_path / "key", tmp_path / "known_hosts")
    parsed, warnings = inventory.parse(text, tmp_path / "hosts.yml", state_root=tmp_path, home=tmp_path)
    assert (len(parsed.hosts), len(parsed.having("manager")), warnings) == (100, 1, ())
    assert len({h.ssh for h in parsed.hosts}) == 100
    assert "e2" not in yaml.safe_load(endpoints.inventory(1, tmp_path, tmp_path))["hosts"]


def test_every_endpoint_has_the_nodes_key() -> None:
    """known_hosts pins one key for the node and for each of its addresses, with their port."""
    lines = endpoints.known_hosts(2, "127.0.7.7", "ssh-ed25519 AAAA root@spare").splitlines()
    assert lines == [
        "127.0.7.7 ssh-ed25519 AAAA",
        "[127.0.8.1]:2222 ssh-ed25519 AAAA",
        "[127.0.8.2]:2222 ssh-ed25519 AAAA",
    ]


PYINFRA = "Operation Hosts Success Error No Change\n  Grand total   16      {0}       {1}       2   \n"


@pytest.mark.parametrize(
    ("expected", "changing", "done", "failed", "fault"),
    [
        (16, True, "14", "-", ""),
        (16, False, "-", "-", ""),
        (16, False, "1", "-", "1 operations changed something"),
        (16, True, "-", "-", "0 operations changed something"),
        (16, True, "13", "1", "16 operations of 16, 1 failed"),
        (24, True, "14", "-", "16 operations of 24, 0 failed"),
    ],
)
def test_pyinfra_output_is_checked(expected: int, changing: bool, done: str, failed: str, fault: str) -> None:
    """A run counts only if all operations ran on all hosts, and changed something exactly in the cold scenario."""
    assert tools.pyinfra_check(expected, changing)(0, PYINFRA.format(done, failed)) == fault


def test_source_names_are_unique() -> None:
    """Two files of one name in different folders have different names in a host's folder of sources."""
    assert source_name("/etc/consul.d/a/x.pem") != source_name("/etc/consul.d/b/x.pem")


def test_pyinfra_without_a_table_failed() -> None:
    """A run without a closing table, or with an exit code, does not count."""
    assert "0 operations of 8" in tools.pyinfra_check(8, False)(0, "")
    assert tools.pyinfra_check(1, False)(1, "a\nboom\n") == "exit code 1: boom"


def test_ansible_recap() -> None:
    """A run counts only if the recap has every host, and tasks changed something exactly in the cold scenario."""
    recap = "m1 : ok=6    changed=0    unreachable=0\nw1 : ok=6    changed=2    unreachable=0\n"
    assert tools.ansible_check(2, True)(0, recap) == ""
    assert tools.ansible_check(2, False)(0, recap) == "2 tasks changed something"
    assert tools.ansible_check(3, True)(0, recap) == "2 of 3 hosts are in its recap"
    assert tools.ansible_check(2, True)(4, "") == "exit code 4: it printed nothing"


def test_our_own_output_is_checked_too() -> None:
    """Our run counts only with the expected sentence and an expected exit code."""
    check = tools.prints("nothing changed: ")
    assert check(0, "nothing changed: 6 hosts\n") == ""
    assert check(0, "deployed: 6 of 6\n") == "did not print 'nothing changed: ': deployed: 6 of 6"
    assert check(1, "error: x\n") == "exit code 1: error: x"
