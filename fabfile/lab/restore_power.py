"""The process that `LabPower.arm` starts: restores a node's power at the time that its order names.

Arguments: the order's file, the node's container. It runs as a file, and imports nothing of ours.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

_POLL_PAUSE = 0.5  # seconds


def main(file: Path, container: str) -> None:
    """Ends earlier if the order changes or is gone."""
    order = file.read_text()
    until = float(json.loads(order)["until"])
    while time.time() < until:
        time.sleep(_POLL_PAUSE)
        try:
            if file.read_text() != order:
                return  # a later drill has replaced it
        except OSError:
            return  # the power is on
    subprocess.run(["docker", "start", container], capture_output=True, check=False)
    file.unlink(missing_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
