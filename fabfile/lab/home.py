"""Where the lab's files lie: in a checkout, the checkout itself; for an installed copy, a folder of the operator's own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ..core.resources import INSTALLED, ROOT

FILES = ("hosts.yml", "services.yml")  # that name the lab, shipped beside this module in an installed copy


def home() -> Path:
    """The folder of the lab's hosts.yml. Its state is in `.nexus` there."""
    if not INSTALLED:
        return ROOT
    base = Path(os.environ.get("XDG_DATA_HOME", ""))
    if not base.is_absolute():  # the XDG specification has relative ones ignored
        base = Path(os.environ.get("HOME") or Path.home()) / ".local/share"
    return base / "nexus-ops" / "lab"


def inventory() -> Path:
    """The lab's hosts.yml. An installed copy puts it there on first use, with services.yml beside it."""
    folder = home()
    for name in FILES:
        if not (folder / name).exists():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(__file__).parent / name, folder / name)
    return folder / "hosts.yml"
