"""Markdown of the benchmarks: tables, and document sections that are replaced one by one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.stats import Sample, Spread, ratio, spread, wall_times

TITLE = """# Benchmarks

Whole processes, from the shell's point of view, measured on one machine that runs the operator's side and the
hosts (the lab's containers). The tools take turns, round by round; a ratio is taken within each round, and the
median of the rounds is given. Absolute seconds are this machine's own: trust the ratios.
Each section is written by the command in its title.
"""

COLUMNS = ("", "tool", "median s", "min", "max", "CPU s (user)", "peak MB", "× ours (min–max)")


def format_number(value: float) -> str:
    """At least three significant digits, at most two decimals."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def format_ratio(ratio: Spread) -> str:
    """`6.1× (5.8–6.4)`."""
    return f"{format_number(ratio.median)}× ({format_number(ratio.low)}–{format_number(ratio.high)})"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first two columns are text, aligned left; the others are numbers, aligned right."""
    rule = ["---" if index < 2 else "--:" for index in range(len(columns))]
    return "".join("| " + " | ".join(row) + " |\n" for row in (columns, rule, *rows))


def comparison_rows(scenario: str, samples: Mapping[str, Sequence[Sample]], ours: str) -> list[list[str]]:
    """One row for each tool: scenario, name, wall time (median, min, max), CPU, memory, and its ratio to `ours`."""
    rows = []
    for name, runs in samples.items():
        wall = spread(wall_times(runs))
        cpu, user = spread([s.cpu for s in runs]).median, spread([s.user for s in runs]).median
        times_ours = "1" if name == ours else format_ratio(ratio(runs, samples[ours]))
        rows.append([
            scenario, name, format_number(wall.median), format_number(wall.low), format_number(wall.high),
            f"{format_number(cpu)} ({format_number(user)})", f"{max(s.memory for s in runs):.0f}", times_ours,
        ])  # fmt: skip
    return rows


def goal_line(goal: str, wanted: float, reached: float, more_is_better: bool = True) -> str:
    """One line: the goal, the number that was reached, and whether the goal is met."""
    met = reached >= wanted if more_is_better else reached <= wanted
    return f"- {'met' if met else 'MISSED'}: {goal}: {format_number(reached)}\n"


def render_section(command: str, parts: Sequence[str]) -> str:
    """A benchmark's section, between markers with its name: `COMMAND`, or `COMMAND, DETAIL` (a version of Consul)."""
    body = "\n".join(part.strip("\n") + "\n" for part in parts)
    name, comma, detail = command.partition(",")
    return f"<!-- {command} -->\n## `inv {name}`{comma}{detail}\n\n{body}<!-- /{command} -->\n"


def replace_section(document: str, command: str, text: str) -> str:
    """The document with `command`'s section replaced, or added at its end. Every other byte stays as it was."""
    start, end = f"<!-- {command} -->\n", f"<!-- /{command} -->\n"
    before, found, rest = document.partition(start)
    if not found:
        return (document or TITLE).rstrip("\n") + "\n\n" + text
    _, closed, after = rest.partition(end)
    if not closed:
        raise ValueError(f"the document's section {command} is opened and never closed")
    return before + text + after
