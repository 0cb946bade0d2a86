"""What follows from the declared keys: tables for the docs, rows for a terminal, JSON Schemas for editors. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..model.service import FIELDS
from .inventory_keys import INVENTORY_KEYS
from .keys import ANY_NAME, Key
from .service_keys import NAME, SERVICE_KEYS

_DRAFT = "http://json-schema.org/draft-07/schema#"


@dataclass(frozen=True, slots=True)
class Row:
    """One key, its place in dotted form. replaces: yes, no, or empty where that means nothing. Texts are Markdown."""

    key: str
    doc: str
    default: str
    range: str
    replaces: str = ""


def service_rows() -> tuple[Row, ...]:
    """Every key of a service, nested ones behind their own, each with what a change of it does to running instances."""
    found = [Row("*name*", NAME.doc, "", NAME.shown_range)]
    for key in SERVICE_KEYS:
        replaces = {True: "yes", False: "no"}.get(_replaces(key.name), "no")
        found.append(Row(f"`{key.name}`", key.doc, key.default, key.shown_range, replaces))
        found += [Row(f"`{key.name}.{sub.name}`", sub.doc, sub.default, sub.shown_range, replaces)
                  for sub in key.keys if sub.default]  # fmt: skip
    return tuple(found)


def _replaces(name: str) -> bool:
    field = FIELDS["command" if name == "args" else name]
    return bool(field.metadata.get("replaces"))


def inventory_rows() -> tuple[Row, ...]:
    """Every key of hosts.yml."""
    return tuple(_rows(INVENTORY_KEYS, ""))


def _rows(keys: Iterable[Key], place: str) -> Iterator[Row]:
    for key in keys:
        at = f"{place}{key.name}"
        yield Row(f"`{at}`", key.doc, key.default, key.shown_range)
        yield from _rows(key.keys, f"{at}.")


def table(rows: Iterable[Row], replaces: bool) -> str:
    """A Markdown table. `replaces`: with the column that says whether a change makes new instances."""
    head = ["key", "what", "default", "range", *(["new instance"] if replaces else [])]
    lines = [head, ["---"] * len(head)]
    lines += [[r.key, r.doc, r.default, r.range, *([r.replaces] if replaces else [])] for r in rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def services_schema() -> dict[str, Any]:
    """JSON Schema of services.yml: what it refuses, the checker refuses too; not the other way round."""
    entry = {"anyOf": [{"type": "array", "items": {"type": ["string", "integer"]}, "minItems": 1}, _object(SERVICE_KEYS)]}
    services = {"type": "object", "additionalProperties": entry, "description": "the services, by name"}
    return {
        "$schema": _DRAFT, "title": "services.yml of Nexus Ops", "type": "object", "required": ["services"],
        "properties": {"services": services}, "additionalProperties": False,
    }  # fmt: skip


def hosts_schema() -> dict[str, Any]:
    """JSON Schema of hosts.yml; as `services_schema`."""
    return {"$schema": _DRAFT, "title": "hosts.yml of Nexus Ops", **_object(INVENTORY_KEYS)}


def _object(keys: Iterable[Key]) -> dict[str, Any]:
    """Keys that are there without the ones they need are faults, too."""
    keys = tuple(keys)
    required = [key.name for key in keys if key.missing]
    needs = {key.name: [needed for needed, _ in key.needs] for key in keys if key.needs}
    return {
        "type": "object",
        "properties": {key.name: _value(key) for key in keys},
        **({"required": required} if required else {}),
        **({"dependencies": needs} if needs else {}),
        "additionalProperties": False,
    }


def _value(key: Key) -> dict[str, Any]:
    return {"description": _plain(key), **_shape(key)}


def _shape(key: Key) -> Mapping[str, Any]:
    if not key.keys:
        return key.value_schema
    if key.keys[0].name == ANY_NAME:
        return {"type": "object", "additionalProperties": _shape(key.keys[0])}
    own = _object(key.keys)
    return {"anyOf": [*key.value_schema["anyOf"], own]} if key.value_schema else own


def _plain(key: Key) -> str:
    """The documentation without Markdown's marks, with default and range."""
    default = f"default: {key.default}" if key.default else ""
    allowed = f"range: {key.shown_range}" if key.shown_range else ""
    text = "; ".join(filter(None, (key.doc, default, allowed)))
    return text.replace("`", "").replace("\\|", "|").replace("[below](#checks)", "see docs/SERVICES.md")
