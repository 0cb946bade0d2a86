"""From an open cluster to a secure one without a moment's loss: which security level comes next. Pure.

The levels are those of core.state.consul. Neighbouring levels understand each other, so the whole cluster takes
each step before anybody takes the next.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..errors import Refused
from .consul import FULL


def passes(deployed: Mapping[str, int], selected: Collection[str]) -> tuple[int, ...]:
    """The levels that a deploy goes through. `deployed`: host -> its level now, of hosts that were deployed before.

    A new cluster starts at the full level; one pass is all that a secure cluster ever needs. Refused when a step
    that concerns every host is asked of some only.
    """
    lowest = min(deployed.values(), default=FULL)
    if lowest >= FULL:
        return (FULL,)
    left_out = sorted(name for name, level in deployed.items() if level < FULL and name not in selected)
    if left_out:
        raise Refused(
            f"this cluster is not secured yet ({', '.join(left_out)}), and that is done for all hosts together",
            "inv deploy --hosts all",
        )
    return tuple(range(lowest + 1, FULL + 1))


def level_of(host: str, deployed: Mapping[str, int], step: int) -> int:
    """A host's level in this step: never lower than it is, so that an interrupted change goes on where it was."""
    return max(step, deployed.get(host, 0))
