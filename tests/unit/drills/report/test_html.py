"""The page: whole in itself, nothing in it runs, every word of a record is only a word."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings

from fabfile.drills.report.html import page_title, render_page
from fabfile.drills.verdict.record import Record
from tests.support import drill_records as drilled
from tests.support.any_record import SHORT, records

OUTSIDE = ("src", "href", "xlink:href", "action", "data", "poster", "srcset", "style")
EMPTY = {"meta", "br", "hr", "img", "link", "input"}
SHAPES = {"rect", "line", "path"}
OPEN_ENDED = {"tr", "td", "th", "li", "p"}  # HTML lets these end by themselves


class Page(HTMLParser):
    """What a browser would make of it: the tags, their attributes, the text, and what was left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in EMPTY and tag not in OPEN_ENDED and not (tag in SHAPES and self.get_starttag_text()[-2:] == "/>"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in OPEN_ENDED and (tag not in SHAPES or self.open[-1:] == [tag]):
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def harmless(page: Page) -> None:
    """No script, no handler, nothing from outside; every tag closed."""
    assert not {"script", "iframe", "object", "embed", "link", "img", "form", "base", "foreignobject"} & set(page.tags)
    assert not [a for a in page.attributes if a[1].startswith("on")]
    assert all(value.startswith("#drill-") for _, name, value in page.attributes if name in OUTSIDE)
    assert page.open == []
    assert page.tags["style"] == 1


@pytest.mark.parametrize("make", drilled.EVERY, ids=lambda f: f.__name__)
def test_the_page_is_whole_and_harmless(make) -> None:
    """One file, a policy that forbids all else, and no address in it but of its own places."""
    text = render_page([make()], [make() for make in drilled.EVERY])
    page = Page(text)
    harmless(page)
    assert ("meta", "content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
    assert not [word for word in ("http://", "https://", "url(", "@import") if word in text]
    assert make().verdict in page.text


def test_foreign_words_are_only_words() -> None:
    """A target named like markup is shown as it is spelt; what a browser would obey unseen is replaced."""
    text = render_page([drilled.hostile()], [replace(drilled.hostile(), began=1.0)])
    assert "<script" not in text
    assert "</text><" not in text.replace("</text>\n", "")
    assert not [c for c in text if (c < " " and c != "\n") or c in "\u202e\ud800"]
    assert "</text><script>alert(1)</script>&\"' \\x1b[31m" in Page(text).text
    text.encode()  # no half of a surrogate pair is left


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(records(number=SHORT, sample=SHORT), records())
def test_any_record_makes_a_page(sane: Record, absurd: Record) -> None:
    """However odd its numbers, and however little is known, a page comes out that is whole."""
    for made in ([sane], [absurd], [sane, absurd]):
        page = Page(render_page(made, made))
        harmless(page)
        assert "nan" not in " ".join(v for t, _, v in page.attributes if t in SHAPES)


def test_the_page_says_what_was_measured() -> None:
    """Verdict, why, times with error bar, promise, counts and percentiles, and the timeline."""
    text = Page(render_page([drilled.passed()])).text
    for words in ("✓ PASS", "Recovered after 1.84 s, promised within 10 s.", "1.84 s ± 0.5 s", "back and passing in 10 s",
                  "6 of 280", "p99", "143 ms", "kill-service on api on w1", "2026-11-23 20:15:04 UTC"):  # fmt: skip
        assert words in text


def test_never_seen_is_said_and_nothing_is_zero() -> None:
    """In the table, in the picture and among the runs."""
    text = Page(render_page([drilled.failed()], [replace(drilled.failed(), began=1.0)])).text
    assert "never seen within 30 s" in text
    assert "recovered: never seen" in text
    assert "this run: never recovered" in text
    assert "± 0.5 s within 30 s" not in text


def test_a_run_without_a_verdict_is_not_called_broken() -> None:
    """The measurement broke; whether the promise did, nobody knows."""
    for make in (drilled.unknown, drilled.aborted):
        page = Page(render_page([make()], [replace(make(), began=1.0)]))
        assert "not judged" in page.text
        assert "broken" not in [v for _, n, v in page.attributes if n == "class"]
        assert "never recovered" not in page.text


def test_findings_and_force_stand_out() -> None:
    """Two primaries at a time, and a drill that was forced, are told above the pictures."""
    page = Page(render_page([drilled.split()])).text
    assert page.index("The history of the primaries is not sound two primaries") < page.index("What happened")
    assert "Forced: the only instance" in Page(render_page([drilled.failed()])).text


def test_a_gameday_has_a_table_and_a_section_for_each() -> None:
    """Each line of the table leads to its section; all verdicts are counted, skipped ones not as run."""
    made = [make() for make in drilled.EVERY]
    page = Page(render_page(made))
    links = [value[1:] for tag, name, value in page.attributes if (tag, name) == ("a", "href")]
    assert links == page.ids == [f"drill-{n}" for n in range(1, len(made) + 1)]
    assert "Gameday: 5 of 9 drills passed" in page.text
    assert "5 PASS, 2 FAIL, 1 UNKNOWN, 1 ABORTED, 1 SKIPPED" in page.text
    assert page.tags["article"] == len(made)


def test_an_empty_gameday_is_a_page_as_well() -> None:
    """Nothing was run: 0 of 0."""
    assert page_title([]) == "Gameday: 0 of 0 drills passed"
    harmless(Page(render_page([])))


def test_a_long_drill_makes_no_heavy_page() -> None:
    """Ten minutes of twenty requests a second fit into 100 kB, and the page says that points were merged."""
    text = render_page([drilled.long()])
    assert len(text) < 100_000
    assert "12,000 requests, drawn as" in text
