"""The text of secrets.json to values and back. Every field is checked: a file that was cut or mended by hand, or that a
newer version wrote, must neither be used in part nor written back without what was not understood.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

from ..model.secrets import KeyPair, Secrets, Token
from .fault import dotted
from .json_text import JsonFault, parse_object

T = TypeVar("T")
Path = tuple[str | int, ...]
_OPTIONAL = {Secrets: ("serial", "spare"), KeyPair: ("issuer",), Token: ()}  # absent in files of early versions


class UnknownField(JsonFault):
    """The file is of a newer version. The field's path, no value."""


def parse(data: bytes) -> Secrets:
    """JsonFault, with the path of the fault and no value, when it is not what `render` writes."""
    raw = _known(parse_object(data), Secrets, ())
    return Secrets(
        gossip=_text(raw["gossip"], ("gossip",)),
        authority=_pair(raw["authority"], ("authority",)),
        trusted=_texts(raw["trusted"], ("trusted",), least=1),
        certs=_mapping(raw["certs"], ("certs",), _pair),
        tokens=_mapping(raw["tokens"], ("tokens",), _token),
        retired=_texts(raw["retired"], ("retired",)),
        management=_optional_text(raw["management"], ("management",)),
        gossip_next=_optional_text(raw["gossip_next"], ("gossip_next",)),
        serial=_serial(raw.get("serial", 1)),
        spare=_mapping(raw.get("spare", {}), ("spare",), _pair),
    )


def render(secrets: Secrets) -> bytes:
    return (json.dumps(asdict(secrets), indent=1) + "\n").encode()


def _known(raw: Any, kind: type, path: Path) -> Mapping[str, Any]:
    """The object with all fields of the kind, and no other."""
    if not isinstance(raw, dict):
        raise _fault(path, "is no JSON object {…}")
    names = [field.name for field in fields(kind)]
    for name in raw:
        if name not in names:
            raise UnknownField(f"holds {dotted((*path, name))}, which this version does not know")
    for name in names:
        if name not in raw and name not in _OPTIONAL[kind]:
            raise _fault((*path, name), "is missing")
    return raw


def _mapping(raw: Any, path: Path, read: Callable[[Any, Path], T]) -> dict[str, T]:
    if not isinstance(raw, dict):
        raise _fault(path, "is no JSON object {…}")
    return {_text(name, path): read(value, (*path, name)) for name, value in raw.items()}


def _pair(raw: Any, path: Path) -> KeyPair:
    found = _known(raw, KeyPair, path)
    issuer = found.get("issuer", "")
    if not isinstance(issuer, str):
        raise _fault((*path, "issuer"), "is no text")
    names = _texts(found["names"], (*path, "names"))
    return KeyPair(_text(found["cert"], (*path, "cert")), _text(found["key"], (*path, "key")), names, issuer)


def _token(raw: Any, path: Path) -> Token:
    found = _known(raw, Token, path)
    return Token(_text(found["accessor"], (*path, "accessor")), _text(found["secret"], (*path, "secret")))


def _texts(raw: Any, path: Path, least: int = 0) -> tuple[str, ...]:
    if not isinstance(raw, list) or len(raw) < least:
        raise _fault(path, "is no list" if not isinstance(raw, list) else "is an empty list")
    return tuple(_text(item, (*path, n)) for n, item in enumerate(raw))


def _optional_text(raw: Any, path: Path) -> str | None:
    return None if raw is None else _text(raw, path)


def _text(raw: Any, path: Path) -> str:
    if not isinstance(raw, str) or not raw or not raw.isascii():
        raise _fault(path, "is no text")
    return raw


def _serial(raw: Any) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int) or raw < 1:
        raise _fault(("serial",), "is no whole number from 1 on")
    return raw


def _fault(path: Path, what: str) -> JsonFault:
    return JsonFault(f"{dotted(path)} {what}" if path else what)
