"""Input and output of the placement: workers, instances, desired services, actions. Values only.

A revision is an opaque name of a service's whole spec. Hosts and services are identified by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Worker:
    """alive: False only where Consul calls it dead long enough. flapping: see `flapping.flapping`."""

    name: str
    alive: bool
    labels: Mapping[str, str] = field(default_factory=dict)
    flapping: bool = False


@dataclass(frozen=True, slots=True)
class Instance:
    """What runs, by the worker's report (revision, state) and Consul's checks (passing).

    state: pulling | pull-failed | starting | running | looping | stopping | failed | unknown
    failures: how often it ended since it last passed; note: the worker's remark for people
    """

    revision: str
    passing: bool
    state: str = "running"
    failures: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """orders: host -> service -> revision, as in the KV store. instances: by (service, host).
    misfits: (service, host) -> why the service, in its desired revision, cannot live there (see `misfits`)."""

    workers: Mapping[str, Worker]
    orders: Mapping[str, Mapping[str, str]]
    instances: Mapping[tuple[str, str], Instance]
    misfits: Mapping[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DesiredService:
    """count: None means one on every worker with the labels."""

    name: str
    revision: str
    count: int | None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Action:
    """One order to change. place: add; replace: change its revision; remove: delete (`revision` is the old one)."""

    kind: Literal["place", "remove", "replace"]
    service: str
    host: str
    revision: str
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """notes: what an operator should know, one line each. sentence: one short line for the journal."""

    actions: tuple[Action, ...]
    notes: tuple[str, ...]
    sentence: str
