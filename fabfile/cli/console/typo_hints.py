"""Typos on the command line: an error in our own form, with the nearest command or option."""

from __future__ import annotations

import re
from collections.abc import Iterable

from invoke.exceptions import Exit, ParseError
from invoke.program import Program

from ...core.config.fault import shown
from ...core.errors import InputError
from .invoke_hooks import Method
from .output import print_error_json, show_errors


def explain_parse_errors(method: Method, program: Program) -> None:
    """Lets Invoke parse the command line, and replaces its parse error, which suggests nothing."""
    _turn_help_around(program)
    words = list(program.core.unparsed)
    try:
        method(program)
    except ParseError as error:
        values = [str(a.value) for a in getattr(error.context, "positional_args", ())]
        as_values = [value for value in values if value.startswith("-")]
        message = f"No idea what {as_values[0]!r} is!" if as_values else str(error)  # Invoke took an option for a value
        options = [*getattr(error.context, "flags", ()), *program.initial_context.flags]
        told = parse_error(message, getattr(error.context, "name", None), program.parser.contexts, options)
        show_errors(told)
        if "--json" in words or "-j" in words:
            print_error_json(told)
        raise Exit(code=1) from None


def _turn_help_around(program: Program) -> None:
    """`service.scale --help` becomes `--help service.scale`: Invoke takes the option for the word that the command wants."""
    words: list[str] = program.core.unparsed
    words = words[: words.index("--")] if "--" in words else words  # behind it: of a command that runs elsewhere
    if not {"--help", "-h"}.intersection(words):
        return
    contexts = {name: context for context in program.collection.to_contexts() for name in (context.name, *context.aliases)}
    command = None
    for word in words:
        if command and (word == "--help" or (word == "-h" and "-h" not in command.flags)):
            program.core[0].args["help"].set_value(command.name)
            program.core.unparsed = []
            return
        command = contexts.get(word, command)


def parse_error(message: str, command: str | None, commands: Iterable[str], options: Iterable[str]) -> InputError:
    """Invoke's message as our error. `command`: the one that Invoke was parsing; `options`: its own and Invoke's."""
    from ...core.config.schema import nearest

    hint = f"inv --help {command}" if command else "inv --list"
    if match := re.fullmatch(r"No idea what (.*) is!", message, re.DOTALL):
        word = match[1][1:-1]
        if word.startswith("-"):
            problem = f"{command or 'inv'} {shown(word)}: there is no such option"
            return _unknown(problem, nearest_option(word, options), hint)
        problem = f"is no command, and no value that {command} takes" if command else "there is no such command"
        return _unknown(f"{shown(word)}: {problem}", nearest(word, commands), "inv --list" if not command else hint)
    if match := re.match(r"Flag <\w+: ([\w-]+).* needed value", message):
        return InputError([f"{command or 'inv'} --{match[1]}: wants a value"], hint)
    if match := re.fullmatch(r"'.*' did not receive required positional arguments: (.*)", message):
        names = match[1].replace("'", "").upper()
        return InputError([f"{command}: {names} is missing"], f"inv --help {command}")
    return InputError([message], hint)


def nearest_option(word: str, options: Iterable[str]) -> str:
    """`did you mean --hosts?`. The comparison leaves the hyphens out, because all options have them."""
    from ...core.config.schema import nearest

    suggestion = nearest(word.lstrip("-"), [o[2:] for o in options if o.startswith("--")])
    return re.sub(r"(mean| or) (?=\w)", r"\1 --", suggestion)


def _unknown(fault: str, suggestion: str, hint: str) -> InputError:
    return InputError([f"{fault}; {suggestion}" if suggestion else fault], hint)
