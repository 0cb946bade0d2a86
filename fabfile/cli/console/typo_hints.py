"""Slips in the words after `inv`: which command or option they come nearest to, in the form of any other error."""

from __future__ import annotations

import re
from collections.abc import Iterable

from invoke.exceptions import Exit, ParseError
from invoke.program import Program

from ...core.config.yaml_tree import shown
from ...core.errors import InputError
from .invoke_hooks import Plain
from .output import complain


def answer(plain: Plain, program: Program) -> None:
    """Parses the words as Invoke does; its own message for a slip names nothing near."""
    try:
        plain(program)
    except ParseError as error:
        taken = [str(a.value) for a in getattr(error.context, "positional_args", ()) if str(a.value).startswith("-")]
        message = f"No idea what {taken[0]!r} is!" if taken else str(error)  # an option that was read as a name
        options = [*getattr(error.context, "flags", ()), *program.initial_context.flags]
        complain(told(message, getattr(error.context, "name", None), program.parser.contexts, options))
        raise Exit(code=1) from None


def told(message: str, command: str | None, commands: Iterable[str], options: Iterable[str]) -> InputError:
    """Invoke's message in our words. `command`: the one whose words were read; `options`: what it and invoke itself take."""
    from ...core.config.schema import nearest

    hint = f"inv --help {command}" if command else "inv --list"
    if found := re.fullmatch(r"No idea what (.*) is!", message, re.DOTALL):
        word = found[1][1:-1]
        if word.startswith("-"):
            return _unknown(f"{command or 'inv'} {shown(word)}: there is no such option", option_near(word, options), hint)
        what = f"is no command, and no value that {command} takes" if command else "there is no such command"
        return _unknown(f"{shown(word)}: {what}", nearest(word, commands), "inv --list" if not command else hint)
    if found := re.match(r"Flag <\w+: ([\w-]+).* needed value", message):
        return InputError([f"{command or 'inv'} --{found[1]}: wants a value"], hint)
    if found := re.fullmatch(r"'.*' did not receive required positional arguments: (.*)", message):
        names = found[1].replace("'", "").upper()
        return InputError([f"{command}: {names} is missing"], f"inv --help {command}")
    return InputError([message], hint)


def option_near(word: str, options: Iterable[str]) -> str:
    """`did you mean --hosts?`; the hyphens, which all have, make nothing alike."""
    from ...core.config.schema import nearest

    near = nearest(word.lstrip("-"), [o[2:] for o in options if o.startswith("--")])
    return re.sub(r"(mean| or) (?=\w)", r"\1 --", near)


def _unknown(what: str, near: str, hint: str) -> InputError:
    return InputError([f"{what}; {near}" if near else what], hint)
