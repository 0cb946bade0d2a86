"""An edit of the operator's file that stays only if what it was made for happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from invoke.exceptions import Exit

from ...core.errors import NexusError
from ...edge.disk.text_edit import Edit, undo
from ..console.output import say, show_errors
from ..console.signals import signals_deferred


@contextmanager
def undone_on_failure(make: Callable[[], Edit]) -> Iterator[Edit]:
    """Makes the edit, and takes it back however the block ends: by an error, Ctrl-C, SIGTERM or a closed terminal.

    An Exit keeps it: then the cluster has what the file says, and is only not there yet.
    """
    done: list[Edit] = []
    try:
        with signals_deferred():
            done.append(make())
        yield done[0]
    except Exit:
        raise
    except BaseException:
        for edit in done:
            _undo(edit)
        raise


def _undo(edit: Edit) -> None:
    told: NexusError | bool
    with signals_deferred():
        try:
            told = undo(edit)
        except NexusError as error:
            told = error
    if isinstance(told, NexusError):
        show_errors(told)
    else:
        say(f"{edit.path.name} is as it was" + ("" if told else ", but for what others have changed meanwhile"))
