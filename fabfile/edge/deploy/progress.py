"""What a deploy reports while it runs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class ProgressListener(Protocol):
    """Receives each step as it happens. Its methods are called from any thread."""

    def wave(self, title: str, hosts: Collection[str]) -> None:
        """A wave of changes on these hosts begins."""

    def step(self, host: str, text: str) -> None:
        """The host does this now."""

    def done(self, host: str, text: str) -> None:
        """The host's part of the wave is done."""

    def failed(self, host: str, text: str) -> None:
        """The host's part of the wave failed."""
