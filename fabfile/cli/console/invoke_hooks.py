"""Hooks into Invoke: wraps methods of its Program, which has no hooks of its own for what it prints and refuses."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from invoke.program import Program

Method = Callable[[Program], Any]


def wrap_program_method(name: str, wrapper: Callable[[Method, Program], None]) -> None:
    """Replaces the method of Program by `wrapper`, which gets the original method.

    Works for `inv` and `fab`. A second call changes nothing.
    """
    original = getattr(Program, name)
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def wrapped(self: Program) -> None:
        wrapper(original, self)

    setattr(Program, name, wrapped)
