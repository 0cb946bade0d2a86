"""Edits of hosts.yml and services.yml as text, at the places that the YAML parser reports.

Nothing is written anew from parsed values: what the operator wrote (comments, order, quotes, alignment, line ends)
cannot change, since no edit touches it. Positions are indexes into the text without its byte order mark.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ...core.config.yaml_loader import LOADER
from ...core.config.yaml_tree import MAX_BYTES, decode
from ...core.errors import InputError
from .paths import display_path, read_fault

LINE_END = r"(?:\r\n|\r|\n|\Z)"
_LINE_END = re.compile(LINE_END)
_ALIAS = re.compile(r"\s*:\s*\*[^\s,{}\[\]]+")


def read(path: Path, hint: str) -> str:
    """The text of a file that the operator named. InputError, with `hint` or a better one, when it cannot be read."""
    try:
        with path.open("rb") as file:
            return decode(file.read(MAX_BYTES + 1), path.name)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        why, remedy = read_fault(path, error)
        raise InputError([f"{display_path(path)}: {why}"], remedy or hint) from None


def split_mark(text: str) -> tuple[str, str]:
    """The byte order marks at the start, if any (the parser counts none there), and the text after them."""
    body = text.lstrip("\ufeff")
    return text[: len(text) - len(body)], body


def compose(body: str) -> Any:
    """The root node, by the loader that the file was checked with.

    Each node has `start_mark` and `end_mark` with `index`, `line` and `column`, all from 0.
    """
    return yaml.compose(body, Loader=LOADER)


def value_of(mapping: Any, key: str) -> Any:
    """The node of the key's value; None when the mapping has no such key."""
    return next((value for name, value in mapping.value if name.value == key), None)


def flow(value: object) -> str:
    """The value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1 << 30, allow_unicode=True)
    return text.rstrip("\n")


def end_of_value(body: str, key: Any, node: Any) -> int:
    """The index where the value's text ends; a block's own end mark is beyond the comments after it."""
    if node.start_mark.index < key.end_mark.index:  # an alias: the node's marks are those of its anchor
        alias = _ALIAS.match(body, key.end_mark.index)
        return alias.end() if alias else int(key.end_mark.index)
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        tail = node.value[-1]
        return end_of_value(body, *tail) if isinstance(tail, tuple) else end_of_value(body, key, tail)
    mark = node.end_mark
    # a block scalar's mark is where the next line begins
    return int(mark.index - 1 if mark.column == 0 and mark.line > node.start_mark.line else mark.index)


def after_line(body: str, index: int) -> int:
    """The index where the line after that of `index` begins, or the end of the text."""
    found = _LINE_END.search(body, index)
    return found.end() if found else len(body)


def insert_lines(body: str, at: int, lines: Sequence[str], newline: str) -> str:
    """The text with whole lines put in at `at`, where a line begins or the text ends."""
    before = "" if body[at - 1 : at] in ("\r", "\n", "") else newline
    return body[:at] + before + "".join(line + newline for line in lines) + body[at:]


def append_to_flow(body: str, mapping: Any, entry: str) -> str:
    """The text with `entry` (`key: value`) as the last one of a flow mapping that has others."""
    end = end_of_value(body, *mapping.value[-1])
    return f"{body[:end]}, {entry}{body[end:]}"
