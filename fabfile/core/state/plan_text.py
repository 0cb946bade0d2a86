"""A plan in words, for the terminal, the progress lines and `plan --json`. Pure."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator

from ..text import harmless
from .plan import ChangeKind, FileChange, HostPlan


def describe(plan: HostPlan, diffs: bool = True) -> Iterator[str]:
    """The plan in lines: signs + ~ - for accounts and files, the verb for units. Empty for an empty plan.

    `diffs`: with unified diffs of text files; a secret file's content is never shown.
    """
    for account in plan.accounts:
        yield f"+ user {account.name}"
    for change in plan.files:
        yield _headline(change)
        if diffs:
            yield from (f"    {line}" for line in _unified_diff(change))
    if plan.misread:
        yield f"> daemon-reload (systemd has another text than the file of {', '.join(plan.misread)})"
    for unit in plan.units:
        yield f"> {unit.verb.value} {unit.name} ({unit.reason})"
    if plan.interrupted:
        yield "~ finish the interrupted change"
    if not plan.recorded and not (plan.files or plan.units or plan.misread):
        yield f"~ record generation {plan.wanted.id}"


def summary(plan: HostPlan) -> str:
    """One phrase, for progress lines: `2 files, restart consul`."""
    parts = []
    if plan.files:
        parts.append(f"{len(plan.files)} file{'s' if len(plan.files) > 1 else ''}")
    parts += ["daemon-reload"] if plan.misread else []
    parts += [f"{u.verb.value} {os.path.splitext(u.name)[0]}" for u in plan.units]
    return ", ".join(parts) or ("nothing" if plan.empty else "record")


def _headline(change: FileChange) -> str:
    file, actual = change.wanted, change.actual
    if file is None:
        return f"- {change.path}"
    note = f" {file.note}" if file.note else ""
    rights = f"{file.mode} {file.owner}:{file.group}"
    if actual and (actual.mode, actual.owner, actual.group) != (file.mode, file.owner, file.group):
        rights = f"{actual.mode} {actual.owner}:{actual.group} → {rights}"
    return f"{change.kind.value} {change.path}{note} ({rights})"


def _unified_diff(change: FileChange) -> Iterator[str]:
    """Empty where the content stays, or is not known: of binaries and large files."""
    before = change.actual.content if change.actual else b""
    after = change.wanted.content if change.wanted else b""
    if before is None or after is None or before == after:
        return
    if "secret" in change.path:
        yield "(secret, not shown)"
        return
    lines = difflib.unified_diff(_lines(before), _lines(after), "on the host", "wanted", lineterm="")
    if change.kind is ChangeKind.UPDATE:
        yield from lines
    else:
        yield from list(lines)[2:]  # a created or removed file needs no `---` and `+++` lines


def _lines(content: bytes) -> list[str]:
    """Lines that are safe on a terminal: a host's file must not move the operator's cursor."""
    return [harmless(line) for line in content.decode("utf-8", "replace").splitlines()]
