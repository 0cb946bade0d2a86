"""The balancer's Caddy configuration: which requests go where, how they are retried, who signs certificates."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_agents.nexus_agents.balancer.caddy_config import build_validation_config, is_private, with_id
from remote_agents.nexus_agents.balancer.caddy_handlers import DEFAULT_HEADERS
from tests.support.caddy_reader import UP, answer_of, config_of, handlers, route, route_for


@pytest.mark.parametrize(("path", "goes_to"), [
    ("/", "10.0.0.1:8080,10.0.0.2:8080"), ("/apix", "10.0.0.1:8080,10.0.0.2:8080"), ("/api", "10.0.0.3:1"),
    ("/api/x", "10.0.0.3:1"), ("/api/v2", "10.0.0.4:1"), ("/api/v2/x/y", "10.0.0.4:1"), ("/api/v", "10.0.0.3:1"),
])  # fmt: skip
def test_the_longest_path_wins(path: str, goes_to: str) -> None:
    """A path is a prefix of whole segments, and the longest one that matches decides."""
    routes = [route(), route("api", path="/api"), route("v2", path="/api/v2/")]
    assert (
        answer_of(config_of(*routes, live={"web": UP, "api": [("10.0.0.3", 1)], "v2": [("10.0.0.4", 1)]}), path=path)
        == goes_to
    )


PATHS = st.lists(st.sampled_from(["/", "/a", "/a/b", "/a/b/c", "/ab", "/b", "/b/a"]), unique=True, min_size=1)


@given(PATHS, st.sampled_from(["/", "/a", "/a/b", "/a/b/c/d", "/ab", "/abc", "/b/x", "/z"]))
def test_order_does_not_matter(paths: list[str], path: str) -> None:
    """Whatever the order of the routes, the longest prefix wins, and the bytes are equal."""
    live = {f"s{i}": [("10.0.0.9", i + 1)] for i in range(len(paths))}
    routes = [route(f"s{i}", path=p) for i, p in enumerate(paths)]
    found = config_of(*routes, live=live)
    fitting = [i for i, p in enumerate(paths) if p == "/" or path == p or path.startswith(p + "/")]
    best = max(fitting, key=lambda i: len(paths[i]), default=None)
    assert answer_of(found, path=path) == (f"10.0.0.9:{best + 1}" if best is not None else
                                            "No service is published under this name.\n")  # fmt: skip
    assert with_id(config_of(*reversed(routes), live=live)) == with_id(found)


def test_a_service_without_instances_answers_503_and_affects_no_other() -> None:
    """It answers 503 with Retry-After and a sentence; the other service's routes do not change by a byte."""
    neighbour = route(domain="other.test")
    with_it = config_of(route("gone"), neighbour)
    text = handlers(route_for(with_it, "web.test", "/"), "static_response")[0]
    assert text["status_code"] == 503
    assert text["headers"]["Retry-After"] == ["5"]
    assert "gone has no healthy instance" in text["body"]
    assert route_for(with_it, "other.test", "/") == route_for(config_of(neighbour), "other.test", "/")


def test_defaults_yield_to_the_service_and_to_the_operator() -> None:
    """A default header is set only where the response has none; the operator's value always, and null removes it."""
    found = route_for(
        config_of(route(headers={"x-frame-options": "DENY", "Referrer-Policy": None, "Server": "ours", "X-Age": 1})),
        "web.test",
        "/",
    )
    responses = [h["response"] for h in found["handle"] if h["handler"] == "headers"]
    defaults = {name: r["set"][name] for r in responses if "require" in r for name in r["require"]["headers"]}
    assert defaults == {n: [t] for n, t in DEFAULT_HEADERS.items() if n not in ("X-Frame-Options", "Referrer-Policy")}
    assert all(r["require"]["headers"] == dict.fromkeys(r["set"]) for r in responses if "require" in r)
    own = next(r for r in responses if r.get("deferred"))
    assert own["set"] == {"X-Frame-Options": ["DENY"], "Server": ["ours"], "X-Age": ["1"]}
    assert own["delete"] == ["Referrer-Policy", "Via"]


def test_every_answer_hides_the_server() -> None:
    """Each route of each server removes the Server header first, error routes too."""
    servers = config_of(route(), route("gone", domain="gone.test"))["apps"]["http"]["servers"].values()
    for found in [r for s in servers for r in [*s["routes"], *s.get("errors", {"routes": []})["routes"]]]:
        assert found["handle"][0] == {"handler": "headers", "response": {"delete": ["Server"]}}


def test_how_requests_are_retried() -> None:
    """Fewest connections; safe methods for 5 s beyond the timeout; no idle connections; checks for two or more."""
    safe, once = handlers(route_for(config_of(route(timeout=2.5)), "web.test", "/"), "reverse_proxy")
    fewest = {"selection_policy": {"policy": "least_conn"}}
    assert safe["load_balancing"] == {**fewest, "try_duration": "7500ms", "try_interval": "100ms", "retries": 50}
    assert once["load_balancing"] == fewest
    times = {"dial_timeout": "1s", "response_header_timeout": "2500ms"}
    assert safe["transport"] == once["transport"] == {"protocol": "http", "keep_alive": {"enabled": False}, **times}
    as_asked = {"Host": ["web.test"], "X-Forwarded-Proto": ["https"]}
    active = {"uri": "/health", "interval": "1s", "timeout": "1s", "headers": as_asked}
    checks = {"passive": {"fail_duration": "1s", "max_fails": 1}, "active": active}
    assert safe["health_checks"] == once["health_checks"] == checks
    for alone in handlers(config_of(route(), live={"web": UP[:1]}), "reverse_proxy"):
        assert "health_checks" not in alone
    unchecked = handlers(route_for(config_of(route(check_path=None)), "web.test", "/"), "reverse_proxy")
    assert [set(p["health_checks"]) for p in unchecked] == [{"passive"}, {"passive"}]


@pytest.mark.parametrize(("domain", "private"), [
    ("a.test", True), ("a.internal", True), ("a.local", True), ("a.lan", True), ("a.localhost", True), ("localhost", True),
    ("box", True), ("a.home.arpa", True), ("a.example", True), ("10.0.0.1", True), ("fd00::1", True), ("example.com", False),
    ("a.latest", False), ("test.io", False),
])  # fmt: skip
def test_who_signs(domain: str, private: bool) -> None:
    """Caddy's own CA signs where no public CA does, and everything with `internal`; its root is not installed."""
    assert is_private(domain) is private
    policies = config_of(route(domain=domain), email="ops@example.com")["apps"]["tls"]["automation"]["policies"]
    public = {"module": "acme", "email": "ops@example.com"}
    assert [(p["subjects"], p["issuers"]) for p in policies] == [([domain], [{"module": "internal"} if private else public])]
    forced = config_of(route(domain=domain), internal=True)["apps"]
    assert forced["tls"]["automation"]["policies"][0]["issuers"] == [{"module": "internal"}]
    assert forced["pki"]["certificate_authorities"]["local"]["install_trust"] is False


def test_only_named_hosts_get_a_certificate_on_demand() -> None:
    """An on-demand policy lists its names, without IP addresses, as a handshake cannot contain one."""
    found = config_of(route(), route(domain="10.0.0.1"), route(domain="example.com"))["apps"]["tls"]
    assert [(p["subjects"], p.get("on_demand")) for p in found["automation"]["policies"]] == [
        (["web.test"], True), (["10.0.0.1"], None), (["example.com"], None)]  # fmt: skip
    assert found["certificates"]["automate"] == ["10.0.0.1", "example.com"]


def test_plain_http_answers_health_and_redirects() -> None:
    """After Caddy's own redirects: /health is ok, all else 404; without routes there is no HTTPS."""
    routes = config_of(route())["apps"]["http"]["servers"]["http"]["routes"]
    assert [r.get("match") for r in routes] == [[{"host": ["web.test"]}], [{"path": ["/health"]}], None]
    assert [r["handle"][-1].get("status_code") for r in routes[1:]] == [200, 404]
    empty = config_of()["apps"]
    assert list(empty) == ["http"]
    assert list(empty["http"]["servers"]) == ["http"]


def test_the_id_names_the_content() -> None:
    """Equal configurations have the same id, others another one, and the admin socket stays the same."""
    config_id, body = with_id(config_of(route()))
    loaded = json.loads(body)
    assert loaded["admin"] == {"@id": config_id, "listen": "unix//run/caddy/admin.sock", "config": {"persist": False}}
    assert with_id(config_of(route(timeout=31)))[0] != config_id


def test_a_validation_leaves_nothing_behind() -> None:
    """A validation writes logs and certificates into its own folder and requests nothing of a CA."""
    found = build_validation_config([route(domain="example.com")], {"web": UP}, "/tmp/x")
    assert found["storage"] == {"module": "file_system", "root": "/tmp/x"}
    assert found["logging"]["logs"]["access"]["writer"]["filename"] == "/tmp/x/access.log"
    assert "acme" not in json.dumps(found)
