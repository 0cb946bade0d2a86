"""Results of bench.failover: stored in the document as JSON lines, compared with the expectations, shown as tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf

from bench.expectations import MAIN, SCENARIOS, Expectation, expectations_of
from bench.report import format_number, table
from bench.stats import spread
from fabfile.core.errors import InputError

COMMAND = "bench.failover"
_OPEN, _CLOSE = "<!-- numbers", "-->"


@dataclass(frozen=True, slots=True)
class Run:
    """One run; its field names are keys in the document.

    seconds:      metric -> s. None: not within the limit; a metric that could not be measured is absent
    failed, sent: requests through the balancer
    faults:       what was wrong besides the times, a sentence each
    """

    seconds: Mapping[str, float | None]
    failed: int = 0
    sent: int = 0
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """All runs of one scenario (`name`) with one version of Consul; its field names are keys in the document."""

    version: str
    name: str
    machine: str
    runs: tuple[Run, ...]


def dump(results: Iterable[ScenarioResult]) -> str:
    """An HTML comment, which a reader of the document does not see; `load` reads it."""
    lines = [json.dumps(asdict(r)).replace(">", "\\u003e") for r in results]  # no `-->` inside
    return "\n".join([_OPEN, *lines, _CLOSE]) + "\n"


def load(document: str) -> tuple[ScenarioResult, ...]:
    """The results in the document's section. InputError: somebody edited them by hand."""
    section = document.partition(f"<!-- {COMMAND} -->\n")[2].partition(f"<!-- /{COMMAND} -->")[0]
    lines = section.partition(_OPEN + "\n")[2].partition(_CLOSE)[0].splitlines()
    try:
        return tuple(_from_json(json.loads(line)) for line in lines)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError([f"the numbers of {COMMAND} in the document cannot be read: {error}"],
                         "remove the section from the document, and measure again") from error  # fmt: skip


def _from_json(data: Mapping[str, object]) -> ScenarioResult:
    runs = data["runs"]
    if not isinstance(runs, list) or not runs:
        raise ValueError("a scenario without runs")
    parsed = tuple(Run(**{**run, "faults": tuple(run["faults"])}) for run in runs)
    return ScenarioResult(str(data["version"]), str(data["name"]), str(data["machine"]), parsed)


def merge(old: Sequence[ScenarioResult], new: ScenarioResult) -> tuple[ScenarioResult, ...]:
    """`new` replaces the older result with the same Consul. Sorted by version, then in the table's order."""
    kept = [r for r in old if (r.version, r.name) != (new.version, new.name) and r.name in SCENARIOS]
    return tuple(sorted([*kept, new], key=lambda r: (_release(r.version), SCENARIOS.index(r.name))))


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def values(row: Expectation, result: ScenarioResult) -> list[float]:
    """The seconds of each run that was measured; never is infinite."""
    measured = [run.seconds[row.metric] for run in result.runs if row.metric in run.seconds]
    return [inf if value is None else value for value in measured]


def format_seconds(value: float) -> str:
    return "never" if value == inf else format_number(value)


def verdict(row: Expectation, result: ScenarioResult) -> str:
    """Whether the promise held. A scenario's faults and requests count on its main line only."""
    seconds = values(row, result)
    failures = list(_failures(row, result, seconds))
    if failures:
        return f"FAIL: {'; '.join(failures)}".replace("|", "/")
    if row.limit is None:
        return ""
    return "aim met" if row.aim is not None and spread(seconds).median <= row.aim else "promise kept"


def _failures(row: Expectation, result: ScenarioResult, seconds: Sequence[float]) -> Iterator[str]:
    if row.metric == MAIN and (faults := [f for run in result.runs for f in run.faults]):
        yield faults[0] + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else "")
    if not seconds:
        yield "not measured"
    elif (never := sum(value == inf for value in seconds)) and (row.limit is not None or never == len(seconds)):
        yield f"never in {never} of {len(seconds)} runs"
    elif row.limit is not None and max(seconds) > row.limit:
        yield f"{format_number(max(seconds))} s, not {row.limit:g} s"
    if row.no_failed_requests and (failed := sum(run.failed for run in result.runs)):
        yield f"{failed} requests failed"


def failing(results: Sequence[ScenarioResult], version: str, names: Sequence[str]) -> list[str]:
    """The table's lines of these scenarios that FAIL."""
    by_name = {r.name: r for r in results if r.version == version and r.name in names}
    return [
        row.fault for row in expectations_of(tuple(by_name)) if verdict(row, by_name[row.scenario]).startswith("FAIL")
    ]


def cells(row: Expectation, result: ScenarioResult) -> list[str]:
    """Median, min-max, failed requests of sent, runs, verdict."""
    seconds, runs = values(row, result), result.runs
    range_ = spread(seconds) if seconds else None
    count = str(len(runs)) if len(seconds) == len(runs) else f"{len(seconds)} of {len(runs)}"
    return [
        format_seconds(range_.median) if range_ else "-",
        f"{format_seconds(range_.low)}–{format_seconds(range_.high)}" if range_ else "-",
        f"{sum(r.failed for r in runs)} of {sum(r.sent for r in runs)}" if row.metric == MAIN else "",
        count,
        verdict(row, result),
    ]


def _promises(row: Expectation) -> list[str]:
    return [row.fault, row.seed or "-", row.promise or "-", "-" if row.aim is None else f"{row.aim:g} s"]


def version_table(results: Sequence[ScenarioResult], version: str) -> str:
    """One version's table under a line with version and machine, then every fault of its runs."""
    by_name = {r.name: r for r in results if r.version == version}
    measured = ("median s", "min–max", "failed of sent", "runs", "verdict")
    columns = ("fault", "seed promised", "we promise", "aim", *measured)
    rows = [[*_promises(row), *cells(row, by_name[row.scenario])] for row in expectations_of(tuple(by_name))]
    machines = " / ".join(dict.fromkeys(r.machine for r in by_name.values()))
    faults = [f"- {name}, run {n}: {fault}\n" for name, result in by_name.items()
              for n, run in enumerate(result.runs, 1) for fault in run.faults]  # fmt: skip
    return f"Consul {version}. {machines}.\n\n{table(columns, rows)}" + ("\n" + "".join(faults) if faults else "")


def versions_table(results: Sequence[ScenarioResult]) -> str:
    """A column for each version of Consul: median (min–max) and whether the promise held. Empty for one version."""
    versions = list(dict.fromkeys(r.version for r in results))
    if len(versions) < 2:
        return ""
    by_version = {(r.version, r.name): r for r in results}
    rows = []
    for row in expectations_of([r.name for r in results]):
        pair = [by_version.get((version, row.scenario)) for version in versions]
        rows.append([*_promises(row), *(_short(row, result) if result else "-" for result in pair)])
    columns = ("fault", "seed promised", "we promise", "aim", *(f"Consul {v}: median s (min–max)" for v in versions))
    return table(columns, rows)


def _short(row: Expectation, result: ScenarioResult) -> str:
    median, ends, _, _, outcome = cells(row, result)
    return f"{median} ({ends})" + (" FAIL" if outcome.startswith("FAIL") else "")
