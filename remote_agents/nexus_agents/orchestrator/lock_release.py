"""What systemd runs when an orchestrator's process has ended (ExecStopPost=): its lock may be free at once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..shared import kv_schema
from ..shared.consul_api import Consul, ConsulError
from ..shared.notify import log


def main(settings: Mapping[str, Any], token: str) -> int:
    """`settings`: the orchestrator's. No failure is worth a word more: then the timers free it."""
    try:
        session = (Path(settings["runtime"]) / "session").read_text().strip()
        held = Consul(token)
        held.put(f"/v1/kv/{kv_schema.PRIMARY}?release={session}")
        held.put(f"/v1/session/destroy/{session}")
        log(f"released the session of the stopped process at {time.strftime('%H:%M:%S')}")
    except (OSError, ConsulError) as error:
        log(f"nothing released: {error}")
    return 0
