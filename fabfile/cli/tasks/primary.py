"""promote and events: who leads, and what was done."""

from __future__ import annotations

import json as json_
import time
from typing import Any

from invoke.context import Context

from ...core.errors import InputError
from ..console.command import command
from ..console.inputs import inventory
from ..console.output import confirm, say


@command(positional=["host"], help={"host": "the manager that is to be primary"})
def promote(c: Context, host: str, inventory_: str = "", yes: bool = False, debug: bool = False) -> None:
    """Hand the primary over to another manager, cleanly: the old one stops acting before the new one begins."""
    from ...edge.consul.overview import services_health
    from ...edge.consul.service_operations import managers
    from ...edge.consul.service_operations import promote as hand_over
    from ...edge.ssh.fleet import Fleet

    cluster = inventory(inventory_)
    names = [h.name for h in cluster.having("manager")]
    if host not in names:
        raise InputError([f"{host} is not a manager of {cluster.name} ({', '.join(names)} are)"], f"inv promote {names[0]}")
    with Fleet(cluster) as fleet:
        now = services_health(managers(fleet))
        if now.primary == host:
            say(f"{host} is primary already (epoch {now.epoch})")
            return
        confirm(f"Hand the primary of {cluster.name} over from {now.primary or 'nobody'} to {host}?", yes)
        epoch, seconds = hand_over(fleet, host)
    say(f"{host} is primary, epoch {epoch} ({seconds:.1f} s)")


@command(help={"follow": "go on with new events until Ctrl-C", "lines": "how many (default: 50; 0: all)"})
def events(
    c: Context, follow: bool = False, lines: int = 50, json: bool = False, inventory_: str = "", debug: bool = False
) -> None:
    """Show what the primaries did: elections, placements, moves, scaling; oldest first."""
    from ...edge.consul.service_operations import events as read
    from ...edge.ssh.fleet import Fleet

    with Fleet(inventory(inventory_)) as fleet:
        past = list(read(fleet, forever=False))
        for event in past[-lines:] if lines else past:
            _tell(event, json)
        if follow:
            last = max((e["order"] for e in past), default=0)
            for event in read(fleet, forever=True):
                if event["order"] > last:
                    _tell(event, json)


def _tell(event: dict[str, Any], json: bool) -> None:
    if json:
        print(json_.dumps(event), flush=True)
        return
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["at"]))
    print(f"{at}  epoch {event['epoch']:<3} {event['host']:<8} {event['text']}", flush=True)
