"""Hosts whose cluster address changes: the others have to let the new one in before the host moves there. Pure.

A deploy does that in three steps. Who is reached at the old address only, for it does not answer or is not part of this
deploy, stays let in there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from enum import Enum

from .consul import CONFIG_FOLDER
from .facts import Facts
from .firewall import PATHS, UNIT_NAME
from .manifest import Manifest
from .plan import HostPlan, diff
from .topology import Address

_SETTING = re.compile(r'^(?:bind|advertise)_addr\s*=\s*"([0-9.]+)"', re.MULTILINE)
_ANY = "0.0.0.0"  # noqa: S104  compared, not bound


class Step(Enum):
    """LET_IN: only rules change, and let in old and new addresses; MOVE: all changes, with these rules; SETTLE: the old go.

    SETTLE alone is a deploy in which no host moves.
    """

    LET_IN = "let in"
    MOVE = "move"
    SETTLE = "settle"


def deployed_addresses(facts: Facts) -> frozenset[str]:
    """The addresses in the host's own configuration of Consul; empty where there is none."""
    config = facts.files.get(f"{CONFIG_FOLDER}/consul.hcl")
    content = config.content if config and config.content else b""
    return frozenset(_SETTING.findall(content.decode("utf-8", "replace"))) - {_ANY}


def former_addresses(
    addresses: Mapping[str, Address], facts: Mapping[str, Facts], remembered: Mapping[str, Address]
) -> dict[str, tuple[str, ...]]:
    """Each host whose addresses are not those that it was deployed with, and the ones among these that it loses.

    remembered: the addresses that the hosts had when they last answered; of hosts that do not answer now
    """
    former = {}
    for name, address in addresses.items():
        now = {address.bind, address.advertise} - {_ANY}
        if name in facts:
            before = set(deployed_addresses(facts[name]))
        else:
            known = remembered.get(name)
            before = {known.bind, known.advertise} - {_ANY} if known else set()
        if before and before != now:
            former[name] = tuple(sorted(before - now))
    return former


def let_in_besides(former: Mapping[str, tuple[str, ...]], moving: Collection[str], step: Step) -> tuple[str, ...]:
    """The former addresses that the rules of this step let in. `moving`: the hosts that this deploy moves."""
    stay = [name for name in former if step is not Step.SETTLE or name not in moving]
    return tuple(sorted({address for name in stay for address in former[name]}))


def rules_only(host: str, wanted: Manifest, facts: Facts) -> HostPlan | None:
    """The plan that brings the wanted firewall to a host and changes nothing else. None where there is no firewall yet."""
    kept = facts.manifest
    if not any(unit.name == UNIT_NAME for unit in kept.units) or not any(f.path in PATHS for f in wanted.files):
        return None
    known = {(f.path, f.sha256): f for f in wanted.files}  # with their bytes
    units = {unit.name: unit for unit in wanted.units}
    generation = Manifest(
        kept.accounts,
        tuple(dict.fromkeys((*kept.folders, *wanted.folders))),
        (
            *(known.get((f.path, f.sha256), f) for f in kept.files if f.path not in PATHS),
            *(f for f in wanted.files if f.path in PATHS),
        ),
        tuple(units.get(u.name, u) if u.name == UNIT_NAME else u for u in kept.units),
    )
    plan = diff(host, generation, facts)
    return replace(
        plan, accounts=(), files=tuple(c for c in plan.files if c.path in PATHS),
        units=tuple(u for u in plan.units if u.name == UNIT_NAME), misread=(),
    )  # fmt: skip
