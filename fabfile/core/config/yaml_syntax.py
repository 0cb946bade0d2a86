"""Why a text is not YAML, in words that point at the line to look at."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import yaml

from .fault import Fault
from .yaml_loader import LOADER

_CONTROL = re.compile(r"[^\t -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAB = re.compile(r"^ *\t[ \t]*[^\s#]")


def syntax_fault(text: str, error: yaml.YAMLError) -> Fault:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    # The parser notices a cut-off text after its last line; the operator must look at the last line.
    line = min(mark.line, text.count("\n", 0, len(text) - 1)) + 1 if mark else None
    if isinstance(error, yaml.reader.ReaderError):
        return Fault((), "holds a control character, which YAML does not allow", _first(text, _CONTROL))
    if tabs := _first(text, _TAB):
        return Fault((), "a tab indents this line; YAML wants spaces there", tabs)
    context, problem = getattr(error, "context", None) or "", getattr(error, "problem", None) or str(error)
    begins = getattr(error, "context_mark", None)
    if "quoted scalar" in context and begins and "end of stream" in problem:
        return Fault((), "the quote that opens in this line is never closed", begins.line + 1)
    told = f"is not YAML: {context} {problem}".replace("  ", " ")
    if line and begins and re.search("flow (mapping|sequence)", context) and begins.line + 1 < line:
        told += f"; what is not closed opens in line {begins.line + 1}"
    is_syntax = isinstance(error, yaml.parser.ParserError | yaml.scanner.ScannerError)  # else the text may be hostile
    return Fault((), told + (_odd_quote(text, line) if is_syntax else ""), line)


def _odd_quote(text: str, line: int | None) -> str:
    """For a quote that opens in an earlier line and closes in the faulty one: one of the two is probably a mistake."""
    found = ""
    with suppress(yaml.YAMLError, UnicodeError):
        for event in yaml.parse(text, Loader=LOADER):
            mark: Any = event  # its marks are there wherever it comes from a text
            start, end = mark.start_mark.line + 1, mark.end_mark.line + 1
            if isinstance(event, yaml.ScalarEvent) and event.style in ("'", '"') and start < end == line:
                found = f"; the quote that opens in line {start} closes only here"
    return found


def _first(text: str, pattern: re.Pattern[str]) -> int | None:
    return next((n for n, line in enumerate(re.split(r"\r\n|\n|\r", text), 1) if pattern.search(line)), None)
