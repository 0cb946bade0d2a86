"""A service's instance as a systemd unit. Pure. Values are quoted: neither systemd nor Docker interprets them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..shared.kv_schema import instance_id

FOLDER = "/run/systemd/system"  # empty after a reboot: then the agent writes the units again, from its orders on disk
ENV = "/run/nexus-worker"
REVISION = "X-Nexus-Revision="
Spec = Mapping[str, Any]

_HEAD = """\
# Made by nexus-worker, which follows its orders: an edit here is undone. See `inv service.list`.
[Unit]
Description=Service {name}, kept by Nexus Ops
StartLimitIntervalSec=0
# When the host stops, the worker agent goes first: it takes the instances out of Consul.
Before=nexus-worker.service
{engine}
[Service]
{revision}{value}
Restart=always
RestartSec=200ms
TimeoutStopSec={stop}
KillMode=mixed
SyslogIdentifier={name}
CPUAccounting=yes
"""
_HARDENED = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
"""


def unit_text(spec: Spec) -> str:
    """The unit of one instance. Its environment is in a file of its own (`env_path`), as it may contain secrets."""
    docker = spec["image"] is not None
    engine = "Wants=docker.service\nAfter=docker.service\n" if docker else ""
    head = _HEAD.format(
        name=spec["name"], engine=engine, revision=REVISION, value=spec["revision"],
        stop=f"{spec['stop_timeout'] + docker * 5:g}",
    )  # fmt: skip
    return head + ("\n".join(_container(spec)) if docker else "\n".join(_process(spec)) + "\n" + _HARDENED)


def _process(spec: Spec) -> list[str]:
    low_port = spec["port"] is not None and spec["port"] < 1024
    capability = "CAP_NET_BIND_SERVICE" if low_port else ""
    own = instance_id(spec["name"])
    lines = [
        f"ExecStart=:{quoted(spec['command'])}",
        f"User={spec['user']}" if spec["user"] else "DynamicUser=yes",
        f"EnvironmentFile={env_path(spec['name'])}",
        f"StateDirectory={own}",
        f"WorkingDirectory=/var/lib/{own}",
        f"CapabilityBoundingSet={capability}",
    ]
    if low_port:
        lines.append(f"AmbientCapabilities={capability}")
    if spec["memory_mb"]:
        lines += [f"MemoryMax={spec['memory_mb']}M", "MemorySwapMax=0"]
    if spec["cpu"]:
        lines.append(f"CPUQuota={max(1, round(spec['cpu'] * 100, 2)):g}%")  # with more decimals, systemd ignores it
    return lines


def _container(spec: Spec) -> list[str]:
    """Docker's client runs in the foreground, so that systemd sees when the container ends, and logs its output.

    It pulls nothing: the image is there (`image_pulls`), and a pull in here would count as a start that hangs.
    """
    own = instance_id(spec["name"])
    run = ["/usr/bin/docker", "run", "--rm", "--name", own, "--env-file", env_path(spec["name"]), "--log-driver", "none"]
    run += ["--security-opt", "no-new-privileges", "--init", "--pull", "never"]
    if spec["port"]:
        run += ["--publish", f"{spec['port']}:{spec['target_port'] or spec['port']}"]
    if spec["user"]:
        run += ["--user", spec["user"]]
    if spec["memory_mb"]:
        run += ["--memory", f"{spec['memory_mb']}m", "--memory-swap", f"{spec['memory_mb']}m"]
    if spec["cpu"]:
        run += ["--cpus", f"{spec['cpu']:g}"]
    return [
        f"ExecStartPre=-/usr/bin/docker rm --force {own}",
        f"ExecStart=:{quoted([*run, spec['image'], *(spec['command'] or ())])}",
        f"ExecStop=-/usr/bin/docker stop -t {math.ceil(spec['stop_timeout'])} {own}",
        f"ExecStopPost=-/usr/bin/docker rm --force {own}",
        "",
    ]


def quoted(argv: Sequence[str]) -> str:
    """For `ExecStart=:`, where `$` has no meaning: each argument in quotes, `%` and `\\` doubled."""
    return " ".join('"' + w.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"' for w in argv)


def env_path(service: str) -> str:
    return f"{ENV}/{service}.env"


def env_text(spec: Spec, host: str) -> str:
    """For systemd (quoted) or, with an image, for Docker, which takes everything after the first `=` literally."""
    own = {"NEXUS_SERVICE": spec["name"], "NEXUS_HOST": host} | ({"PORT": str(spec["port"])} if spec["port"] else {})
    values = {**own, **spec["env"]}
    if spec["image"] is not None:
        return "".join(f"{k}={v}\n" for k, v in sorted(values.items()))
    return "".join(f'{k}="{_escaped(v)}"\n' for k, v in sorted(values.items()))


def _escaped(value: str) -> str:
    for special in '\\"`$':
        value = value.replace(special, "\\" + special)
    return value


def revision_of(text: str) -> str | None:
    """The revision in a unit's text; None without one."""
    return next((line[len(REVISION):] for line in text.splitlines() if line.startswith(REVISION)), None)
