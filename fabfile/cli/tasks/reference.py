"""host.keys, service.keys, docs: the reference of hosts.yml and services.yml, as text, as JSON, as a JSON Schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from invoke.context import Context

from ...core.resources import ROOT
from ..console.command import command
from ..console.output import print_json, say
from ..console.terminal import console

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
    """A block for each key: a table with this much text does not fit 80 columns."""
    from rich.padding import Padding
    from rich.text import Text

    terminal = console()
    for row in rows:
        terminal.print(Text(_plain(row.key), style="bold"))
        for name, text in (("", row.doc), ("default", row.default), ("range", row.range)):
            if text:
                terminal.print(Padding(Text(f"{name}: {_plain(text)}" if name else _plain(text)), (0, 0, 0, 4)))
        if row.replaces == "yes":
            terminal.print(Padding(Text("a change replaces the running instances, one by one"), (0, 0, 0, 4)))


def _plain(markdown: str) -> str:
    return markdown.replace("`", "").replace("\\|", "|").replace("*", "").replace("[below](#checks)", "see docs/SERVICES.md")


@command(checkout_only=True)
def docs(c: Context, debug: bool = False) -> None:
    """Write the generated parts of the docs: tables of keys, JSON Schemas."""
    from ...edge.disk.atomic import write_atomically
    from ..flows.generated_docs import generated

    for path, text in generated().items():
        same = path.is_file() and path.read_text(encoding="utf-8") == text
        if not same:
            write_atomically(path, text.encode(), 0o644)
        say(f"{path.relative_to(ROOT)}: {'as it should be' if same else 'written'}")
