"""The shell scripts of remote_agents, as they are sent to a host or placed on it.

A script is a file `NAME.sh` or a folder `NAME/` of parts. The parts are joined in a fixed order: `head.sh`, the others
by name, `main.sh`, whose last line is `main "$@"`. So a script that is cut off while it is sent runs nothing, and equal
parts give equal bytes.
"""

from __future__ import annotations

from functools import cache

from ..resources import SCRIPTS

FIRST, LAST = "head.sh", "main.sh"


@cache
def script(name: str) -> str:
    """The script's whole text. FileNotFoundError: there is no such script."""
    folder = SCRIPTS / name
    if not folder.is_dir():
        return (SCRIPTS / f"{name}.sh").read_text()
    middle = sorted(p.name for p in folder.glob("*.sh") if p.name not in (FIRST, LAST))
    return "\n".join((folder / part).read_text() for part in (FIRST, *middle, LAST))


@cache
def python_script(name: str) -> str:
    """A program that is sent to a host's python3 on stdin."""
    return (SCRIPTS / f"{name}.py").read_text()
