"""The fault script's command lines and answers. Pure: the driver sends and receives.

`arm` keeps the script on the host, so it goes as `Remote.run(arm_argv(...), [script])`, received by RECEIVE; all
other verbs go as `Remote.run(argv(...), [script])`. The script exits with 3 after `refused` and `failed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...core.state.left_faults import LeftoverFault, read_left_faults

STATUSES = ("armed", "injected", "reverted", "present", "absent", "refused", "failed")

# A script cut short in transit runs nothing: its last line is missing.
RECEIVE = """set -eu; umask 077
f=$(mktemp)
trap 'rm -f "$f"' EXIT
trap 'exit 129' HUP INT TERM PIPE
cat >"$f"
sh "$f" "$@"
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """status: one of STATUSES, or `nothing` where the script was cut off.

    reason: of refused and failed; of injected, what the host saw of the consequences
    """

    status: str
    reason: str = ""

    @property
    def is_error(self) -> bool:
        return self.status in ("refused", "failed", "nothing")


def arm_argv(fault_id: str, fault: str, ttl: int, arguments: Sequence[str]) -> list[str]:
    """`arguments`: of `catalogue.script_arguments`; `fault_id`: 1 to 32 of a-z and 0-9; `ttl`: seconds."""
    return ["sh", "-c", RECEIVE, "nexus-fault", "", "arm", fault_id, fault, str(ttl), *arguments]


def argv(verb: str, *fault_id: str) -> list[str]:
    """inject, observe and revert with an id; list without one."""
    return ["sh", "-s", "--", "", verb, *fault_id]


def parse_answer(out: bytes) -> Answer:
    """The last line that is an answer."""
    for line in reversed(out.decode(errors="replace").splitlines()):
        status, _, reason = line.partition(" ")
        if status in STATUSES:
            return Answer(status, reason)
    return Answer("nothing", "the host gave no answer")


def parse_leftovers(out: bytes) -> tuple[LeftoverFault, ...]:
    """The answer to `list`."""
    return read_left_faults(out.decode(errors="replace").splitlines())
