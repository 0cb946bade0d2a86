"""The words of others: what cannot be read in them becomes an error that names the host, wherever it is noticed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import HostError
from .text import visible

_LONGEST = 120  # characters of the reason


@contextmanager
def understood(host: str, what: str, hint: str = "inv status") -> Iterator[None]:
    """Within it, a value of another kind than is due is a HostError: `what` the host says cannot be read."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        reason = visible(f"{type(error).__name__}: {error}")[:_LONGEST]
        raise HostError(host, f"{what} cannot be read ({reason})", hint) from error
