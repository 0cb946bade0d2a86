"""YAML text → values that remember how they were written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.core.config.fault import dotted, shown
from fabfile.core.config.yaml_tree import MAX_BYTES, Misread, decode, parse
from fabfile.core.errors import InputError


def faults(text: str) -> list[str]:
    return [fault.render("f.yml") for fault in parse(text).faults]


def test_a_key_given_twice_names_both_lines() -> None:
    """The second of two equal keys is a fault with both line numbers, at any depth."""
    assert faults("a:\n  b: 1\n  c: 2\n  b: 3\n") == [
        "f.yml:4: a.b: given twice, in lines 2 and 4; a name may stand only once"
    ]


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("1.20", 1.2),
        ("no", False),
        ("~", None),
        ("22", 22),
        ("0o17", "0o17"),
        ("1e3", "1e3"),
        ("017", Misread("017", "the number 15")),
        ("0x1f", Misread("0x1f", "the number 31")),
        ("1_000", Misread("1_000", "the number 1000")),
        ("12:30", Misread("12:30", "the number 750")),
        (".inf", Misread(".inf", "the number inf")),
        ("2024-01-02", Misread("2024-01-02", "a date")),
        ("2024-99-99", Misread("2024-99-99", "a broken timestamp")),
        ("0b_", Misread("0b_", "a broken int")),
    ],
)
def test_scalars_keep_the_text_they_were_made_from(text: str, made: object) -> None:
    """What YAML makes of a plain scalar is kept beside its text; odd numbers become Misread."""
    tree = parse(f"k: {text}")
    assert tree.value == {"k": made}
    assert tree.texts.get(("k",), text) == text
    assert (("k",) in tree.texts) == (not isinstance(made, str))


def test_quoted_scalars_are_text() -> None:
    """Quotes keep any scalar as it is."""
    assert parse("""{a: "1.20", b: 'no', c: "12:30"}""").value == {"a": "1.20", "b": "no", "c": "12:30"}


@pytest.mark.parametrize(("key", "said"), [("no", "false"), ("1", "the number 1"), ("~", "nothing")])
def test_keys_that_yaml_changed_are_faults(key: str, said: str) -> None:
    """A key is text, or a fault that says what YAML read and how to write it."""
    (fault,) = faults(f"{key}: x")
    assert fault.endswith(f'YAML reads this name as {said}; write it in quotes: "{key}"')


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!own", "!!binary", "!!set"])
@pytest.mark.parametrize("value", ["x", "[x]", "{x: y}"])
def test_tags_that_build_objects_are_refused(tag: str, value: str) -> None:
    """No tag but those of plain data is accepted, on any kind of node, and nothing is built."""
    (fault,) = faults(f"k: {tag} {value}")
    assert "the tag" in fault
    assert parse(f"k: {tag} {value}").value == {"k": None}


def test_alias_bombs_end_early() -> None:
    """Aliases that multiply to a billion nodes are one fault, at once; a few plain aliases are fine."""
    bomb = "a0: &a0 [x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
    )
    assert "expand without bound" in faults(bomb)[0]
    assert "expand without bound" in faults("a: &a [*a]")[0]
    assert parse("a: &a [1]\nb: *a").value == {"a": [1], "b": [1]}


@pytest.mark.parametrize("text", ["[" * 200_000, "{a: " * 200_000, "- " * 100_000 + "x"])
def test_deep_nesting_is_one_fault(text: str) -> None:
    """Nesting that would exhaust the stack is a fault, not a crash."""
    assert "levels deep" in faults(text)[0]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a:\n\t- b\n", "f.yml:2: a tab indents this line; YAML wants spaces there"),
        ("a: \x00", "f.yml:1: holds a control character, which YAML does not allow"),
        ("b: 1\na: \x1b[31m", "f.yml:2: holds a control character, which YAML does not allow"),
        ("a: \ud800", "f.yml: holds characters that are not text (lone surrogates)"),
        ("? [a]\n: b", "f.yml:1: a list or a mapping is no key; write the keys out"),
        ("a: &a {b: 1}\nc:\n  <<: *a", "f.yml:3: c: << is not supported; write the keys out"),
    ],
)
def test_each_kind_of_broken_text_has_its_message(text: str, fault: str) -> None:
    """Tabs, control characters, surrogates, complex and merge keys are told apart, with their line."""
    assert faults(text) == [fault]


def test_lines_of_paths_fall_back_to_the_nearest_ancestor() -> None:
    """A path that is not in the file has the line of what would hold it."""
    tree = parse("\ufeffa:\n  b:\n    - x\n    - y\n")
    assert [tree.line(p) for p in ((), ("a", "b"), ("a", "b", 1), ("a", "b", 7), ("a", "z"))] == [
        1,
        2,
        4,
        2,
        1,
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: b\nc: 'd\ne: f\n", "f.yml:2: the quote that opens in this line is never closed"),
        ("a: 'b\nc: {d: 'e'}\n", "f.yml:2: is not YAML: while parsing a block mapping did not find expected key;"
                                  " the quote that opens in line 1 closes only here"),
        ("a: {b: c\nd: e\n", "; what is not closed opens in line 1"),
        ("a: 'b\n  c'\nd: e: f\n", "mapping values are not allowed in this context"),
    ],
)  # fmt: skip
def test_what_is_not_closed_is_told_where_it_opens(text: str, fault: str) -> None:
    """The end of the file is where it is noticed, not where it is mended; a quote over two lines may be meant."""
    (found,) = faults(text)
    assert found.endswith(fault)


def test_files_that_are_not_text_are_refused_with_the_place() -> None:
    """Bytes that are not UTF-8 are an InputError with the line; so is a file beyond the limit."""
    with pytest.raises(InputError, match=r"f.yml:2: byte 0xe4 is not UTF-8 text"):
        decode("a: 1\nb: Bär".encode("latin-1"), "f.yml")
    with pytest.raises(InputError, match="larger than 1 MiB"):
        decode(b"x" * (MAX_BYTES + 1), "f.yml")


def test_what_is_shown_is_safe_on_a_terminal() -> None:
    """Escapes, line ends and bidirectional controls are escaped, long values cut, plain ones left bare."""
    assert shown("\x1b[2J\n") == r'"\u001b[2J\n"'
    assert shown("a\u202eb") == r'"a\u202eb"'
    assert shown("10.0.0.1") == "10.0.0.1"
    assert len(shown("x" * 9999)) < 70
    assert dotted(("hosts", "w 1", "roles", 0)) == 'hosts."w 1".roles[0]'


@given(st.one_of(st.text(), st.text(alphabet="ab:-[]{},&*!<>|'\"#%?~ \n\t019.")))
def test_no_text_makes_parse_raise(text: str) -> None:
    """Any text becomes a tree, with or without faults, whose messages can be printed."""
    for fault in parse(text).faults:
        assert fault.render("f.yml").isprintable()
