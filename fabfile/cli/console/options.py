"""Options as they were typed. They are looked at inside the command, so that a slip is one line and not a traceback."""

from __future__ import annotations

import re
from collections.abc import Mapping
from inspect import Parameter
from typing import Any

from invoke.parser.argument import Argument
from invoke.tasks import Task

from ...core.config.yaml_tree import shown
from ...core.errors import InputError, Several
from .typo_hints import option_near

MOST = 999_999_999


class Typed(str):
    """What stood on the command line, where a default did not take its place."""

    __slots__ = ()


class _AsTyped(Argument):
    """Keeps the text, and its kind for the help."""

    def set_value(self, value: Any, cast: bool = True) -> None:
        if self.takes_value:
            value, cast = Typed(value), False
        super().set_value(value, cast)


class Command(Task[Any]):
    """A task to whose body options come as they were typed."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        return [
            _AsTyped(names=a.names, kind=a.kind, default=a.default, help=a.help, positional=a.positional,
                     optional=a.optional, attr_name=a.attr_name)
            for a in super().get_arguments(ignore_unknown_help)
        ]  # fmt: skip


def read(given: Mapping[str, Any], parameters: Mapping[str, Parameter], helps: Mapping[str, str]) -> dict[str, Any]:
    """Numbers as numbers, texts as texts. InputError for what is none or empty, each with the option's own help."""
    made: dict[str, Any] = {}
    errors: list[InputError] = []
    for name, value in given.items():
        default = parameters[name].default
        is_number = isinstance(default, int) and not isinstance(default, bool)
        if not isinstance(value, Typed):
            made[name] = value
        elif default is Parameter.empty and value.startswith("-") and len(value) > 1:
            near = option_near(value, [f"--{word.strip('_').replace('_', '-')}" for word in parameters])
            errors.append(InputError([f"{shown(value)}: there is no such option" + (f"; {near}" if near else "")]))
        elif problem := _problem(value, is_number):
            flag = name.upper() if default is Parameter.empty else f"--{name.strip('_').replace('_', '-')}"
            told = f"{flag} {shown(value)}: {problem}" if value else f"{flag}: {problem}"
            errors.append(InputError([told], f"{flag}: {helps[name]}" if name in helps else ""))
        else:
            made[name] = int(value) if is_number else str(value)
    if errors:
        raise Several(errors)
    return made


def _problem(text: str, is_number: bool) -> str:
    """What is wrong with it; empty where nothing is."""
    if not text:
        return "is empty; give it a value or leave it out"
    if not is_number or re.fullmatch(r"[0-9]{1,9}", text):
        return ""
    return "is not a whole number" + (f" from 0 to {MOST}" if re.fullmatch(r"[+-]?[0-9]+", text) else "")


def words(flag: str, text: str) -> list[str]:
    """The items of a comma list; none where the option was left out. InputError where an item is empty."""
    found = [word.strip() for word in text.split(",")] if text else []
    if not all(found):
        raise InputError([f"{flag} {shown(text)}: an item is empty"], "write names with single commas between")
    return found
