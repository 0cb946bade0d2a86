# ruff: noqa: E501  the rows of a table are easier to read whole
"""The balancer's Caddy configuration: which requests go where, how they are tried, who signs."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_agents.nexus_agents.balancer.caddy_config import is_private, validation_config, with_id
from remote_agents.nexus_agents.balancer.caddy_handlers import HEADERS
from tests.support.caddy_reader import UP, asked, handlers, made, route, service_of


@pytest.mark.parametrize(("path", "goes_to"), [
    ("/", "10.0.0.1:8080,10.0.0.2:8080"), ("/apix", "10.0.0.1:8080,10.0.0.2:8080"), ("/api", "10.0.0.3:1"),
    ("/api/x", "10.0.0.3:1"), ("/api/v2", "10.0.0.4:1"), ("/api/v2/x/y", "10.0.0.4:1"), ("/api/v", "10.0.0.3:1"),
])  # fmt: skip
def test_the_longest_path_wins(path: str, goes_to: str) -> None:
    """A path is a prefix of whole parts, and of those that fit the longest decides."""
    routes = [route(), route("api", path="/api"), route("v2", path="/api/v2/")]
    assert (
        service_of(made(*routes, live={"web": UP, "api": [("10.0.0.3", 1)], "v2": [("10.0.0.4", 1)]}), path=path) == goes_to
    )


PATHS = st.lists(st.sampled_from(["/", "/a", "/a/b", "/a/b/c", "/ab", "/b", "/b/a"]), unique=True, min_size=1)


@given(PATHS, st.sampled_from(["/", "/a", "/a/b", "/a/b/c/d", "/ab", "/abc", "/b/x", "/z"]))
def test_order_does_not_matter(paths: list[str], path: str) -> None:
    """Whatever the order of the routes, the longest prefix is asked, and the bytes are equal."""
    live = {f"s{i}": [("10.0.0.9", i + 1)] for i in range(len(paths))}
    routes = [route(f"s{i}", path=p) for i, p in enumerate(paths)]
    found = made(*routes, live=live)
    fitting = [i for i, p in enumerate(paths) if p == "/" or path == p or path.startswith(p + "/")]
    best = max(fitting, key=lambda i: len(paths[i]), default=None)
    assert service_of(found, path=path) == (f"10.0.0.9:{best + 1}" if best is not None else
                                            "No service is published under this name.\n")  # fmt: skip
    assert with_id(made(*reversed(routes), live=live)) == with_id(found)


def test_a_service_without_instances_answers_503_and_harms_nobody() -> None:
    """It gets 503 with Retry-After and a sentence; its neighbour's routes are byte for byte the same."""
    neighbour = route(domain="other.test")
    with_it = made(route("gone"), neighbour)
    text = handlers(asked(with_it, "web.test", "/"), "static_response")[0]
    assert text["status_code"] == 503
    assert text["headers"]["Retry-After"] == ["5"]
    assert "gone has no healthy instance" in text["body"]
    assert asked(with_it, "other.test", "/") == asked(made(neighbour), "other.test", "/")


def test_defaults_yield_to_the_service_and_to_the_operator() -> None:
    """A default header is set only where the response has none; the operator's value always, and null takes it away."""
    found = asked(
        made(route(headers={"x-frame-options": "DENY", "Referrer-Policy": None, "Server": "ours", "X-Age": 1})),
        "web.test",
        "/",
    )
    responses = [h["response"] for h in found["handle"] if h["handler"] == "headers"]
    defaults = {name: r["set"][name] for r in responses if "require" in r for name in r["require"]["headers"]}
    assert defaults == {n: [t] for n, t in HEADERS.items() if n not in ("X-Frame-Options", "Referrer-Policy")}
    assert all(r["require"]["headers"] == dict.fromkeys(r["set"]) for r in responses if "require" in r)
    own = next(r for r in responses if r.get("deferred"))
    assert own["set"] == {"X-Frame-Options": ["DENY"], "Server": ["ours"], "X-Age": ["1"]}
    assert own["delete"] == ["Referrer-Policy", "Via"]


def test_every_answer_hides_the_server() -> None:
    """Each route of each server takes the Server header off first, the errors' routes too."""
    servers = made(route(), route("gone", domain="gone.test"))["apps"]["http"]["servers"].values()
    for found in [r for s in servers for r in [*s["routes"], *s.get("errors", {"routes": []})["routes"]]]:
        assert found["handle"][0] == {"handler": "headers", "response": {"delete": ["Server"]}}


def test_how_requests_are_tried() -> None:
    """Fewest connections; safe methods again for 5 s beyond the route's time; no idle connections; checks for two or more."""
    safe, once = handlers(asked(made(route(timeout=2.5)), "web.test", "/"), "reverse_proxy")
    fewest = {"selection_policy": {"policy": "least_conn"}}
    assert safe["load_balancing"] == {**fewest, "try_duration": "7500ms", "try_interval": "100ms", "retries": 50}
    assert once["load_balancing"] == fewest
    times = {"dial_timeout": "1s", "response_header_timeout": "2500ms"}
    assert safe["transport"] == once["transport"] == {"protocol": "http", "keep_alive": {"enabled": False}, **times}
    active = {"uri": "/health", "interval": "1s", "timeout": "1s"}
    checks = {"passive": {"fail_duration": "1s", "max_fails": 1}, "active": active}
    assert safe["health_checks"] == once["health_checks"] == checks
    for alone in handlers(made(route(), live={"web": UP[:1]}), "reverse_proxy"):
        assert "health_checks" not in alone
    unchecked = handlers(asked(made(route(check_path=None)), "web.test", "/"), "reverse_proxy")
    assert [set(p["health_checks"]) for p in unchecked] == [{"passive"}, {"passive"}]


@pytest.mark.parametrize(("domain", "private"), [
    ("a.test", True), ("a.internal", True), ("a.local", True), ("a.lan", True), ("a.localhost", True), ("localhost", True),
    ("box", True), ("a.home.arpa", True), ("a.example", True), ("10.0.0.1", True), ("fd00::1", True), ("example.com", False),
    ("a.latest", False), ("test.io", False),
])  # fmt: skip
def test_who_signs(domain: str, private: bool) -> None:
    """What no public CA signs comes from Caddy's own CA, all of it when told so; its root stays out of the trust store."""
    assert is_private(domain) is private
    policies = made(route(domain=domain), email="ops@example.com")["apps"]["tls"]["automation"]["policies"]
    public = {"module": "acme", "email": "ops@example.com"}
    assert [(p["subjects"], p["issuers"]) for p in policies] == [([domain], [{"module": "internal"} if private else public])]
    forced = made(route(domain=domain), internal=True)["apps"]
    assert forced["tls"]["automation"]["policies"][0]["issuers"] == [{"module": "internal"}]
    assert forced["pki"]["certificate_authorities"]["local"]["install_trust"] is False


def test_only_named_hosts_get_a_certificate_on_demand() -> None:
    """A policy on demand lists its names, and no address is among them, for a handshake cannot name one."""
    found = made(route(), route(domain="10.0.0.1"), route(domain="example.com"))["apps"]["tls"]
    assert [(p["subjects"], p.get("on_demand")) for p in found["automation"]["policies"]] == [
        (["web.test"], True), (["10.0.0.1"], None), (["example.com"], None)]  # fmt: skip
    assert found["certificates"]["automate"] == ["10.0.0.1", "example.com"]


def test_plain_http_knows_its_health_and_no_hosts() -> None:
    """Behind the place of Caddy's own redirects: /health is ok, all else 404; with no route there is no HTTPS."""
    routes = made(route())["apps"]["http"]["servers"]["http"]["routes"]
    assert [r.get("match") for r in routes] == [[{"host": ["web.test"]}], [{"path": ["/health"]}], None]
    assert [r["handle"][-1].get("status_code") for r in routes[1:]] == [200, 404]
    empty = made()["apps"]
    assert list(empty) == ["http"]
    assert list(empty["http"]["servers"]) == ["http"]


def test_the_id_names_the_content() -> None:
    """Equal configurations bear one id, others another, and the admin socket stays where it is."""
    mark, body = with_id(made(route()))
    loaded = json.loads(body)
    assert loaded["admin"] == {"@id": mark, "listen": "unix//run/caddy/admin.sock", "config": {"persist": False}}
    assert with_id(made(route(timeout=31)))[0] != mark


def test_a_trial_leaves_nothing_behind() -> None:
    """What is only tried writes logs and certificates into its own folder and asks no CA."""
    found = validation_config([route(domain="example.com")], {"web": UP}, "/tmp/x")
    assert found["storage"] == {"module": "file_system", "root": "/tmp/x"}
    assert found["logging"]["logs"]["access"]["writer"]["filename"] == "/tmp/x/access.log"
    assert "acme" not in json.dumps(found)
