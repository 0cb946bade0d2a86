"""Faults of a whole host: it loses its power."""

from __future__ import annotations

from ..verdict.record import Promise
from .model import ANY_TARGET, Argument, Fault, GamedayRun, SpecialCase

FAULTS = (
    Fault(
        name="stop-host",
        does="Takes the power from a host; in the lab by its engine, on a server by an instant restart.",
        measures="How soon what ran there runs elsewhere, and whether users notice.",
        target_kinds=ANY_TARGET, default_target="one",
        arguments=(
            Argument("way-back", "none", "how it comes back: nobody knows, or by a restart", ("none", "reboot")),
        ),
        needs=("way-back",), power_off_when=("way-back", "none"),
        losses=frozenset({"instances", "quorum", "balancer"}), ttl=180, hold=20,
        detection="member_failed", recovery="steady_elsewhere",
        promise=Promise("no failed request through the balancer; replicas elsewhere in 30 s", 30, failed_requests=0),
        special_cases=(
            SpecialCase(
                "primary", "on_primary", "on the primary's host",
                Promise("a standby acts in 15 s; no failed request through the balancer; replicas elsewhere in 30 s",
                        30, 15, failed_requests=0),
                "primary_changed", "steady_elsewhere",
            ),
            SpecialCase(
                "quorum", "breaks_quorum", "on a majority of the managers",
                # the 60 is ours
                Promise("workers go on; all recovers unattended within 60 s of a majority's return", 60),
                "member_failed", "steady_after",
            ),
        ),
        gameday_position=180, gameday_runs=(GamedayRun(), GamedayRun("primary")),
    ),
)  # fmt: skip
