"""What Consul has of the wanted policies and tokens, asked server by server over a host's HTTP channel."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from fabfile.core.errors import HostError
from fabfile.core.judge import acl
from fabfile.core.model.secrets import Secrets
from fabfile.edge.consul.acl_drift import UNKNOWN_TO_CONSUL, drift
from fabfile.edge.ssh.connection import Remote
from fabfile.edge.ssh.http_channel import HttpResponse
from tests.support.samples import CLUSTER, SECRETS

KEPT = replace(SECRETS, management="the key to all")
WANT = acl.wanted(CLUSTER, KEPT)


class Server:
    """A host whose Consul has all that is wanted, as its HTTP channel shows it. `asked`: the paths."""

    def __init__(self, status: int = 200, refusal: bytes = b"", away: bool = False) -> None:
        self._status, self._refusal, self._away = status, refusal, away
        self.asked: list[str] = []
        self.policies = [
            {"ID": f"id-{p.name}", "Name": p.name, "Hash": acl.policy_hash(p), "Description": acl.DESCRIPTION}
            for p in WANT.policies
        ]
        self.rules = {f"id-{p.name}": p.rules for p in WANT.policies}
        self.tokens: list[dict[str, Any]] = [{"AccessorID": acl.ANONYMOUS, "Policies": [{"Name": acl.DNS}]}]
        self.tokens += [
            {"AccessorID": g.accessor, "Description": acl.MARK + g.name, "Policies": [{"Name": g.policy}]}
            for g in WANT.grants
        ]

    @property
    def http(self) -> Server:
        return self

    def request(self, method: str, path: str, body: object, headers: Mapping[str, str]) -> HttpResponse:
        assert (method, body, dict(headers)) == ("GET", None, {"X-Consul-Token": "the key to all"})
        self.asked.append(path)
        if self._away:
            raise HostError("m1", "away", "")
        if self._status != 200:
            return HttpResponse(self._status, {}, self._refusal)
        id_ = path.rpartition("/")[2]
        policy = [{**p, "Rules": self.rules[id_]} for p in self.policies if p["ID"] == id_]
        found: Any = policy[0] if policy else self.tokens if id_ == "tokens" else self.policies
        return HttpResponse(200, {}, json.dumps(found).encode())


def asked(*servers: Server, secrets: Secrets | None = KEPT) -> tuple[str, ...]:
    return drift(cast("list[Remote]", list(servers)), CLUSTER, secrets)


def test_two_requests_tell_that_all_is_there() -> None:
    """The hashes of the list stand for the policies' rules."""
    server = Server()
    assert asked(server) == ()
    assert server.asked == ["/v1/acl/policies", "/v1/acl/tokens"]


def test_a_token_that_is_gone_is_told() -> None:
    """As after `consul acl token delete`."""
    server = Server()
    server.tokens = [t for t in server.tokens if t.get("Description") != acl.MARK + "worker/w1"]
    assert asked(server) == ("+ token worker/w1",)


def test_a_hash_of_another_kind_costs_a_request_and_no_more() -> None:
    """Should a Consul count its hashes otherwise, the rules themselves are read, and are what decides."""
    server = Server()
    server.policies[1]["Hash"] = "of another kind"
    assert asked(server) == ()
    assert len(server.asked) == 3
    server.rules[str(server.policies[1]["ID"])] = "{}"
    assert asked(server) == (f"~ policy {server.policies[1]['Name']}",)


def test_the_next_server_answers_for_one_that_is_away() -> None:
    """One that is away, without a leader or just back decides nothing."""
    gone = Server()
    gone.tokens = gone.tokens[:-1]
    for first in (Server(away=True), Server(500, b"No cluster leader"), Server(403, b"ACL not found")):
        assert len(asked(first, gone)) == 1
        assert asked(first, Server()) == ()


def test_a_management_token_that_no_server_knows_is_told() -> None:
    """As after a snapshot of another time was restored; the deploy makes a new one."""
    assert asked(Server(403, b"ACL not found"), Server(away=True)) == (UNKNOWN_TO_CONSUL,)


def test_where_nobody_can_tell_nothing_is_told() -> None:
    """An open cluster, one without a vault, and one with a host whose tokens are not made yet."""
    assert asked(Server(401, b"ACL support disabled"), Server(away=True)) == ()
    untouched = Server()
    assert asked(untouched, secrets=None) == ()
    assert asked(untouched, secrets=SECRETS) == ()
    assert asked(untouched, secrets=replace(KEPT, tokens=dict(list(KEPT.tokens.items())[1:]))) == ()
    assert untouched.asked == []
