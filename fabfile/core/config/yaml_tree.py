"""YAML text to plain values with line numbers and spellings. Knows nothing of hosts or services.

What YAML accepts silently is a fault here, or is kept for the schema to report: a key given twice, a tag that builds
objects, aliases that expand without bound, scalars that YAML reads as something their writer hardly meant.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import yaml

from ..errors import InputError
from .fault import Fault, Path, shown
from .yaml_loader import LOADER as _LOADER
from .yaml_syntax import syntax_fault

MAX_BYTES = 1 << 20  # of one file
MAX_DEPTH = 32  # levels; our own files have five
MAX_NODES = 50_000  # after aliases are expanded; a thousand hosts need about ten thousand

_TAG = "tag:yaml.org,2002:"
_SCALARS = ("str", "value", "merge", "int", "float", "bool", "null", "timestamp")
_PLAIN_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Misread:
    """A scalar that YAML took for a number in another base, a time or a date: to us no text and no number."""

    text: str
    reading: str


@dataclass(frozen=True, slots=True)
class Tree:
    """A document. `value` holds dict (keys are text), list, str, int, float, bool, None and Misread.

    texts: path → the text of each scalar as it stands in the file, where YAML made something else of it
    lines: path → 1-based line
    """

    value: Any = None
    texts: Mapping[Path, str] = field(default_factory=dict)
    lines: Mapping[Path, int] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()

    def line(self, path: Path) -> int | None:
        """The line of the path, or of its nearest ancestor in the file."""
        return next((self.lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.lines), None)

    def fault(self, path: Path, message: str) -> Fault:
        return Fault(path, message, self.line(path))


def reading(value: object) -> str:
    """What YAML made of a scalar, in words."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "nothing"}[value]
    if isinstance(value, (int, float)):
        try:
            return f"the number {value}" if len(str(value)) <= 40 else "a very long number"
        except ValueError:  # Python refuses to print integers of more than 4300 digits
            return "a very long number"
    return "a date" if isinstance(value, date) else "something else"


def decode(data: bytes, source: str) -> str:
    """The text of a file, line ends and BOM kept; InputError when it is too large or not UTF-8."""
    if len(data) > MAX_BYTES:
        raise InputError([f"{source}: is larger than {MAX_BYTES >> 20} MiB; is it the file you meant?"])
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        hint = "save the file as UTF-8 in your editor"
        raise InputError([f"{source}:{line}: byte {data[e.start]:#04x} is not UTF-8 text"], hint) from None


def parse(text: str) -> Tree:
    """The document in text, with every fault that can be told without a schema. Never raises."""
    text = text.removeprefix("\ufeff")
    walk = _Walk()
    try:
        _refuse_depth(text)
        node = _LOADER(text).get_single_node()
        value = None if node is None else walk.value(node, ())
    except yaml.YAMLError as e:
        return Tree(faults=(syntax_fault(text, e),))
    except UnicodeError:
        return Tree(faults=(Fault((), "holds characters that are not text (lone surrogates)"),))
    return Tree(value, walk.texts, walk.lines, tuple(walk.faults))


def _refuse_depth(text: str) -> None:
    """Over the flat event stream, since composing deep nests recurses, in C without a guard."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _marked(f"nested more than {MAX_DEPTH} levels deep", event.start_mark)


def _marked(problem: str, mark: Any) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


class _Walk:
    """Node graph → values, aliases expanded under a budget."""

    def __init__(self) -> None:
        self.texts: dict[Path, str] = {}
        self.lines: dict[Path, int] = {}
        self.faults: list[Fault] = []
        self._left = MAX_NODES
        self._make = yaml.constructor.SafeConstructor()

    def value(self, node: yaml.Node, path: Path) -> Any:
        self._left -= 1
        if self._left < 0 or len(path) > MAX_DEPTH:
            raise _marked("its aliases (*name) expand without bound", node.start_mark)
        line = self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self.value(item, (*path, n)) for n, item in enumerate(node.value)]
        return self._scalar(node, path, line)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in node.value:
            name, line = self._key(key, path), key.start_mark.line + 1
            at = (*path, "?" if name is None else name)
            if name in found:
                twice = f"given twice, in lines {self.lines[at]} and {line}; a name may stand only once"
                self.faults.append(Fault(at, twice, line))
            elif name is not None:
                self.lines[at] = line
                found[name] = self.value(item, at)
        return found

    def _key(self, node: yaml.Node, path: Path) -> str | None:
        line = node.start_mark.line + 1
        if not isinstance(node, yaml.ScalarNode) or node.tag == _TAG + "merge":
            wrong = "<< is not supported" if isinstance(node.value, str) else "a list or a mapping is no key"
            self.faults.append(Fault(path, f"{wrong}; write the keys out", line))
            return None
        made = self._scalar(node, (*path, node.value), line)
        self.texts.pop((*path, node.value), None)
        if not isinstance(made, str):
            said = made.reading if isinstance(made, Misread) else reading(made)
            quoted = f"YAML reads this name as {said}; write it in quotes: {json.dumps(node.value)}"
            self.faults.append(Fault((*path, node.value), quoted, line))
        return str(node.value)

    def _scalar(self, node: yaml.Node, path: Path, line: int) -> Any:
        kind = node.tag.removeprefix(_TAG)
        if not isinstance(node, yaml.ScalarNode) or kind not in _SCALARS:
            tag = shown(node.tag.replace(_TAG, "!!"))
            self.faults.append(Fault(path, f"the tag {tag} is not allowed here", line))
            return None
        if kind in ("str", "value", "merge"):  # a lone = or << as a value is text
            return node.value
        self.texts[path] = node.value
        try:
            made = getattr(self._make, f"construct_yaml_{kind}")(node)
        except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError):
            return Misread(node.value, f"a broken {kind}")
        plain = kind in ("bool", "null") or (kind != "timestamp" and _PLAIN_NUMBER.fullmatch(node.value))
        return made if plain else Misread(node.value, reading(made))
