"""The record of one drill, kept as JSON: verdict, times, requests, timeline. All reports are functions of it.

Every *_s is in seconds since `began` by the operator's monotonic clock, except detected_s and recovered_s: these count
from the fault (recovered_s from its undo, with `since_undo`). None means never seen, or never asked for; it is never 0.
The field names are the JSON's keys: a renamed field makes old records unreadable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

Verdict: TypeAlias = Literal["PASS", "FAIL", "UNKNOWN", "ABORTED", "SKIPPED"]
MomentKind: TypeAlias = Literal[
    "phase", "fault", "detected", "recovered", "healed", "primary", "event", "abort", "note"
]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
MOMENT_KINDS: tuple[MomentKind, ...] = get_args(MomentKind)


class Sample(NamedTuple):
    """One request: when it was due, the milliseconds until its end, and whether a good answer came."""

    at_s: float
    ms: float
    ok: bool


@dataclass(frozen=True, slots=True)
class Promise:
    """At most so many seconds since the fault, at most so many failed requests; None: not promised."""

    text: str = ""
    recover_s: float | None = None
    detect_s: float | None = None
    failed_requests: int | None = None


@dataclass(frozen=True, slots=True)
class Requests:
    """Counts, and milliseconds by nearest rank over the requests that succeeded; None where none did.

    slow: requests that succeeded but took longer than `slow_ms`. sent = 0: no load was run.
    """

    sent: int = 0
    failed: int = 0
    slow: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None
    slow_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Primary:
    """`host` became the primary of `epoch` at `at_s`; negative where it was before the drill began."""

    host: str
    epoch: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the timeline. A phase lasts until the next phase."""

    at_s: float
    kind: MomentKind
    text: str


@dataclass(frozen=True, slots=True)
class Record:
    """began: unix s. error_s: the probe period: a change can happen that long before a probe sees it.

    two_primaries: findings in the primaries' history; empty: sound, None: not checked. forced: the reason for
    `--force`. version: Consul's. since_undo: the fault is held for a while; recovery and promise count from the undo.
    SKIPPED: the drill does not fit the cluster, so nothing was done; `why` gives the reason.
    """

    drill: str
    verdict: Verdict
    began: float
    target: str = ""
    hosts: tuple[str, ...] = ()
    cluster: str = ""
    why: str = ""
    promise: Promise = field(default_factory=Promise)
    detected_s: float | None = None
    recovered_s: float | None = None
    error_s: float = 0.0
    ttl_s: float = 0.0
    fault_at_s: float | None = None
    healed_at_s: float | None = None
    requests: Requests = field(default_factory=Requests)
    primaries: tuple[Primary, ...] = ()
    two_primaries: tuple[str, ...] | None = None
    timeline: tuple[Moment, ...] = ()
    samples: tuple[Sample, ...] = ()
    forced: str | None = None
    version: str = ""
    since_undo: bool = False

    @property
    def judged(self) -> bool:
        """PASS or FAIL. Any other verdict says nothing about the cluster, so a missing time is no finding."""
        return self.verdict in ("PASS", "FAIL")

    @property
    def recovery_from_s(self) -> float | None:
        """The time from which the recovery counts, in seconds since `began`; None: it never came."""
        return self.healed_at_s if self.since_undo else self.fault_at_s

    @property
    def recovered_at_s(self) -> float | None:
        """Seconds since `began`."""
        start_s = self.recovery_from_s
        return None if self.recovered_s is None or start_s is None else start_s + self.recovered_s

    @property
    def deadline_at_s(self) -> float | None:
        """The end of the promised recovery time, in seconds since `began`."""
        promised = self.promise.recover_s
        return None if promised is None or self.recovery_from_s is None else self.recovery_from_s + promised

    @property
    def detected_at_s(self) -> float | None:
        """Seconds since `began`."""
        return None if self.detected_s is None or self.fault_at_s is None else self.fault_at_s + self.detected_s

    @property
    def ended_s(self) -> float:
        """The time of the last entry of any kind, in seconds since `began`."""
        times = [m.at_s for m in self.timeline] + [s.at_s for s in self.samples] + [p.at_s for p in self.primaries]
        marks = (self.fault_at_s, self.healed_at_s, self.detected_at_s, self.recovered_at_s)
        return max([0.0, *times, *(t for t in marks if t is not None)])

    def to_json(self) -> dict[str, Any]:
        """Plain lists, dicts and numbers; a sample is [at_s, ms, 1 if it succeeded else 0]."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "samples"}
        return {
            **{key: _plain(value) for key, value in values.items()},
            "samples": [[s.at_s, s.ms, int(s.ok)] for s in self.samples],
        }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value


def requests_of(samples: Sequence[Sample | Sequence[float]], slow_ms: float) -> Requests:
    """Counts and percentiles of `[at_s, ms, ok]`. Failed requests do not enter the percentiles: a refused connection
    comes back at once and would flatter them.
    """
    good = sorted(ms for _, ms, ok in samples if ok)
    return Requests(
        sent=len(samples),
        failed=len(samples) - len(good),
        slow=sum(ms > slow_ms for ms in good),
        p50_ms=nearest_rank(good, 50),
        p95_ms=nearest_rank(good, 95),
        p99_ms=nearest_rank(good, 99),
        max_ms=nearest_rank(good, 100),
        slow_ms=slow_ms,
    )


def nearest_rank(ordered: Sequence[float], percent: int) -> float | None:
    """The smallest value that at least `percent` (1-100) of all values do not exceed: always a measured one."""
    return ordered[-(-percent * len(ordered) // 100) - 1] if ordered else None


def earlier_runs(record: Record, others: Sequence[Record], limit: int = 10) -> tuple[Record, ...]:
    """The last runs of the same drill on the same cluster that began before this one, oldest first; no skipped ones."""
    same = [r for r in others if (r.drill, r.cluster) == (record.drill, record.cluster) and r.began < record.began
            and r.verdict != "SKIPPED"]  # fmt: skip
    return tuple(sorted(same, key=lambda r: r.began)[-limit:])


def totals(records: Sequence[Record]) -> Mapping[Verdict, int]:
    """The number of records of each verdict; verdicts without a record are left out."""
    counts = {verdict: sum(r.verdict == verdict for r in records) for verdict in VERDICTS}
    return {verdict: count for verdict, count in counts.items() if count}
