"""Checks of the free texts of services.yml: commands, arguments, environment, headers.

They reach systemd units, Docker and Caddy, and are escaped there. So nearly all text on one line is allowed, except for
characters that no escaping can carry. How a check reports: see `schema`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any

from voluptuous import Invalid, MultipleInvalid

from . import schema as s
from . import value_checks as v
from .checks import described

_LONGEST = 8192  # characters of one argument or value
_FILLED_IN = r"\$[A-Za-z_{(][A-Za-z0-9_]*[})]?|`"
_ACTS = {  # what a shell acts on, by the quotes around it
    "": re.compile(rf"2?>&1|&&|\|\||>>|[|;&<>()]|{_FILLED_IN}"),
    '"': re.compile(_FILLED_IN),
    "'": re.compile(r"(?!)"),
}
_FOR_A_SHELL = re.compile(r"&&|\|\|?|>>?|2>&1|\$[A-Za-z_][A-Za-z0-9_]*|\$\{[A-Za-z_][A-Za-z0-9_]*\}")
_CONNECTION = ("connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")

variable = v.matching(r"[A-Za-z_][A-Za-z0-9_]*", "a variable's name (letters, digits and _, no digit first)", 128)
_header_name = v.matching(r"[A-Za-z][A-Za-z0-9-]*", "a header's name (letters, digits and -)", 64)


def line(value: object) -> str:
    """Text of one line, without control and invisible characters."""
    text = v.text(value)
    if len(text) > _LONGEST:
        raise Invalid(f"is longer than {_LONGEST} characters")
    if not text.isprintable():
        odd = next(c for c in text if not c.isprintable())
        raise Invalid(f"holds a line break, a control or an invisible character (U+{ord(odd):04X})")
    return text


_ITEM = {"type": ["string", "integer"]}
_LINE = "one line an argument, 8192 characters each"


def _or_whole(value: object) -> Any:
    """A line, or a whole number; `services` turns that into the text that stands in the file (`-0`)."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18:
        return value
    return line(value)


@described({"type": "array", "items": _ITEM}, "a list")
def args(value: object) -> list[Any]:
    """A container's arguments: a list of texts and whole numbers."""
    if not isinstance(value, list):
        raise Invalid("is not a list of arguments, such as [serve, --port, 8080]")
    faults: list[Invalid] = []
    for n, item in enumerate(value):
        try:
            _or_whole(item)
        except Invalid as e:
            e.prepend([n])
            faults.append(e)
    if faults:
        raise MultipleInvalid(faults)
    return value


@described({"anyOf": [{"type": "string"}, {"type": "array", "items": _ITEM, "minItems": 1}]}, _LINE)
def command(value: object) -> list[Any]:
    """The argv of a process: a list, or one text. The text is split as a shell would split it; no shell runs it."""
    if isinstance(value, str):
        found = _split(value)
        if problem := _program(found):
            raise Invalid(problem)
        return found
    if not isinstance(value, list):
        raise Invalid("is not a command: a list such as [python3, -m, http.server, 8080], or one text")
    if not value:
        raise s.Bare("is empty; the program comes first, then its arguments")
    argv: list[Any] = args(value)
    if problem := _program(argv):
        raise Invalid(problem, [0])
    return argv


def _split(text: str) -> list[str]:
    try:
        found = shlex.split(line(text))
    except ValueError as e:
        raise Invalid(f"cannot be split into arguments: {str(e).lower()}") from None
    if shell := shell_syntax(text):
        raise Invalid(f"holds {shell}, but no shell runs it; quote it, or, for a shell, write [sh, -c, '…']")
    if found and (setting := re.match(r"[A-Za-z_][A-Za-z0-9_]*=", found[0])):
        raise Invalid(f"begins with the variable {setting[0][:-1]}; it belongs under env")
    return found


def shell_syntax(text: str) -> str | None:
    """The first unquoted part of a text on which a shell would act; None where there is none."""
    quote, n = "", 0
    while n < len(text):
        if text[n] == "\\" and quote != "'":
            n += 2
            continue
        if text[n] in "'\"" and quote in ("", text[n]):
            quote = "" if quote else text[n]
        elif found := _ACTS[quote].match(text, n):
            return found[0]
        n += 1
    return None


def for_a_shell(argv: Sequence[str]) -> str | None:
    """The first item that only makes sense to a shell. None where there is none, or where the program is a shell."""
    if argv[0].rpartition("/")[2] in ("sh", "bash", "dash", "ash", "ksh", "zsh"):
        return None
    return next((item for item in argv[1:] if _FOR_A_SHELL.fullmatch(item)), None)


def _program(argv: Sequence[object]) -> str | None:
    """What is wrong with the program: systemd refuses each of these, or reads it as something else."""
    program = str(argv[0]) if argv else ""
    if not program.strip():
        return "names no program"
    if program[0] in "-@:+!|":
        return f"begins with {program[0]}, which systemd reads as an instruction; write the program's path"
    long = any(len(part.encode()) > 255 for part in program.split("/"))
    if long or program in (".", "..") or any(c in program for c in "\"'\\"):
        return "is no program that systemd takes (no quotes or backslashes, no name over 255 bytes)"
    if "/" in program:
        wrong = not program.startswith("/") or program.endswith("/")
        return "is no program's path from / on (nor a name without slashes, found in PATH)" if wrong else None
    return "holds spaces; each item of the list is one argument" if " " in program else None


@described({"type": ["string", "number"]}, "names of letters, digits, `_`; values of one line, 8192 characters")
def env_value(value: object) -> Any:
    """A line or a number; `services` turns a number into the text that stands in the file (`1.10`)."""
    return value if isinstance(value, float) else _or_whole(value)


def header_name(value: object) -> str:
    """The name of a header of the answer. Headers of the connection are refused."""
    found = str(_header_name(value))
    if found.lower() in _CONNECTION:
        raise Invalid("is set by the load balancer alone")
    return found


@described({"type": ["string", "integer", "null"]}, "ASCII without braces")
def header_value(value: object) -> Any:
    """Printable ASCII without braces, which Caddy would fill in; a whole number; None takes the header away."""
    text = None if value is None else _or_whole(value)
    if isinstance(text, str) and not re.fullmatch(r"[!-z|~]([ -z|~]*[!-z|~])?", text):
        raise Invalid("is not a header's value (ASCII without { and }, no space at its ends; null takes it away)")
    return value
