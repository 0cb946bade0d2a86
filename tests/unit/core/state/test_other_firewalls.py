"""Whose rules besides ours refuse packets: recorded listings of nft and iptables, and texts that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.core.state.facts import OtherFirewall
from fabfile.core.state.other_firewalls import other_firewalls, warnings
from tests.support.samples import bare_facts

ORACLE = """\
table ip filter {
	chain INPUT {
		type filter hook input priority filter; policy accept;
		tcp dport 22 counter accept
		\x20counter reject with icmp type host-prohibited
"""
FIREWALLD = """\
table inet firewalld { # progname firewalld
	chain filter_INPUT {
		type filter hook input priority filter + 10; policy accept;
		ct state invalid drop
		jump filter_INPUT_ZONES
		reject with icmpx admin-prohibited
	chain filter_INPUT_ZONES {
		goto filter_IN_public
"""
FAIL2BAN = """\
table inet f2b-table {
	chain f2b-chain {
		type filter hook input priority filter - 1; policy accept;
		tcp dport 22 ip saddr @addr-set-sshd reject with icmp port-unreachable
"""


def judged(text: str, *known: str, ufw: bool = False, firewalld: bool = False) -> tuple[tuple[str, bool], ...] | None:
    lines = [f"nft {line}" if line.startswith(("table", "\t")) else line for line in text.splitlines()]
    found = other_firewalls([*lines, *(known or ("firewalls known",))], ufw, firewalld)
    return None if found is None else tuple((f.name, f.closed) for f in found)


def chain(*rules: str, policy: str = "accept", more: str = "") -> str:
    hook = f"\t\ttype filter hook input priority filter; policy {policy};\n"
    return "table inet mine {\n\tchain in {\n" + hook + "".join(f"\t\t{rule}\n" for rule in rules) + more


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ORACLE, (("iptables", True),)),
        (FIREWALLD, (("firewalld", True),)),
        (FAIL2BAN, (("nftables table inet f2b-table", False),)),
        (FAIL2BAN + ORACLE, (("iptables", True), ("nftables table inet f2b-table", False))),
        (ORACLE + "\tchain ufw-before-input {\n", (("ufw", True),)),
        ("table ip filter {\n\tchain INPUT {\n\t\ttype filter hook input priority filter; policy accept;\n", ()),
        ("legacy -P INPUT DROP\n", (("iptables-legacy", True),)),
        ("legacy -P INPUT ACCEPT\nlegacy -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n"
         "legacy -A INPUT -m comment --comment \"the rest\" -j REJECT --reject-with icmp-host-prohibited\n",
         (("iptables-legacy", True),)),
        ("legacy -P INPUT ACCEPT\nlegacy -A INPUT -j RH\nlegacy -A RH -i lo -j ACCEPT\nlegacy -A RH -j DROP\n",
         (("iptables-legacy", True),)),
        ("legacy -P INPUT ACCEPT\nlegacy -A INPUT -s 192.0.2.9/32 -j DROP\n", (("iptables-legacy", False),)),
        ("legacy -P INPUT ACCEPT\nlegacy -A FORWARD -j DROP\n", ()),
    ],
)  # fmt: skip
def test_whose_rules_refuse_is_named(text: str, expected: tuple[tuple[str, bool], ...]) -> None:
    """iptables with a last reject, firewalld, fail2ban, ufw: each by its name, and whether all but its own is refused."""
    assert judged(text) == expected


@pytest.mark.parametrize(
    ("text", "closed"),
    [
        (chain(policy="drop"), True),
        (chain("counter packets 3 bytes 180 drop"), True),
        (chain('log prefix "accept? drop " level info drop'), True),
        (chain("meta l4proto tcp reject with tcp reset"), True),
        (chain("ct state new counter drop"), True),
        (chain('xt target "REJECT"'), True),
        (chain('counter accept comment "all"', "counter drop"), None),
        (chain("counter accept", policy="drop"), None),
        (chain('tcp dport 22 accept comment "never drop"'), None),
        (chain("ct state invalid drop"), None),
        (chain("ct state vmap { invalid : drop, established : accept }"), None),
        (chain("ip saddr 192.0.2.9 drop"), False),
        (chain("ip saddr 192.0.2.9 drop", "counter accept", policy="drop"), False),
        (chain("iifname eth0 jump a", "jump a", more="\tchain a {\n\t\tdrop\n"), True),
        (chain("iifname eth0 jump a", more="\tchain a {\n\t\tdrop\n"), False),
        (chain("jump a", more="\tchain a {\n\t\tgoto b\n\tchain b {\n\t\tjump a\n"), None),
        (chain("jump gone"), None),
        ("table inet mine {\n\tchain other {\n\t\tdrop\n", None),
    ],
)  # fmt: skip
def test_a_chain_is_closed_where_it_refuses_what_it_does_not_let_in(text: str, closed: bool | None) -> None:
    """The first rule for every packet decides, else the policy; None: nothing new is refused, so nobody is named."""
    assert judged(text) == (() if closed is None else (("nftables table inet mine", closed),))


def test_what_nft_does_not_tell_is_unknown() -> None:
    """Without nft, or without the right to use it, nothing is claimed but what is seen otherwise."""
    assert judged("", "nothing") is None
    assert judged("", "nothing", ufw=True, firewalld=True) == (("firewalld", False), ("ufw", False))
    assert judged("") == ()
    assert judged("", ufw=True, firewalld=True) == ()


def test_a_thousand_jumps_are_no_fault() -> None:
    """A host may print any chain of chains: what is deeper than the kernel jumps is not looked at."""
    more = "".join(f"\tchain c{n} {{\n\t\tjump c{n + 1}\n" for n in range(5000))
    assert judged(chain("jump c0", more=more)) == ()


def test_a_deploy_warns_of_rules_that_refuse_the_rest() -> None:
    """Only of hosts that it changes, and not of ufw, nor of a rule that refuses some packets."""
    firewalls = (OtherFirewall("iptables", True), OtherFirewall("ufw", True), OtherFirewall("nftables table inet b", False))
    facts = {"w1": bare_facts(other_firewalls=firewalls), "w2": bare_facts(other_firewalls=firewalls), "m1": bare_facts()}
    (warning,) = warnings(facts, ["m1", "w1"])
    assert warning.startswith("w1: iptables there refuses what it does not let in itself")


@given(st.lists(st.sampled_from(["nft ", "legacy ", "nft \t", "nft \t\t", "legacy -A INPUT ", "nft table ip "])
                .flatmap(lambda head: st.text(max_size=60).map(lambda tail: head + tail)), max_size=20))  # fmt: skip
def test_any_text_is_judged(lines: list[str]) -> None:
    """Whatever a host prints in their place, the answer is a list of firewalls, or that nobody knows."""
    found = other_firewalls(lines, ufw=False, firewalld=False)
    assert found is None or all(isinstance(f, OtherFirewall) for f in found)
