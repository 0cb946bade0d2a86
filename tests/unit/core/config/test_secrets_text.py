"""The text of secrets.json: whole, or an error that tells where and shows no secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.core.config.json_text import JsonFault
from fabfile.core.config.secrets_text import UnknownField, parse, render
from tests.support.samples import SECRETS

WHOLE = replace(SECRETS, management="m", gossip_next="n", retired=("r",), serial=3, spare={"x": SECRETS.certs["m1"]})
ODD: list[Any] = [None, True, 0, -1, 1.5, "", "\ud800", [], {}, [None], {"a": 1}, [[]], "SECRET \u20ac"]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in it, the root first."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def with_value(raw: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(raw) if isinstance(raw, dict) else list(raw)
    copy[path[0]] = with_value(raw[path[0]], path[1:], value)
    return copy


def test_what_is_written_is_read_back() -> None:
    """Every field comes back; fields that early versions did not write have their defaults."""
    assert parse(render(WHOLE)) == WHOLE
    early = {k: v for k, v in asdict(SECRETS).items() if k not in ("serial", "spare")}
    early["authority"] = {k: v for k, v in early["authority"].items() if k != "issuer"}
    assert parse(json.dumps(early).encode()) == SECRETS


def test_no_part_is_taken_for_the_whole() -> None:
    """The text cut off anywhere is no set of secrets."""
    text = render(WHOLE).rstrip()
    for end in range(0, len(text), 7):
        with pytest.raises(JsonFault):
            parse(text[:end])


def test_a_field_that_is_missing_or_new_is_named() -> None:
    """By its path, wherever it is."""
    raw = json.loads(render(WHOLE))
    for path in places(raw):
        at = raw
        for key in path:
            at = at[key]
        if isinstance(at, dict) and path not in (("certs",), ("tokens",), ("spare",)):
            with pytest.raises(UnknownField, match="of_tomorrow"):
                parse(json.dumps(with_value(raw, path, {**at, "of_tomorrow": 1})).encode())
            for name in at.keys() - {"serial", "spare", "issuer"}:
                with pytest.raises(JsonFault, match=f"{name} is missing"):
                    parse(json.dumps(with_value(raw, path, {k: v for k, v in at.items() if k != name})).encode())


@given(st.sampled_from(list(places(json.loads(render(WHOLE))))), st.sampled_from(ODD))
def test_an_odd_value_anywhere_is_a_value_or_a_fault(path: tuple[Any, ...], value: Any) -> None:
    """It is read whole, and written back as it was, or it is refused without being shown."""
    raw = with_value(json.loads(render(WHOLE)), path, value)
    found, fault = None, ""
    try:
        found = parse(json.dumps(raw).encode())
    except JsonFault as told:
        fault = str(told)
    assert found is None or json.loads(render(found)) == raw
    assert "SECRET" not in fault
    assert fault.isprintable()


JSON = st.recursive(st.none() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v))


@given(st.binary() | JSON.map(lambda v: json.dumps(v).encode()))
def test_anything_else_is_a_fault(content: bytes) -> None:
    """Bytes or JSON of whatever kind."""
    with pytest.raises(JsonFault):
        parse(content)


def test_nothing_is_too_deep() -> None:
    """What nests without end is refused, with no traceback."""
    for content in (b"[" * 100_000, b'{"gossip":' * 100_000, b'{"certs": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"):
        with pytest.raises(JsonFault, match="nested too deep"):
            parse(content)
