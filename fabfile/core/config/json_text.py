"""JSON text of our own files to plain values. What the standard library accepts silently is a fault here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .fault import shown

MAX_BYTES = 16 << 20  # the secrets of a thousand hosts are about four


class JsonFault(ValueError):
    """What is wrong with the text, in words that follow the file's path. It holds no value of the text."""


def parse_object(data: bytes) -> dict[str, Any]:
    """The object in the text. JsonFault for anything else, however it is nested."""
    if len(data) > MAX_BYTES:
        raise JsonFault(f"is larger than {MAX_BYTES >> 20} MiB")
    if not data.strip():
        raise JsonFault("is empty")
    try:
        found = json.loads(data.decode(), object_pairs_hook=_object, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise JsonFault("is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise JsonFault(f"is not JSON (line {error.lineno}: {error.msg})") from None
    except RecursionError:
        raise JsonFault("is nested too deep") from None
    except JsonFault:
        raise
    except ValueError:  # Python refuses integers of more than 4300 digits
        raise JsonFault("holds a number that is too long") from None
    if not isinstance(found, dict):
        raise JsonFault("holds no JSON object {…}")
    return found


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise JsonFault(f"holds {shown(twice)} twice")
    return found


def _refuse_constant(name: str) -> None:
    raise JsonFault(f"holds {name}, which is not JSON")
