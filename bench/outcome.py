"""What runs under faults have shown: kept in the document as JSON lines, told as tables. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf

from bench.promised import MAIN, NAMES, Row, rows_of
from bench.report import number, table
from bench.stats import spread
from fabfile.core.errors import InputError

COMMAND = "bench.failover"
_OPEN, _CLOSE = "<!-- numbers", "-->"


@dataclass(frozen=True, slots=True)
class Run:
    """One run. seconds: part -> s, None: never within the limit; a part that is absent could not be measured.

    failed, sent: requests through the balancer. faults: what was wrong beside the times, a sentence each.
    """

    seconds: Mapping[str, float | None]
    failed: int = 0
    sent: int = 0
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """All runs of one scenario (`name`) with one version of Consul."""

    version: str
    name: str
    machine: str
    runs: tuple[Run, ...]


def dumped(results: Iterable[Result]) -> str:
    """A comment that the reader of the document does not see; `read` does."""
    lines = [json.dumps(asdict(r)).replace(">", "\\u003e") for r in results]  # no `-->` inside
    return "\n".join([_OPEN, *lines, _CLOSE]) + "\n"


def read(document: str) -> tuple[Result, ...]:
    """The numbers that the document's section keeps. InputError: somebody has edited them by hand."""
    section = document.partition(f"<!-- {COMMAND} -->\n")[2].partition(f"<!-- /{COMMAND} -->")[0]
    lines = section.partition(_OPEN + "\n")[2].partition(_CLOSE)[0].splitlines()
    try:
        return tuple(_result(json.loads(line)) for line in lines)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError([f"the numbers of {COMMAND} in the document cannot be read: {error}"],
                         "remove the section from the document, and measure again") from error  # fmt: skip


def _result(found: Mapping[str, object]) -> Result:
    runs = found["runs"]
    if not isinstance(runs, list) or not runs:
        raise ValueError("a scenario without runs")
    made = tuple(Run(**{**run, "faults": tuple(run["faults"])}) for run in runs)
    return Result(str(found["version"]), str(found["name"]), str(found["machine"]), made)


def merged(old: Sequence[Result], new: Result) -> tuple[Result, ...]:
    """`new` in the place of what was measured before with the same Consul; by version, then in the table's order."""
    kept = [r for r in old if (r.version, r.name) != (new.version, new.name) and r.name in NAMES]
    return tuple(sorted([*kept, new], key=lambda r: (_release(r.version), NAMES.index(r.name))))


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def values(row: Row, result: Result) -> list[float]:
    """The seconds of each run that was measured; never is infinite."""
    told = [run.seconds[row.part] for run in result.runs if row.part in run.seconds]
    return [inf if value is None else value for value in told]


def shown(value: float) -> str:
    return "never" if value == inf else number(value)


def verdict(row: Row, result: Result) -> str:
    """What became of the promise; a scenario's faults and requests are told on its main line."""
    found = values(row, result)
    wrong = list(_wrong(row, result, found))
    if wrong:
        return f"FAIL: {'; '.join(wrong)}".replace("|", "/")
    if row.limit is None:
        return ""
    return "aim met" if row.aim is not None and spread(found).median <= row.aim else "promise kept"


def _wrong(row: Row, result: Result, found: Sequence[float]) -> Iterator[str]:
    if row.part == MAIN and (bad := [f for run in result.runs for f in run.faults]):
        yield bad[0] + (f" (and {len(bad) - 1} more)" if len(bad) > 1 else "")
    if not found:
        yield "not measured"
    elif (never := sum(value == inf for value in found)) and (row.limit is not None or never == len(found)):
        yield f"never in {never} of {len(found)} runs"
    elif row.limit is not None and max(found) > row.limit:
        yield f"{number(max(found))} s, not {row.limit:g} s"
    if row.unfailing and (failed := sum(run.failed for run in result.runs)):
        yield f"{failed} requests failed"


def failing(results: Sequence[Result], version: str, names: Sequence[str]) -> list[str]:
    """Of these scenarios the lines that FAIL."""
    mine = {r.name: r for r in results if r.version == version and r.name in names}
    return [row.fault for row in rows_of(tuple(mine)) if verdict(row, mine[row.name]).startswith("FAIL")]


def cells(row: Row, result: Result) -> list[str]:
    """Median, min-max, failed requests of sent, runs, verdict."""
    found, runs = values(row, result), result.runs
    told = spread(found) if found else None
    count = str(len(runs)) if len(found) == len(runs) else f"{len(found)} of {len(runs)}"
    return [
        shown(told.median) if told else "-",
        f"{shown(told.low)}–{shown(told.high)}" if told else "-",
        f"{sum(r.failed for r in runs)} of {sum(r.sent for r in runs)}" if row.part == MAIN else "",
        count,
        verdict(row, result),
    ]


def _promises(row: Row) -> list[str]:
    return [row.fault, row.seed or "-", row.promise or "-", "-" if row.aim is None else f"{row.aim:g} s"]


def whole_table(results: Sequence[Result], version: str) -> str:
    """One version's table under its line of version and machine, and every fault that its runs have met."""
    mine = {r.name: r for r in results if r.version == version}
    columns = ("fault", "seed promised", "we promise", "aim", "median s", "min–max", "failed of sent", "runs", "verdict")
    rows = [[*_promises(row), *cells(row, mine[row.name])] for row in rows_of(tuple(mine))]
    machines = " / ".join(dict.fromkeys(r.machine for r in mine.values()))
    faults = [f"- {name}, run {n}: {fault}\n" for name, result in mine.items() for n, run in enumerate(result.runs, 1)
              for fault in run.faults]  # fmt: skip
    return f"Consul {version}. {machines}.\n\n{table(columns, rows)}" + ("\n" + "".join(faults) if faults else "")


def side_by_side(results: Sequence[Result]) -> str:
    """A column for each version of Consul: median (min–max) and whether the promise held. Empty for one version."""
    versions = list(dict.fromkeys(r.version for r in results))
    if len(versions) < 2:
        return ""
    by = {(r.version, r.name): r for r in results}
    rows = []
    for row in rows_of([r.name for r in results]):
        pair = [by.get((version, row.name)) for version in versions]
        rows.append([*_promises(row), *(_short(row, result) if result else "-" for result in pair)])
    columns = ("fault", "seed promised", "we promise", "aim", *(f"Consul {v}: median s (min–max)" for v in versions))
    return table(columns, rows)


def _short(row: Row, result: Result) -> str:
    middle, ends, _, _, word = cells(row, result)
    return f"{middle} ({ends})" + (" FAIL" if word.startswith("FAIL") else "")
