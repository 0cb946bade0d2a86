"""The words to fault.sh on a host, and what it answers. Pure: the runner sends and receives.

`arm` keeps the script on the host, so it goes as `Remote.run(arm_argv(...), [script])`, received by RECEIVE; all
other verbs go as `Remote.run(argv(...), [script])`. The script ends with 3 after `refused` and `failed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WORDS = ("armed", "injected", "reverted", "present", "absent", "refused", "failed")

# A script that broke off on its way is refused by itself: its last line is missing.
RECEIVE = """set -eu; umask 077
f=$(mktemp)
trap 'rm -f "$f"' EXIT
trap 'exit 129' HUP INT TERM PIPE
cat >"$f"
sh "$f" "$@"
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """word: one of WORDS, or `nothing` where the script was cut off; why: of refused and failed."""

    word: str
    why: str = ""

    @property
    def bad(self) -> bool:
        return self.word in ("refused", "failed", "nothing")


@dataclass(frozen=True, slots=True)
class LeftoverFault:
    """A fault found on a host. fault: `-` where its folder does not tell. seconds: until its undo; below 0: overdue.

    state: armed | injected | half (cut off while it was armed) | orphan (a table or unit without a folder)
    """

    id: str
    fault: str
    state: str
    seconds: int


def arm_argv(fault_id: str, fault: str, ttl: int, words: Sequence[str]) -> list[str]:
    """`words`: of `faults.script_arguments`; `fault_id`: 1 to 32 of a-z and 0-9; `ttl`: seconds."""
    return ["sh", "-c", RECEIVE, "nexus-fault", "", "arm", fault_id, fault, str(ttl), *words]


def argv(verb: str, *fault_id: str) -> list[str]:
    """inject, observe and revert with an id; list without one."""
    return ["sh", "-s", "--", "", verb, *fault_id]


def answer(out: bytes) -> Answer:
    """The last line that is an answer."""
    for line in reversed(out.decode(errors="replace").splitlines()):
        word, _, why = line.partition(" ")
        if word in WORDS:
            return Answer(word, why)
    return Answer("nothing", "the host gave no answer")


def left(out: bytes) -> tuple[LeftoverFault, ...]:
    """What `list` found."""
    rows = [line.split(" ") for line in out.decode(errors="replace").splitlines() if line.startswith("left ")]
    return tuple(LeftoverFault(row[1], row[2], row[3], int(row[4])) for row in rows if len(row) == 5)
