"""Faults of drills that are on a host, as its fault script lists them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_LATE = 30  # seconds that an undo may take, tries included


@dataclass(frozen=True, slots=True)
class LeftoverFault:
    """A fault found on a host. fault: `-` where its folder does not tell. seconds: until its undo; below 0: overdue.

    state: armed | injected | lost (no timer undoes it any more) | half (cut off during `arm`) | orphan (a table or unit
    without a folder)
    """

    id: str
    fault: str
    state: str
    seconds: int

    @property
    def is_forgotten(self) -> bool:
        """Whether nobody will undo it: its timer is gone, or should have done so."""
        return self.state not in ("armed", "injected") or self.seconds < -_LATE

    @property
    def outlook(self) -> str:
        """What its host's own timer is going to do."""
        if self.state == "orphan":
            return "it had lost its folder"
        if self.state == "half":
            return "it was cut off before it was armed"
        if self.state == "lost":
            return "its own undo was lost: the host was restarted, or its timer stopped"
        return f"its own undo was due in {self.seconds} s" if self.seconds >= 0 else f"overdue since {-self.seconds} s"


def read_left_faults(lines: Iterable[str]) -> tuple[LeftoverFault, ...]:
    """From the lines `left ID FAULT STATE SECONDS`; others are passed over."""
    rows = [line.split(" ") for line in lines if line.startswith("left ")]
    fit = (row for row in rows if len(row) == 5 and re.fullmatch(r"-?[0-9]{1,12}", row[4]))
    return tuple(LeftoverFault(row[1], row[2], row[3], int(row[4])) for row in fit)
