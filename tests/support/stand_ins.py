"""Scripts of remote_agents that find a test's stand-ins (systemctl, docker, ...) before the programs of this machine.

The scripts set PATH themselves, so no environment reaches them: neither an operator's nor a test's. A test changes the
text instead: the value in this one line, and nothing else.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from fabfile.core.state.scripts import script

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PATH_LINE = f"PATH={PATH}"


def script_with(name: str, programs: Path, *, alone: bool = False) -> str:
    """The script with the folder `programs` first in its PATH; `alone`: with nothing else there."""
    lines = script(name).splitlines(keepends=True)
    assert lines.count(f"{PATH_LINE}\n") == 1
    value = str(programs) if alone else f"{programs}:{PATH}"
    lines[lines.index(f"{PATH_LINE}\n")] = f"PATH={shlex.quote(value)}\n"
    return "".join(lines)


def script_file(name: str, folder: Path, programs: Path, *, alone: bool = False) -> Path:
    """The same, as a file in `folder`."""
    path = folder / f"{name}.sh"
    path.write_text(script_with(name, programs, alone=alone))
    return path
