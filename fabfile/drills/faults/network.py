"""Faults of the network between hosts: cut, lossy, slow. SSH is always spared."""

from __future__ import annotations

from ..verdict.record import Promise
from .model import ANY_TARGET, Argument, Fault, GamedayRun, SpecialCase, steady_after_undo

FAULTS = (
    Fault(
        name="partition",
        does="Cuts the network between the target and all other hosts; SSH stays open.",
        measures="That the cut-off side never acts, and how soon the other side has taken over.",
        target_kinds=ANY_TARGET, default_target="minority",
        arguments=(
            Argument("way", "both", "what is lost: both ways, what comes in, what goes out, or UDP alone (gossip)",
                     ("both", "in", "out", "udp")),
        ),
        needs=("nft",), peers="outside", losses=frozenset({"instances", "quorum", "balancer"}), ttl=120, hold=20,
        detection="member_failed", recovery="steady_elsewhere",
        # from outside, a cut looks like a dead host, so it is held to the same times; all of these are ours
        promise=Promise("the cut-off side never acts; replicas on the other side in 30 s", 30),
        special_cases=(
            SpecialCase(
                "primary", "on_primary", "on the primary's host",
                Promise("the cut-off side never acts; a standby acts in 15 s; replicas elsewhere in 30 s", 30, 15),
                "primary_changed", "steady_elsewhere",
            ),
            SpecialCase(
                "quorum", "breaks_quorum", "on a majority of the managers",
                Promise("workers go on; no two primaries; all recovers unattended within 60 s of the undo", 60),
                "member_failed", "steady_after",
            ),
            # gossip that gets no answer by UDP asks by TCP, so nobody is dead
            SpecialCase("udp", ("way", "udp"), "with --way udp", steady_after_undo(30), "none", "steady_after"),
        ),
        gameday_position=170,
        gameday_runs=(GamedayRun("one"), GamedayRun("one", {"way": "udp"}), GamedayRun("minority")),
    ),
    Fault(
        name="packet-loss",
        does="Loses a share of the packets between a host and all others, both ways; SSH is spared.",
        measures="That services and primary hold, and how soon all is steady once the network is well.",
        target_kinds=ANY_TARGET, default_target="one",
        arguments=(Argument("percent", "20", "the share of packets that is lost", low=1, high=100, unit="%"),),
        needs=("nft",), peers="others", losses=frozenset({"quorum"}), ttl=120, hold=30,
        detection="none", recovery="steady_after", promise=steady_after_undo(30),  # ours
        gameday_position=110,
    ),
    Fault(
        name="latency",
        does="Delays what a host sends to all others; SSH is spared.",
        measures="That services and primary hold, and how soon all is steady once the network is well.",
        target_kinds=ANY_TARGET, default_target="one",
        arguments=(Argument("ms", "100", "the delay of each packet", low=1, high=10000, unit="milliseconds"),),
        needs=("netem",), peers="others", losses=frozenset({"quorum"}), ttl=120, hold=30,
        detection="none", recovery="steady_after", promise=steady_after_undo(30),  # ours
        gameday_position=120,
    ),
)  # fmt: skip
