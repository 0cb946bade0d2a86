"""Who else filters what comes in to a host: the rules of nft and iptables, as the probe tells them, judged. Pure.

The kernel asks every chain that is hooked to `input`. What one of them lets in, the next one may refuse.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from .facts import Facts, OtherFirewall

FIREWALLD = "firewalld.service"
UFW = "ufw"
_MOST = 20_000  # lines of rules; a host may say anything
_DEPTH = 16  # jumps, as the kernel has it
_TABLE = re.compile(r"table (ip|inet) ([\w./-]{1,60}) \{")
_CHAIN = re.compile(r"\tchain ([\w./-]{1,60}) \{")
_HOOK = re.compile(r"type filter hook input .*?(?:policy (\w+))?;?$")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')  # a comment, or the prefix of a log line
_LEGACY = re.compile(r"legacy (-[PA]) (\S{1,60}) ?(.*)")
# What may stand before a verdict that counts for every new TCP connection.
_EVERY = re.compile(r"(?:counter(?: packets \d+ bytes \d+)?|log(?: prefix \"\")?(?: (?:level|flags|group) \S+)*"
                    r"|meta l4proto tcp|ip protocol tcp|ct state new)? *")  # fmt: skip
_VERDICT = re.compile(r"(?:^|\s)(?:(accept|drop|reject|jump (\S+)|goto (\S+))\b|xt target \"(DROP|REJECT)\")")
_TARGET = re.compile(r"(?:^|.*\s)-[jg] (\S+)")
# What a chain does with a new connection: it lets all in, refuses some, refuses all that it does not let in; "": nothing.
_Says = Literal["", "accept", "some", "all"]
_VERDICTS: Mapping[str, _Says] = {"accept": "accept", "drop": "all", "reject": "all"}
_COMMENT = re.compile(r"-m comment --comment (?:\"\"|\S+) ?")


@dataclass(slots=True)
class _Chain:
    """hooked: packets that come in pass it; closed: its policy; rules: (verdict or chain's name, for every packet)."""

    hooked: bool = False
    closed: bool = False
    rules: list[tuple[str, bool]] = field(default_factory=list)


def other_firewalls(lines: Iterable[str], ufw: bool, firewalld: bool) -> tuple[OtherFirewall, ...] | None:
    """Those that refuse something, the closed ones first. None: nft did not tell, and nothing else is known.

    `lines`: of the probe's output; ufw, firewalld: they are to run
    """
    rules = [line for line in lines if line.startswith(("nft ", "legacy ", "firewalls "))][:_MOST]
    known = "firewalls known" in rules
    found: dict[str, bool] = {}
    for (family, table), chains in _tables(rules).items():
        says = {_says(chains, name, {}) for name, chain in chains.items() if chain.hooked}
        if says & {"all", "some"}:
            name = _name(family, table, chains)
            found[name] = found.get(name, False) or "all" in says
    if not known:  # their rules are not seen, they themselves are
        found |= {name: False for name, runs in ((UFW, ufw), ("firewalld", firewalld)) if runs and name not in found}
    others = sorted((OtherFirewall(name, closed) for name, closed in found.items()), key=lambda o: (not o.closed, o.name))
    return tuple(others) if known or others else None


def strict_firewalls(firewalls: Iterable[OtherFirewall] | None) -> tuple[str, ...]:
    """The names of those that refuse all that they do not let in. Not ufw, where our own rules are ufw's."""
    return tuple(f.name for f in firewalls or () if f.closed and f.name != UFW)


def warnings(facts: Mapping[str, Facts], changing: Iterable[str]) -> Iterator[str]:
    """A line for each host to be changed where other rules may refuse what ours are to let in."""
    for name in changing:
        if strict := strict_firewalls(facts[name].other_firewalls):
            yield (
                f"{name}: {' and '.join(strict)} there refuses what it does not let in itself, whatever our firewall says: "
                "let the cluster's ports in there, too; inv verify asks (docs/RUNBOOK.md, Another firewall on a host)"
            )


def _name(family: str, table: str, chains: Mapping[str, _Chain]) -> str:
    if family == "legacy":
        family, table, plain = "ip", "filter", "iptables-legacy"
    else:
        plain = "iptables"
    if table == "firewalld" or (table == "filter" and "INPUT_ZONES" in chains):
        return "firewalld"
    if (family, table) != ("ip", "filter"):
        return f"nftables table {family} {table}"
    return UFW if any(name.startswith("ufw-") for name in chains) else plain


def _tables(lines: Iterable[str]) -> dict[tuple[str, str], dict[str, _Chain]]:
    tables: dict[tuple[str, str], dict[str, _Chain]] = {}
    chains: dict[str, _Chain] = {}
    chain = _Chain()
    for line in lines:
        text = line.removeprefix("nft ")
        if match := _LEGACY.match(line):
            _legacy(match, tables.setdefault(("legacy", "filter"), {}))
        elif match := _TABLE.match(text):
            chains = tables.setdefault((match[1], match[2]), {})
        elif match := _CHAIN.match(text):
            chain = chains.setdefault(match[1], _Chain())
        elif match := _HOOK.match(text.strip()):
            chain.hooked, chain.closed = True, match[1] == "drop"
        elif rule := _rule(text):
            chain.rules.append(rule)
    return tables


def _rule(text: str) -> tuple[str, bool] | None:
    """Verdict or chain's name, and whether it is for every packet; None: it decides nothing."""
    text = _bare(text)
    verdict = _VERDICT.search(text)
    before = text[: verdict.start()].strip() if verdict else ""
    if verdict is None or ("ct state" in before and "invalid" in before):  # that is no new connection
        return None
    while before and (match := _EVERY.match(before)) and match.end():
        before = before[match.end() :]
    return verdict[2] or verdict[3] or (verdict[4] or verdict[1]).lower(), not before


def _bare(text: str) -> str:
    """Without the words of people, which could be those of a verdict."""
    return _QUOTED.sub(lambda m: m[0] if m[0] in ('"DROP"', '"REJECT"') else '""', text)


def _legacy(match: re.Match[str], chains: dict[str, _Chain]) -> None:
    kind, name, rest = match.groups()
    chain = chains.setdefault(name, _Chain())
    if name == "INPUT":
        chain.hooked = True
    if kind == "-P":
        chain.closed = rest == "DROP"
    elif target := _TARGET.match(text := _bare(rest)):
        before = _COMMENT.sub("", text[: target.start(1) - 3]).strip()
        verdict = {"DROP": "drop", "REJECT": "reject", "ACCEPT": "accept"}.get(target[1], target[1])
        chain.rules.append((verdict, before in ("", "-p tcp")))


def _says(chains: Mapping[str, _Chain], name: str, known: dict[str, _Says], depth: int = 0) -> _Says:
    """The first rule for every packet decides, else the policy. `known`: of chains that were looked at already."""
    if name in known or name not in chains or depth > _DEPTH:
        return known.get(name, "")
    known[name] = ""
    some: _Says = ""
    for verdict, every in chains[name].rules:
        said = _VERDICTS[verdict] if verdict in _VERDICTS else _says(chains, verdict, known, depth + 1)
        if every and said in ("accept", "all"):
            known[name] = said if said == "all" else some or said
            return known[name]
        if said in ("some", "all"):
            some = "some"
    known[name] = "all" if chains[name].closed else some
    return known[name]
