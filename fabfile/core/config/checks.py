"""A check that also describes itself: the JSON Schema of what may be written, and its range in words.

So one declaration serves the checker, the documentation and editors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

JsonSchema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Check:
    """Called with a value, it returns the normal form or raises Invalid (see `schema`).

    schema: JSON Schema (draft 7) of the forms that may be written; every value that passes fits it
    range:  for documentation, in Markdown; may be empty
    """

    function: Callable[[object], Any]
    schema: JsonSchema
    range: str = ""

    def __call__(self, value: object) -> Any:
        return self.function(value)


def described(schema: JsonSchema, range: str = "") -> Callable[[Callable[[object], Any]], Check]:
    """Decorator: the function becomes a Check with this schema and range."""

    def wrap(function: Callable[[object], Any]) -> Check:
        return Check(function, schema, range)

    return wrap
