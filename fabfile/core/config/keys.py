"""A key of a YAML file, declared once: its check, its default, its range and its documentation.

`inventory_keys` and `service_keys` hold the declarations. The checker (`fields`), the tables of the docs (`key_docs`) and
the schemas for editors (`json_schema`) are made from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from voluptuous import Optional, Required

from .checks import Check, JsonSchema
from .fault import Path
from .schema import mapping
from .yaml_tree import Tree

ANY_NAME = "NAME"  # stands for the names that the operator chooses: hosts.NAME, services.NAME


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    check:    of its value: a Check, or what voluptuous takes (then `schema` is needed)
    doc:      what it is, one line of Markdown
    default:  what happens without it, in Markdown; empty: a required key, or one whose default needs no word
    missing:  the message when a required key is absent; empty: the key is optional
    needs:    (other key, message): the key makes sense only beside that one
    keys:     of a mapping, its own keys; `short`: it has other forms as well, which `check` takes
    range:    overrides the check's own words; schema: overrides the check's own JSON Schema
    as_written: numbers arrive as the text that stands in the file (`1.10`, not 1.1)
    """

    name: str
    check: Any
    doc: str
    default: str = ""
    missing: str = ""
    needs: tuple[tuple[str, str], ...] = ()
    keys: tuple[Key, ...] = ()
    range: str = ""
    schema: JsonSchema = field(default_factory=dict)
    as_written: bool = False

    @property
    def shown_range(self) -> str:
        return self.range or (self.check.range if isinstance(self.check, Check) else "")

    @property
    def value_schema(self) -> JsonSchema:
        return self.schema or (self.check.schema if isinstance(self.check, Check) else {})


def fields(keys: Iterable[Key]) -> dict[Any, Any]:
    """The voluptuous mapping of these keys; unknown keys are faults that name the nearest known one."""
    return mapping({Required(k.name, k.missing) if k.missing else Optional(k.name): k.check for k in keys})


def lacking(keys: Iterable[Key], values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, message) of each key that is there without one that it needs."""
    for key in keys:
        if key.name in values:
            yield from ((key.name, message) for needed, message in key.needs if needed not in values)


def as_written(value: object, at: Path, tree: Tree) -> Any:
    """The value with each number replaced by the text that stands in the file; lists become tuples."""
    if isinstance(value, dict):
        return {name: as_written(item, (*at, name), tree) for name, item in value.items()}
    if isinstance(value, list):
        return tuple(as_written(item, (*at, n), tree) for n, item in enumerate(value))
    return value if value is None or isinstance(value, str) else tree.texts[at]
