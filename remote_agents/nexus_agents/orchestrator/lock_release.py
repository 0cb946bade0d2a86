"""`ExecStopPost=` of the orchestrator's unit: releases the lock of a process that has ended."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..shared import kv_schema
from ..shared.consul_api import Consul, ConsulError
from ..shared.notify import log


def session_file(runtime: Path) -> Path:
    """The file with the id of the orchestrator's session, in its runtime folder."""
    return runtime / "session"


def main(settings: Mapping[str, Any], token: str) -> int:
    """`settings`: the orchestrator's. A failure is only logged: the session's check and TTL free the lock then."""
    try:
        session = session_file(Path(settings["runtime"])).read_text().strip()
        consul = Consul(token)
        consul.put(f"/v1/kv/{kv_schema.PRIMARY}?release={session}")
        consul.put(f"/v1/session/destroy/{session}")
        log(f"released the session of the stopped process at {time.strftime('%H:%M:%S')}")
    except (OSError, ConsulError) as error:
        log(f"nothing released: {error}")
    return 0
