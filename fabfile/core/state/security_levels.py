"""How a running open cluster becomes secure: which security levels a deploy applies, one after the other. Pure.

`consul` says what the levels are. Only neighbouring levels understand each other, so all hosts reach one level before
any host goes on to the next.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..errors import Refused
from .consul import FULL_LEVEL


def levels_to_apply(deployed: Mapping[str, int], selected: Collection[str]) -> tuple[int, ...]:
    """The levels that a deploy applies, in their order; for a new or a secure cluster only the full one.

    deployed: host name -> its level now, of hosts that were deployed before; selected: the hosts of this deploy
    Refused when the cluster is not secure yet and a host below the full level is not selected.
    """
    lowest = min(deployed.values(), default=FULL_LEVEL)
    if lowest >= FULL_LEVEL:
        return (FULL_LEVEL,)
    left_out = sorted(name for name, level in deployed.items() if level < FULL_LEVEL and name not in selected)
    if left_out:
        raise Refused(
            f"this cluster is not secured yet ({', '.join(left_out)}), and that is done for all hosts together",
            "inv deploy --hosts all",
        )
    return tuple(range(lowest + 1, FULL_LEVEL + 1))


def level_of(host: str, deployed: Mapping[str, int], step: int) -> int:
    """The host's level after this step. No host goes down: after an interruption some hosts are one level ahead."""
    return max(step, deployed.get(host, 0))
