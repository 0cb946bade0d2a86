"""The folder of the lab's files: the checkout itself or, for an installed copy, a folder in the operator's home."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ..core.resources import INSTALLED, ROOT
from ..edge.disk.paths import home_folder

FILES = ("hosts.yml", "services.yml")  # of the lab; an installed copy has them beside this module


def home() -> Path:
    """The folder of the lab's hosts.yml. Its state is in `.nexus` there."""
    if not INSTALLED:
        return ROOT
    base = Path(os.environ.get("XDG_DATA_HOME", ""))
    if not base.is_absolute():  # the XDG specification says to ignore relative paths
        base = home_folder(os.environ) / ".local/share"
    return base / "nexus-ops" / "lab"


def inventory() -> Path:
    """The path of the lab's hosts.yml. An installed copy creates it on first use, with services.yml beside it."""
    folder = home()
    for name in FILES:
        if not (folder / name).exists():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(__file__).parent / name, folder / name)
    return folder / "hosts.yml"
