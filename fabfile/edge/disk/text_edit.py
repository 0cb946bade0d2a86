"""One edit of an operator's file, and its undoing, beside other runs and the operator's editor, who write it as well.

A run holds the file's lock from read to write. An undo takes back this edit alone: what others wrote meanwhile stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path

from ...core.errors import Busy, InputError, NexusError
from .atomic import rewrite_atomically
from .lock import locked
from .paths import display_path
from .yaml_edit import read

_TRIES = 5
Undone = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class Edit:
    """The whole text before and after. undone: whether the second text is the first one without this edit."""

    path: Path
    old: str
    new: str
    undone: Undone = field(repr=False, compare=False)


def edit(path: Path, hint: str, change: Callable[[str], tuple[str, Undone]]) -> Edit:
    """Writes what `change` makes of the file's text, and says how an undo is checked. An equal text is not written.

    `change` is called again where somebody else has written the file meanwhile. InputError, with `hint`, when it cannot be
    read.
    """
    read(path, hint)
    with locked(path, create=False):
        for _ in range(_TRIES):
            old = read(path, hint)
            new, undone = change(old)
            if read(path, hint) == old:
                if new != old:
                    _write(path, new)
                return Edit(path, old, new, undone)
    raise Busy(f"{display_path(path)}: somebody else writes it all the time", "try again once that is over")


def undo(done: Edit) -> bool:
    """Takes the edit back. Whether the whole file is as it was: what others have changed meanwhile stays.

    NexusError when they have changed its very lines: then nothing is written.
    """
    if done.new == done.old:
        return True
    with locked(done.path, create=False):
        now = read(done.path, "")
        then = done.old if now == done.new else _without(done, now)
        if now not in (done.old, done.new) and not _is_undone(done, now, then):
            hint = "look at it, and take back by hand what this command was to change"
            raise NexusError(f"{display_path(done.path)} was changed by others meanwhile, and is left as it is", hint)
        if then != now:
            _write(done.path, then)
    return then == done.old


def _is_undone(done: Edit, now: str, then: str) -> bool:
    try:
        return done.undone(now, then)
    except InputError:
        return False


def _without(done: Edit, now: str) -> str:
    """The text without the lines of the edit, where they stand in it as they were written; else the text as it is."""
    old, new, lines = (text.splitlines(keepends=True) for text in (done.old, done.new, now))
    start = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    most = min(len(old), len(new)) - start
    tail = next((n for n in range(most) if old[-1 - n] != new[-1 - n]), most)
    end = len(new) - tail
    for mine, theirs, size in SequenceMatcher(None, new, lines, autojunk=False).get_matching_blocks():
        if mine <= start and end <= mine + size:
            at = theirs + start - mine
            return "".join([*lines[:at], *old[start : len(old) - tail], *lines[at + end - start :]])
    return now


def _write(path: Path, text: str) -> None:
    """Puts the text in place of the file's old one, atomically. NexusError when it cannot be written."""
    try:
        rewrite_atomically(path, text.encode())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise NexusError(f"{display_path(path)}: cannot be written: {reason}") from error
