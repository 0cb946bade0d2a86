"""Markdown: tables, and sections of a document that can be replaced one by one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.stats import Sample, Spread, ratio, spread, walls

TITLE = """# Benchmarks

Whole processes, from the shell's point of view, measured on one machine that runs the operator's side and the
hosts (the lab's containers). The tools take turns, round by round; a ratio is taken within each round, and the
median of the rounds is given. Absolute seconds are this machine's own: trust the ratios.
Each section is written by the command in its title.
"""

COLUMNS = ("", "tool", "median s", "min", "max", "CPU s (user)", "peak MB", "× ours (min–max)")


def number(value: float) -> str:
    """Three significant digits at least, never more than two behind the point."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def times(found: Spread) -> str:
    """`6.1× (5.8–6.4)`."""
    return f"{number(found.median)}× ({number(found.low)}–{number(found.high)})"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Words to the left, numbers to the right: the first two columns are words."""
    rule = ["---" if at < 2 else "--:" for at in range(len(columns))]
    return "".join("| " + " | ".join(row) + " |\n" for row in (columns, rule, *rows))


def comparison(first: str, samples: Mapping[str, Sequence[Sample]], ours: str) -> list[list[str]]:
    """A row a tool: name, wall (median, min, max), CPU, memory, and its ratio to `ours`."""
    rows = []
    for name, runs in samples.items():
        wall = spread(walls(runs))
        cpu, user = spread([s.cpu for s in runs]).median, spread([s.user for s in runs]).median
        against = "1" if name == ours else times(ratio(runs, samples[ours]))
        rows.append([
            first, name, number(wall.median), number(wall.low), number(wall.high),
            f"{number(cpu)} ({number(user)})", f"{max(s.memory for s in runs):.0f}", against,
        ])  # fmt: skip
    return rows


def goal(words: str, wanted: float, reached: float, more_is_better: bool = True) -> str:
    """One line: the goal, what came out, and whether that is enough."""
    met = reached >= wanted if more_is_better else reached <= wanted
    return f"- {'met' if met else 'MISSED'}: {words}: {number(reached)}\n"


def section(command: str, parts: Sequence[str]) -> str:
    """A benchmark's part of the document, between markers that carry its name: a command, and `, WITH WHAT` behind it."""
    body = "\n".join(part.strip("\n") + "\n" for part in parts)
    name, comma, what = command.partition(",")
    return f"<!-- {command} -->\n## `inv {name}`{comma}{what}\n\n{body}<!-- /{command} -->\n"


def placed(document: str, command: str, text: str) -> str:
    """The document with `command`'s section replaced, or added at its end; every other byte as it was."""
    start, end = f"<!-- {command} -->\n", f"<!-- /{command} -->\n"
    before, found, rest = document.partition(start)
    if not found:
        return (document or TITLE).rstrip("\n") + "\n\n" + text
    _, closed, after = rest.partition(end)
    if not closed:
        raise ValueError(f"the document's section {command} is opened and never closed")
    return before + text + after
