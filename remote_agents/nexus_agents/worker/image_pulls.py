"""The pull of an image as a systemd unit of its own: it outlives the agent, and has its own limit of time. Pure.

An instance is stopped, and started, only once its image is there: so a slow registry costs no service, and a start is
measured from the container on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .instance_units import ENV, quoted

LIMIT = 30  # minutes for one try
RETRY_PAUSE = 15  # seconds until the next one
MAX_REASON = 300  # characters
UNIT_PREFIX = "nexus-pull-"
IMAGE = "X-Nexus-Image="

_UNIT = """\
# Made by nexus-worker, which follows its orders: an edit here is undone. See `inv service.list`.
[Unit]
Description=Image of the service {name}, pulled for Nexus Ops
StartLimitIntervalSec=0
CollectMode=inactive-or-failed
Wants=docker.service
After=docker.service

[Service]
{key}{image}
Type=oneshot
RemainAfterExit=yes
UMask=0077
TimeoutStartSec={limit}min
TimeoutStopSec=10s
Restart=on-failure
RestartSec={pause}s
SyslogIdentifier={name}
ExecStart=:{command}
"""
# An image that is there is not asked for again: neither a reboot nor a registry that is away stops a service.
_SCRIPT = (
    '/usr/bin/docker image inspect "$1" >/dev/null 2>&1 || /usr/bin/docker pull --quiet "$1" >/dev/null 2>"$2" || '
    '{ cat "$2" >&2; exit 1; }'
)


@dataclass(frozen=True, slots=True)
class Pull:
    """Of one service's image. failed: the next try follows by itself; reason: why, in Docker's words."""

    image: str
    state: Literal["pulling", "ready", "failed"]
    reason: str = ""


def pull_unit(service: str) -> str:
    return f"{UNIT_PREFIX}{service}.service"


def pull_output(service: str) -> str:
    """The file with what Docker said of the last try."""
    return f"{ENV}/{service}.pull"


def pull_text(spec: Mapping[str, Any]) -> str:
    """The unit that makes sure of the image of this spec, and tries again for as long as it is there."""
    name, image = spec["name"], spec["image"]
    command = quoted(["/bin/sh", "-c", _SCRIPT, "pull", image, pull_output(name)])
    return _UNIT.format(name=name, key=IMAGE, image=image, limit=LIMIT, pause=RETRY_PAUSE, command=command)


def image_of(text: str) -> str:
    """The image in a pull's unit; empty without one."""
    return next((line[len(IMAGE) :] for line in text.splitlines() if line.startswith(IMAGE)), "")


def read_pull(image: str, properties: Mapping[str, str], output: str) -> Pull | None:
    """From systemd's ActiveState, SubState and Result, and Docker's output. None: it is not under way."""
    active = properties.get("ActiveState")
    if active == "active":
        return Pull(image, "ready")
    if active != "activating":
        return None
    if properties.get("SubState") != "auto-restart":
        return Pull(image, "pulling")
    if properties.get("Result") == "timeout":
        return Pull(image, "failed", f"it did not end within {LIMIT} minutes")
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return Pull(image, "failed", lines[-1][:MAX_REASON] if lines else "systemctl status says why")
