"""The difference between a host's actual and wanted state. Pure.

`inv plan` shows a `HostPlan` (`plan_text`); `inv deploy` sends the same one as an action list (`actions`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from .drift import misread_units, rules_fault
from .facts import Facts, FileFact, UnitFact
from .firewall import UNIT_NAME as FIREWALL_UNIT
from .manifest import Account, File, Manifest, Unit


class ChangeKind(Enum):
    """What happens to a file; the value is the sign in front of its line."""

    CREATE = "+"
    UPDATE = "~"
    REMOVE = "-"


class Verb(Enum):
    """What is done to a unit; the value is systemctl's verb."""

    START = "start"
    RELOAD = "reload"
    RESTART = "restart"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class FileChange:
    """wanted: None for a file that is removed; actual: None for one that is created."""

    kind: ChangeKind
    path: str
    wanted: File | None
    actual: FileFact | None


@dataclass(frozen=True, slots=True)
class UnitChange:
    """reason: for people, `what it reads changed`."""

    verb: Verb
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class HostPlan:
    """All that would change on one host.

    base: id of the generation that the plan starts from, - for none; apply.sh refuses the plan on any other
    store: sums whose bytes the host keeps already
    interrupted: a commit was interrupted on the host, and its next boot would finish it
    misread: units whose files systemd has to read again, which apply.sh sees by itself
    """

    host: str
    wanted: Manifest
    base: str
    store: frozenset[str]
    interrupted: bool = False
    accounts: tuple[Account, ...] = ()
    files: tuple[FileChange, ...] = ()
    units: tuple[UnitChange, ...] = ()
    misread: tuple[str, ...] = ()

    @property
    def recorded(self) -> bool:
        """Whether the host's own record names the wanted generation; after an interrupted commit it does not."""
        return self.base == self.wanted.id

    @property
    def empty(self) -> bool:
        """Nothing would change, not even the host's record."""
        return self.recorded and not (self.interrupted or self.accounts or self.files or self.units or self.misread)

    def missing_blobs(self) -> tuple[File, ...]:
        """Files whose bytes the host's store lacks, one for each sum. Only these are uploaded."""
        unique = {f.sha256: f for f in self.wanted.files if f.sha256 not in self.store}
        return tuple(unique.values())


def diff(host: str, wanted: Manifest, facts: Facts) -> HostPlan:
    """The changes that bring a host from the state in `facts` to the wanted one."""
    return HostPlan(
        host, wanted, facts.current or "-", facts.store, facts.pending is not None,
        tuple(a for a in wanted.accounts if a.name not in facts.users),
        tuple(_file_changes(wanted, facts)),
        tuple(_unit_changes(wanted, facts)),
        misread_units(wanted, facts),
    )  # fmt: skip


def _file_changes(wanted: Manifest, facts: Facts) -> Iterator[FileChange]:
    for file in wanted.files:
        actual = facts.files.get(file.path)
        if actual is None:
            yield FileChange(ChangeKind.CREATE, file.path, file, None)
        elif (actual.sha256, actual.mode, actual.owner, actual.group) != (
            file.sha256, file.mode, file.owner, file.group,
        ):  # fmt: skip
            yield FileChange(ChangeKind.UPDATE, file.path, file, actual)
    wanted_paths = {f.path for f in wanted.files}
    for old in facts.manifest.files:
        if old.path not in wanted_paths and old.path in facts.files:
            yield FileChange(ChangeKind.REMOVE, old.path, None, facts.files[old.path])


def _unit_changes(wanted: Manifest, facts: Facts) -> Iterator[UnitChange]:
    wanted_names = {u.name for u in wanted.units}
    for name in sorted(facts.stamps):  # the host keeps a unit's stamp until the stop has worked
        if name not in wanted_names:
            yield UnitChange(Verb.STOP, name, "no longer a part of this host")
    for unit in wanted.units:
        change = _unit_change(unit, facts.units.get(unit.name), facts.stamps.get(unit.name))
        if change is None and unit.name == FIREWALL_UNIT and (fault := rules_fault(wanted, facts.rules)):
            change = UnitChange(Verb.RELOAD, unit.name, fault)
        if change:
            yield change


def _unit_change(unit: Unit, actual: UnitFact | None, stamp: str | None) -> UnitChange | None:
    if actual is None or actual.load == "not-found":
        if stamp is None or stamp == unit.stamp:
            return UnitChange(Verb.START, unit.name, "its file was gone" if stamp else "new")
        return UnitChange(Verb.RESTART, unit.name, "its file was gone, and what it reads changed")  # it may run all the same
    if not actual.running:
        return UnitChange(Verb.RESTART, unit.name, f"is {actual.active} ({actual.sub})")
    restart, _, reload = (stamp or "? ?").partition(" ")
    if restart != unit.restart_stamp:
        return UnitChange(Verb.RESTART, unit.name, "what it reads changed" if stamp else "not started by us yet")
    if reload != unit.reload_stamp:
        return UnitChange(Verb.RELOAD, unit.name, "what it reads changed")
    if not actual.enabled:
        return UnitChange(Verb.START, unit.name, "would not start at boot")
    return None


def actions(plan: HostPlan, who: str) -> str:
    """The plan as the action list that remote_agents/apply/ carries out. `who` goes into the host's history."""
    rows = [("base", plan.base), ("id", plan.wanted.id), ("who", " ".join(who.split()))]
    puts = {c.path for c in plan.files if c.wanted}
    rows += [("put", c.path) for c in plan.files if c.wanted]
    rows += [("drop", c.path) for c in plan.files if c.wanted is None]
    rows += [("check", check) for check in dict.fromkeys(_check(f, puts) for f in plan.wanted.files) if check]
    rows += [("unit", f"{u.name}\t{u.verb.value}") for u in plan.units]
    return "".join(f"{key}\t{value}\n" for key, value in rows) + "end\n"


def _check(file: File, puts: set[str]) -> str | None:
    """`kind TAB path`. A config is checked when it changes, and when the program that reads it changes."""
    program = {"consul": "/usr/local/bin/consul", "caddy": "/usr/local/bin/caddy"}.get(file.check or "")
    if file.check is None or (file.path not in puts and program not in puts):
        return None
    path = os.path.dirname(file.path) if file.check == "consul" else file.path  # Consul reads its whole folder
    return f"{file.check}\t{path}"
