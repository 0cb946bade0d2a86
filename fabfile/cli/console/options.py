"""Option values as text: the command itself converts and checks them, so that a typo gives a line, not a traceback."""

from __future__ import annotations

import re
from collections.abc import Mapping
from inspect import Parameter
from typing import Any

from invoke.parser.argument import Argument
from invoke.tasks import Task

from ...core.config.fault import shown
from ...core.errors import InputError, Several
from .typo_hints import nearest_option

MAX_NUMBER = 999_999_999


class TypedText(str):
    """A value from the command line, as opposed to a default."""

    __slots__ = ()


class _TextArgument(Argument):
    """Keeps the value as text. `kind` stays for the help."""

    def set_value(self, value: Any, cast: bool = True) -> None:
        if self.takes_value:
            value, cast = TypedText(value), False
        super().set_value(value, cast)


class Command(Task[Any]):
    """A task whose function gets option values as TypedText."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        kept = dict(self.help)  # Invoke takes each text out as it uses it, and asks twice for `NAME --help`
        try:
            return [
                _TextArgument(names=a.names, kind=a.kind, default=a.default, help=a.help, positional=a.positional,
                              optional=a.optional, attr_name=a.attr_name)
                for a in super().get_arguments(ignore_unknown_help)
            ]  # fmt: skip
        finally:
            self.help = kept


def convert(values: Mapping[str, Any], parameters: Mapping[str, Parameter], helps: Mapping[str, str]) -> dict[str, Any]:
    """Converts numbers to int and texts to str. InputError with the option's help: a value is empty or no number."""
    converted: dict[str, Any] = {}
    errors: list[InputError] = []
    for name, value in values.items():
        default = parameters[name].default
        is_number = isinstance(default, int) and not isinstance(default, bool)
        if not isinstance(value, TypedText):
            converted[name] = value
        elif default is Parameter.empty and value.startswith("-") and len(value) > 1:
            suggestion = nearest_option(value, [_flag(parameter) for parameter in parameters])
            fault = f"{shown(value)}: there is no such option"
            errors.append(InputError([f"{fault}; {suggestion}" if suggestion else fault]))
        elif problem := _problem(value, is_number):
            flag = name.upper() if default is Parameter.empty else _flag(name)
            fault = f"{flag} {shown(value)}: {problem}" if value else f"{flag}: {problem}"
            errors.append(InputError([fault], f"{flag}: {helps[name]}" if name in helps else ""))
        else:
            converted[name] = int(value) if is_number else str(value)
    if errors:
        raise Several(errors)
    return converted


def _flag(parameter: str) -> str:
    """`open_` -> `--open`: the trailing underscore keeps a parameter from hiding a builtin or a module."""
    return f"--{parameter.strip('_').replace('_', '-')}"


def _problem(text: str, is_number: bool) -> str:
    """What is wrong with the value; empty if nothing is."""
    if not text:
        return "is empty; give it a value or leave it out"
    if not is_number or re.fullmatch(r"[0-9]{1,9}", text):
        return ""
    return "is not a whole number" + (f" from 0 to {MAX_NUMBER}" if re.fullmatch(r"[+-]?[0-9]+", text) else "")


def comma_list(flag: str, text: str) -> list[str]:
    """The items of a comma list; none if the option was left out. InputError: an item is empty."""
    items = [item.strip() for item in text.split(",")] if text else []
    if not all(items):
        raise InputError([f"{flag} {shown(text)}: an item is empty"], "write names with single commas between")
    return items
