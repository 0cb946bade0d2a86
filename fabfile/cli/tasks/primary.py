"""promote and events: hand the primary over, and show what the primaries did."""

from __future__ import annotations

import json as json_
from typing import Any

from invoke.context import Context

from ...core.errors import InputError
from ...core.text import local_time
from ..console.command import command
from ..console.inputs import load_inventory
from ..console.output import confirm, say


@command(positional=["host"], help={"host": "the manager that becomes primary"})
def promote(c: Context, host: str, inventory_: str = "", yes: bool = False, debug: bool = False) -> None:
    """Hand the primary over to another manager, cleanly: the old one stops acting before the new one begins."""
    from ...edge.consul.overview import services_health
    from ...edge.consul.service_operations import managers
    from ...edge.consul.service_operations import promote as hand_over
    from ...edge.ssh.fleet import Fleet

    cluster = load_inventory(inventory_)
    names = [h.name for h in cluster.having("manager")]
    if host not in names:
        fault = f"{host} is not a manager of {cluster.name} ({', '.join(names)} are)"
        raise InputError([fault], f"inv promote {names[0]}")
    with Fleet(cluster) as fleet:
        health = services_health(managers(fleet))
        if health.primary == host:
            say(f"{host} is primary already (epoch {health.epoch})")
            return
        confirm(f"Hand the primary of {cluster.name} over from {health.primary or 'nobody'} to {host}?", yes)
        epoch, seconds = hand_over(fleet, host)
    say(f"{host} is primary, epoch {epoch} ({seconds:.1f} s)")


@command(help={"follow": "go on with new events until Ctrl-C", "lines": "how many (default: 50; 0: all)"})
def events(
    c: Context, follow: bool = False, lines: int = 50, json: bool = False, inventory_: str = "", debug: bool = False
) -> None:
    """Show what the primaries did: elections, placements, moves, scaling; oldest first."""
    from ...edge.consul.service_operations import events as read_events
    from ...edge.ssh.fleet import Fleet

    with Fleet(load_inventory(inventory_)) as fleet:
        past = list(read_events(fleet, forever=False))
        for event in past[-lines:] if lines else past:
            _print_event(event, json)
        if follow:
            last = max((e["order"] for e in past), default=0)
            for event in read_events(fleet, forever=True):
                if event["order"] > last:
                    _print_event(event, json)


def _print_event(event: dict[str, Any], json: bool) -> None:
    if json:
        print(json_.dumps(event), flush=True)
        return
    print(f"{local_time(event['at'])}  epoch {event['epoch']:<3} {event['host']:<8} {event['text']}", flush=True)
