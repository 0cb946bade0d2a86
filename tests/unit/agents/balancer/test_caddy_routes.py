# ruff: noqa: E501  the rows of a table are easier to read whole
"""Validation of routes: no route can inject into Caddy's configuration, or break it for the others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from voluptuous import Invalid

from fabfile.core.config import service_texts, service_values
from remote_agents.nexus_agents.balancer.caddy_config import with_id
from remote_agents.nexus_agents.balancer.caddy_handlers import escape_braces
from remote_agents.nexus_agents.balancer.caddy_routes import ip_address, validate_routes
from tests.support.caddy_reader import (
    PLACEHOLDERS,
    UP,
    answer_of,
    config_of,
    handlers,
    replace_placeholders,
    route,
    route_for,
    walk,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6,
)  # fmt: skip
ODD = st.text(st.sampled_from('abz09-._/{}\\"\n\r\x00*? %:[]<>ü$env.HOME'), max_size=20)
ROUTES = st.fixed_dictionaries({
    "service": ODD | st.just("web"), "domain": ODD | st.just("web.test"), "path": ODD.map("/{}".format), "check_path": ODD | st.none(),
    "headers": st.dictionaries(ODD | st.just("X-A"), ODD | st.none() | st.integers(), max_size=3),
    "timeout": st.floats() | st.integers(-2, 90000),
})  # fmt: skip


@given(st.lists(ROUTES | JSON, max_size=5))
def test_no_route_breaks_the_others(odd: list[Any]) -> None:
    """Whatever else is in the list, the result is JSON, a valid route works, and Caddy replaces no placeholder of theirs."""
    valid = route("a", domain="sound.example", headers={"X-A": "{env.HOME}"})
    found = config_of(*odd, valid, live={"a": UP})
    assert json.loads(with_id(found)[1])
    assert route_for(found, "sound.example", "/x") == route_for(config_of(valid, live={"a": UP}), "sound.example", "/x")
    for newer in (False, True):
        looked_up: set[str] = set()
        for name, value in walk({k: v for k, v in found.items() if k != "logging"}):
            if isinstance(value, str) and name != "expression":
                replace_placeholders(value, newer, looked_up)
        assert looked_up <= PLACEHOLDERS


@pytest.mark.parametrize("value", [
    "{env.HOME}", "}", "{", "}{", '"{http.request.uri}"', "'quoted' \"twice\"", '{"group":"a","max_age":1}', "a\\b", "{{x}}", "\\ {",
])  # fmt: skip
@pytest.mark.parametrize("newer", [False, True])
def test_a_header_value_is_literal(value: str, newer: bool) -> None:
    """Braces, quotes and placeholders reach the client unchanged, with old and new versions of Caddy."""
    found = config_of(route(headers={"x-note": value}))
    texts = [
        ops["response"]["set"]["X-Note"][0]
        for ops in handlers(found, "headers")
        if "X-Note" in ops["response"].get("set", {})
    ]
    looked_up: set[str] = set()
    assert {replace_placeholders(text, newer, looked_up) for text in texts} == {value}
    assert looked_up == set()


@given(st.text(st.sampled_from("{}ab.")), st.booleans())
def test_escape_braces_is_undone_by_the_replacer(text: str, newer: bool) -> None:
    """For every text with braces Caddy's replacer returns the text."""
    looked_up: set[str] = set()
    assert replace_placeholders(escape_braces(text), newer, looked_up) == text
    assert looked_up == set()


@pytest.mark.parametrize(("field", "value", "reason"), [
    ("domain", "web.test\n", "domain"), ("domain", "{env.HOME}", "domain"), ("domain", "*.web.test", "domain"), ("domain", "", "domain"),
    ("domain", "web.test:8443", "domain"), ("domain", None, "domain"), ("domain", "-a.test", "domain"), ("domain", "ü.test", "domain"),
    ("path", "api", "path"), ("path", "/a*", "path"), ("path", "/{x}", "path"), ("path", "/%2f", "path"), ("path", "/a/../b", "path"),
    ("path", "/a//b", "path"), ("path", None, "path"), ("check_path", "health", "check_path"), ("check_path", "/a\nb", "check_path"),
    ("timeout", 0, "timeout"), ("timeout", True, "timeout"), ("timeout", float("nan"), "timeout"), ("timeout", "30", "timeout"),
    ("timeout", 90000, "timeout"), ("service", "we b", "service"), ("headers", ["X-A"], "headers"), ("headers", {"X A": "b"}, "headers"),
    ("headers", {"X-A": "b\r\nX-B: c"}, "headers"), ("headers", {"X-*": None}, "headers"), ("headers", {"X-A": "\\{env.HOME}"}, "headers"),
    ("headers", {"Content-Length": "1"}, "headers"), ("headers", {"X-A": True}, "headers"), ("headers", {"X-A": "ü"}, "headers"),
])  # fmt: skip
def test_invalid_routes_are_left_out(field: str, value: Any, reason: str) -> None:
    """A route that Caddy would misread is left out, with a sentence that names the field."""
    valid, faults = validate_routes([route(**{field: value})])
    assert valid == []
    assert len(faults) == 1
    assert reason in faults[0][1]


def test_one_domain_and_path_belongs_to_one_service() -> None:
    """Of two services with one domain and path, in any spelling, the first by name is published, the other reported."""
    valid, faults = validate_routes([route("b", domain="WEB.test", path="/Api/"), route("a", path="/api")])
    assert [r.service for r in valid] == ["a"]
    assert faults == [("b", "web.test/api belongs to a already")]


@pytest.mark.parametrize(("host", "good"), [
    ("10.0.0.1", "10.0.0.1"), ("fd00::1", "[fd00::1]"), ("w1", None), ("", None), (None, None), ("fe80::1%eth0", None),
    ("unix//run/caddy/admin.sock", None), ("{env.HOME}", None), ("10.0.0.1:80", None), ("127.1", None),
])  # fmt: skip
def test_only_ip_addresses_are_dialled(host: Any, good: str | None) -> None:
    """An instance that was registered with anything but an IP address gets no requests, above all the admin socket."""
    assert ip_address(host) == good
    text = answer_of(config_of(route(), live={"web": [(host, 80)]}))
    assert text == f"{good}:80" if good else "no healthy instance" in text


@pytest.mark.parametrize("port", [0, -1, 65536, True, "80"])
def test_only_ports_are_dialled(port: Any) -> None:
    """An invalid port drops the instance, and does not break the configuration."""
    assert "no healthy instance" in answer_of(config_of(route(), live={"web": [("10.0.0.1", port)]}))


def _passes(check: Any, value: object) -> bool:
    try:
        check(value)
    except Invalid:
        return False
    return True


LINES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20) | st.builds(
    lambda c, n: c * n, st.sampled_from("a \\~"), st.integers(7990, 8200)
)
PATHS = st.text(st.sampled_from("/aZ9._~-"), max_size=12).map("/{}".format) | st.integers(250, 260).map(lambda n: "/" + "a" * n)


@given(LINES, PATHS, st.sampled_from(["", "?", "?a=1&b=/-~."]))
@example("x" * 8000, "/", "")
@example("x" * 8192, "/", "")
@example("x" * 8193, "/", "")
def test_what_services_yml_may_say_is_published(header: str, path: str, query: str) -> None:
    """A header or path that passed the door must not unpublish its route on the balancer."""
    good = header if _passes(service_texts.header_value, header) else None
    good_path = service_values.path(path) if _passes(service_values.path, path) else "/"
    check = path + query if _passes(service_values.path, path) else None
    published, faults = validate_routes([route("web", path=good_path, headers={"X-A": good}, check_path=check)])
    assert (len(published), faults) == (1, [])
    if len(header) > 8192:
        assert good is None
        assert validate_routes([route("web", headers={"X-A": header})])[0] == []
