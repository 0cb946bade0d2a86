"""What a deploy would publish: the difference between the cluster's services and services.yml, line by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.core.model.service import Check, Replicas, Service, Services, differences, wanted

SOURCE = Path("/ops/services.yml")
NEW, PLACEMENT = "new version: its instances are replaced one by one", "placement"


def service(name: str, **own: Any) -> Service:
    return Service(name, Check("tcp"), ("run",), port=8080, **own)


def services(*entries: Service) -> Services:
    return Services(entries, SOURCE)


def as_published(given: Services) -> dict[str, Any]:
    """What the cluster has after these were published: it went through JSON."""
    return dict(json.loads(json.dumps(wanted(given))))


WEB, API = service("web"), service("api")


def test_what_is_published_makes_no_difference() -> None:
    """The same services, in whatever order and on whatever line, leave nothing to publish."""
    have = as_published(services(WEB, API))
    assert differences(have, services(WEB, API)) == ()
    assert differences(have, services(API, service("web", line=7))) == ()


def test_a_digest_decides_without_a_look_at_the_rest() -> None:
    """Equal digests are equal services."""
    assert differences({"digest": wanted(services(WEB))["digest"]}, services(WEB)) == ()


def test_no_file_takes_nothing_away() -> None:
    """Without services.yml whatever the cluster runs stays, while an empty one takes all of it away."""
    have = as_published(services(WEB, API))
    assert differences(have, Services()) == ()
    assert sorted(differences(have, services())) == ["- api", "- web"]


@pytest.mark.parametrize("have", [None, {}, {"digest": "other", "services": {}}])
def test_all_is_new_to_a_cluster_that_has_none(have: dict[str, Any] | None) -> None:
    """With nothing published, or no manager that answers, each service is new, in the file's order."""
    assert differences(have, services(WEB, API)) == ("+ web", "+ api")


@pytest.mark.parametrize("have", [None, {}])
def test_nothing_of_nothing_is_nothing(have: dict[str, Any] | None) -> None:
    """An empty file and a cluster without services are alike."""
    assert differences(have, services()) == ()


@pytest.mark.parametrize(("changed", "word"), [
    ({"env": {"A": "1"}}, NEW), ({"user": "app"}, NEW), ({"memory_mb": 64}, NEW), ({"stop_timeout": 3.0}, NEW),
    ({"cpu": 0.5}, NEW), ({"replicas": Replicas(min=3, max=3)}, PLACEMENT), ({"replicas": Replicas(True, 0, 0)}, PLACEMENT),
    ({"replicas": Replicas(min=1, max=3, cpu=60)}, PLACEMENT), ({"labels": {"disk": "ssd"}}, PLACEMENT),
    ({"labels": {"disk": "ssd"}, "env": {"A": "1"}}, NEW)])  # fmt: skip
def test_a_change_says_whether_instances_are_replaced(changed: dict[str, Any], word: str) -> None:
    """What an instance is made of is a new version; how many and where is placement alone."""
    assert differences(as_published(services(WEB, API)), services(service("web", **changed), API)) == (f"~ web ({word})",)


@pytest.mark.parametrize("changed", [
    {"path": "/shop"}, {"headers": {"X-A": "1"}}, {"timeout": 3.0}, {"domain": "b.example.org"}])  # fmt: skip
def test_a_change_of_the_balancer_alone_is_told(changed: dict[str, Any]) -> None:
    """No instance is touched where only the way to them changes, but there is something to publish."""
    before, after = {"domain": "example.org"}, {"domain": "example.org", **changed}
    assert differences(as_published(services(service("web", **before))), services(service("web", **after))) == ("~ routes",)


@pytest.mark.parametrize(("before", "after", "line"), [
    ("a.test", "b.test", "~ web (its check asks for b.test)"), (None, "b.test", "~ web (its check asks for b.test)"),
    ("a.test", None, "~ web (its check asks for no domain)")])  # fmt: skip
def test_another_domain_is_asked_for_by_an_http_check(before: str | None, after: str | None, line: str) -> None:
    """The instances go on; a check by TCP names nobody."""
    first, then = (Service("web", Check("http", "/"), ("run",), port=80, domain=d) for d in (before, after))
    assert differences(as_published(services(first)), services(then)) == (line,)
    assert first.revision == then.revision
    assert "check_host" not in service("web", domain="a.test").spec()


def test_all_three_at_once() -> None:
    """What comes, then what changes, then what goes."""
    before = services(WEB, service("old"))
    after = services(service("new"), service("web", env={"A": "1"}))
    assert differences(as_published(before), after) == ("+ new", f"~ web ({NEW})", "- old")


def test_what_an_older_toolkit_published_is_compared_all_the_same() -> None:
    """A spec that lacks a key, or has one too many, is a difference and no failure."""
    have = as_published(services(WEB))
    del have["services"]["web"]["labels"]
    have["digest"] = "old"
    assert differences(have, services(WEB)) == (f"~ web ({PLACEMENT})",)
    have["services"]["web"] = {"name": "web"}
    assert differences(have, services(WEB)) == (f"~ web ({NEW})",)


NAMES = st.sampled_from(["a", "b", "c"])
SERVICES = st.lists(
    st.builds(
        service, NAMES, env=st.sampled_from([{}, {"A": "1"}, {"A": "2"}]), labels=st.sampled_from([{}, {"disk": "ssd"}]),
        domain=st.sampled_from([None, "example.org"]), cpu=st.sampled_from([None, 0.1, 1 / 3, 2.0]),
    ),
    max_size=3, unique_by=lambda s: s.name,
).map(lambda found: services(*found))  # fmt: skip


@given(SERVICES, SERVICES)
def test_there_is_a_line_exactly_where_something_differs(before: Services, after: Services) -> None:
    """An empty answer is an equal digest, and each name has one line that fits what became of it."""
    have = as_published(before)
    lines = differences(have, after)
    assert (lines == ()) == (have["digest"] == wanted(after)["digest"])
    old, new = {s.name: s for s in before}, {s.name: s for s in after}
    signs = {line.split()[1]: line[0] for line in lines if line != "~ routes"}
    assert {n for n, sign in signs.items() if sign == "+"} == new.keys() - old.keys()
    assert {n for n, sign in signs.items() if sign == "-"} == old.keys() - new.keys()
    changed = {n for n in old.keys() & new.keys() if old[n].spec() != new[n].spec()}
    assert {n for n, sign in signs.items() if sign == "~"} == changed


@given(SERVICES, SERVICES)
def test_publishing_ends_the_difference(before: Services, after: Services) -> None:
    """Once published, nothing is left to publish, whatever was there before."""
    assert differences(as_published(after), after) == ()
    assert differences(None, before) == tuple(f"+ {s.name}" for s in before)
