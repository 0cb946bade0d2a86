"""What the orchestrator's decision is made of: what is, what is wanted, what is to be done. Values only.

A revision is an opaque name of a service's whole spec. Hosts and services are known by their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Worker:
    """alive: False only where Consul confirms it dead. flapping: as nexus_agents.orchestrator.flapping has it."""

    name: str
    alive: bool
    labels: Mapping[str, str] = field(default_factory=dict)
    flapping: bool = False


@dataclass(frozen=True, slots=True)
class Instance:
    """What runs, by the worker's report (revision, state) and Consul's check (passing).

    state: starting | running | looping | stopping | failed | unknown
    """

    revision: str
    passing: bool
    state: str = "running"


@dataclass(frozen=True, slots=True)
class Observed:
    """orders: host -> service -> revision, as the KV store has them. instances: by (service, host)."""

    workers: Mapping[str, Worker]
    orders: Mapping[str, Mapping[str, str]]
    instances: Mapping[tuple[str, str], Instance]


@dataclass(frozen=True, slots=True)
class DesiredService:
    """count: None is one on every worker that carries the labels."""

    name: str
    revision: str
    count: int | None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Action:
    """One order to change. place: where there is none; replace: its revision; remove: `revision` is the one that goes."""

    kind: Literal["place", "remove", "replace"]
    service: str
    host: str
    revision: str
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """notes: what an operator should know, a line each. sentence: one short line for the journal."""

    actions: tuple[Action, ...]
    notes: tuple[str, ...]
    sentence: str
