"""What the toolkit knows of its two files: the keys, as a table, as JSON, as a JSON Schema for editors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from invoke.context import Context

from ...core.errors import Refused
from ...core.resources import INSTALLED, ROOT
from ..console.command import command
from ..console.output import print_json, say

if TYPE_CHECKING:
    from ...core.config.key_docs import Row

_HELP = {"schema": "print the JSON Schema, for editors with a YAML language server"}


@command(name="keys", help=_HELP)
def service_keys(c: Context, json: bool = False, schema: bool = False, debug: bool = False) -> None:
    """List every key of services.yml: what it is, its default, its range."""
    from ...core.config.key_docs import service_rows, services_schema

    _show(service_rows(), services_schema(), json, schema)


@command(name="keys", help=_HELP)
def host_keys(c: Context, json: bool = False, schema: bool = False, debug: bool = False) -> None:
    """List every key of hosts.yml: what it is, its default, its range."""
    from ...core.config.key_docs import hosts_schema, inventory_rows

    _show(inventory_rows(), hosts_schema(), json, schema)


def _show(rows: Sequence[Row], document: dict[str, Any], json: bool, schema: bool) -> None:
    if schema:
        print_json(document)
    elif json:
        print_json([asdict(row) for row in rows])
    else:
        _blocks(rows)


def _blocks(rows: Sequence[Row]) -> None:
    """A block a key: a table with this much text would not fit 80 columns."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False)
    for row in rows:
        console.print(Text(_plain(row.key), style="bold"))
        for name, text in (("", row.doc), ("default", row.default), ("range", row.range)):
            if text:
                console.print(Padding(Text(f"{name}: {_plain(text)}" if name else _plain(text)), (0, 0, 0, 4)))
        if row.replaces == "yes":
            console.print(Padding(Text("a change replaces the running instances, one by one"), (0, 0, 0, 4)))


def _plain(markdown: str) -> str:
    return markdown.replace("`", "").replace("\\|", "|").replace("*", "").replace("[below](#checks)", "see docs/SERVICES.md")


@command()
def docs(c: Context, debug: bool = False) -> None:
    """Write the parts of the docs that are made from the code: tables of keys, JSON Schemas."""
    from ...edge.disk.state import write_atomically
    from ..flows.generated_docs import generated

    if INSTALLED:
        raise Refused("the docs are part of a checkout of the project, and this is an installed copy", "clone the project")
    for path, text in generated().items():
        same = path.is_file() and path.read_text(encoding="utf-8") == text
        if not same:
            write_atomically(path, text.encode(), 0o644)
        say(f"{path.relative_to(ROOT)}: {'as it should be' if same else 'written'}")
