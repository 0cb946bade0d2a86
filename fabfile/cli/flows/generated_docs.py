"""The generated parts of the docs: tables of keys, JSON Schemas. `inv docs` writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ...core.config.key_docs import hosts_schema, inventory_rows, service_rows, services_schema, table
from ...core.errors import NexusError
from ...core.resources import ROOT


def generated() -> Mapping[Path, str]:
    """File -> its whole text as it should be. NexusError: a document has no markers."""
    services, hosts = ROOT / "docs/SERVICES.md", ROOT / "docs/HOSTS.md"
    return {
        services: _between(services, "keys", table(service_rows(), replaces=True)),
        hosts: _between(hosts, "keys", table(inventory_rows(), replaces=False)),
        ROOT / "docs/schema/services.schema.json": _json(services_schema()),
        ROOT / "docs/schema/hosts.schema.json": _json(hosts_schema()),
    }


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _between(path: Path, name: str, generated_text: str) -> str:
    """The document with this text between its markers `<!-- NAME: … -->` and `<!-- /NAME -->`."""
    text = path.read_text(encoding="utf-8")
    start, end = text.find(f"<!-- {name}:"), text.find(f"<!-- /{name} -->")
    begin = text.find("-->", start) + 3
    if start < 0 or end < begin:
        raise NexusError(f"{path.name} has no markers <!-- {name}: --> and <!-- /{name} -->", "put them back from git")
    return f"{text[:begin]}\n{generated_text}{text[end:]}"
