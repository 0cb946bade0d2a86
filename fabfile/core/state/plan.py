"""The difference between what a host is and what it should be, as values that print themselves.

`inv plan` shows a `HostPlan`; `inv deploy` sends the very same one as an action list (`actions`).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from .facts import Facts, FileFact, UnitFact
from .manifest import Account, File, Manifest, Unit


class Verdict(Enum):
    """What happens to a file or an account; the value is the sign in front of its line."""

    CREATE = "+"
    UPDATE = "~"
    REMOVE = "-"


class Verb(Enum):
    """What systemd is told, in its own words."""

    START = "start"
    RELOAD = "reload"
    RESTART = "restart"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class FileChange:
    verdict: Verdict
    path: str
    wanted: File | None
    actual: FileFact | None


@dataclass(frozen=True, slots=True)
class UnitChange:
    verb: Verb
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class HostPlan:
    """All that would change on one host. `base` is the generation that it was computed against ("-": none);
    `journal`: a commit was interrupted there, and the next boot would carry it out."""

    host: str
    wanted: Manifest
    base: str
    store: frozenset[str]
    journal: bool = False
    accounts: tuple[Account, ...] = ()
    files: tuple[FileChange, ...] = ()
    units: tuple[UnitChange, ...] = ()

    @property
    def recorded(self) -> bool:
        """False when the host's own record of its generation lags, as after an interrupted commit."""
        return self.base == self.wanted.id

    @property
    def empty(self) -> bool:
        return self.recorded and not (self.journal or self.accounts or self.files or self.units)

    def missing_blobs(self) -> tuple[File, ...]:
        """Files whose bytes the host's store lacks: these, and only these, are uploaded. One a sum."""
        unique = {f.sha256: f for f in self.wanted.files if f.sha256 not in self.store}
        return tuple(unique.values())


def diff(host: str, wanted: Manifest, facts: Facts) -> HostPlan:
    """What would bring the host of these facts to the wanted state."""
    return HostPlan(
        host, wanted, facts.current or "-", facts.store, facts.pending is not None,
        tuple(a for a in wanted.accounts if a.name not in facts.users),
        tuple(_file_changes(wanted, facts)),
        tuple(_unit_changes(wanted, facts)),
    )  # fmt: skip


def _file_changes(wanted: Manifest, facts: Facts) -> Iterator[FileChange]:
    for file in wanted.files:
        actual = facts.files.get(file.path)
        if actual is None:
            yield FileChange(Verdict.CREATE, file.path, file, None)
        elif (actual.sha256, actual.mode, actual.owner, actual.group) != (
            file.sha256, file.mode, file.owner, file.group,
        ):  # fmt: skip
            yield FileChange(Verdict.UPDATE, file.path, file, actual)
    keep = {f.path for f in wanted.files}
    for old in facts.manifest.files:
        if old.path not in keep and old.path in facts.files:
            yield FileChange(Verdict.REMOVE, old.path, None, facts.files[old.path])


def _unit_changes(wanted: Manifest, facts: Facts) -> Iterator[UnitChange]:
    keep = {u.name for u in wanted.units}
    for name in sorted(facts.stamps):  # a stamp stands until the stop has worked
        if name not in keep:
            yield UnitChange(Verb.STOP, name, "no longer a part of this host")
    for unit in wanted.units:
        change = _unit_change(unit, facts.units.get(unit.name), facts.stamps.get(unit.name))
        if change:
            yield change


def _unit_change(unit: Unit, actual: UnitFact | None, stamp: str | None) -> UnitChange | None:
    if actual is None or actual.load == "not-found":
        return UnitChange(Verb.START, unit.name, "new")
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
    """The plan as the action list that remote_agents/apply.sh carries out; `who` goes into the host's history."""
    rows = [("base", plan.base), ("id", plan.wanted.id), ("who", " ".join(who.split()))]
    puts = {c.path: c.wanted for c in plan.files if c.wanted}
    rows += [("put", path) for path in puts]
    rows += [("drop", c.path) for c in plan.files if c.wanted is None]
    rows += [("check", check) for check in dict.fromkeys(_check(f, puts) for f in plan.wanted.files) if check]
    rows += [("unit", f"{u.name}\t{u.verb.value}") for u in plan.units]
    return "".join(f"{key}\t{value}\n" for key, value in rows) + "end\n"


def _check(file: File, puts: dict[str, File]) -> str | None:
    """`kind TAB path`: a config is checked when it changes, and when the program that reads it does."""
    program = {"consul": "/usr/local/bin/consul", "caddy": "/usr/local/bin/caddy"}.get(file.check or "")
    if file.check is None or (file.path not in puts and program not in puts):
        return None
    place = os.path.dirname(file.path) if file.check == "consul" else file.path  # Consul reads its folder as one
    return f"{file.check}\t{place}"


def describe(plan: HostPlan, diffs: bool = True) -> Iterator[str]:
    """The plan in lines: signs + ~ - for files, the verb for units; unified diffs of text files, secrets masked."""
    for account in plan.accounts:
        yield f"+ user {account.name}"
    for change in plan.files:
        yield _headline(change)
        if diffs:
            yield from (f"    {line}" for line in _unified(change))
    for unit in plan.units:
        yield f"> {unit.verb.value} {unit.name} ({unit.why})"
    if plan.journal:
        yield "~ finish the interrupted change"
    if not plan.recorded and not (plan.files or plan.units):
        yield f"~ record generation {plan.wanted.id}"


def _headline(change: FileChange) -> str:
    file, actual = change.wanted, change.actual
    if file is None:
        return f"- {change.path}"
    note = f" {file.note}" if file.note else ""
    rights = f"{file.mode} {file.owner}:{file.group}"
    if actual and (actual.mode, actual.owner, actual.group) != (file.mode, file.owner, file.group):
        rights = f"{actual.mode} {actual.owner}:{actual.group} → {rights}"
    return f"{change.verdict.value} {change.path}{note} ({rights})"


def _unified(change: FileChange) -> Iterator[str]:
    before = change.actual.content if change.actual else b""
    after = change.wanted.content if change.wanted else b""
    if before is None or after is None or before == after:
        return
    if "secret" in change.path:
        yield "(secret, not shown)"
        return
    lines = difflib.unified_diff(_text(before), _text(after), "on the host", "wanted", lineterm="")
    if change.verdict is Verdict.UPDATE:
        yield from lines
    else:
        yield from list(lines)[2:]  # a new or a leaving file needs no `---`/`+++` head


def _text(content: bytes) -> list[str]:
    """Lines that are safe on a terminal: what a host's file holds must not move the operator's cursor."""
    lines = content.decode("utf-8", "replace").splitlines()
    return [line if line.isprintable() else "".join(map(_visible, line)) for line in lines]


def _visible(char: str) -> str:
    return char if char.isprintable() or char == "\t" else "\ufffd"


def summary(plan: HostPlan) -> str:
    """One phrase, for tables and the audit line: `2 files, restart consul.service`."""
    parts = []
    if plan.files:
        parts.append(f"{len(plan.files)} file{'s' if len(plan.files) > 1 else ''}")
    parts += [f"{u.verb.value} {os.path.splitext(u.name)[0]}" for u in plan.units]
    return ", ".join(parts) or ("nothing" if plan.empty else "record")
