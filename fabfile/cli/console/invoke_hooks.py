"""Invoke's Program has no hooks for what it refuses and prints by itself: there its own methods are wrapped, once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from invoke.program import Program

Plain = Callable[[Program], Any]


def wrap(method: str, around: Callable[[Plain, Program], None]) -> None:
    """From now on `around` has the method's place, and the method. This serves `inv` and `fab`, whoever starts them."""
    plain = getattr(Program, method)
    if hasattr(plain, "__wrapped__"):
        return

    @wraps(plain)
    def wrapped(self: Program) -> None:
        around(plain, self)

    setattr(Program, method, wrapped)
