"""What Consul refuses, as an operator's error: with host, path and a hint."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from fabfile.core.errors import HostError
from fabfile.edge.consul.client import Consul, ConsulApiError, ConsulException
from fabfile.edge.consul.overview import first_answer
from fabfile.edge.ssh.connection import Remote


def remote(name: str, status: int, body: bytes) -> Remote:
    answer = SimpleNamespace(status=status, headers={"X-Consul-Index": "7"}, body=body)
    made = SimpleNamespace(host=SimpleNamespace(name=name), token=None, http=SimpleNamespace(request=lambda *_: answer))
    return cast(Remote, made)


@pytest.mark.parametrize("query", [
    lambda c: c.request("PUT", "/v1/txn?stale", []), lambda c: c.kv.get("x"), lambda c: c.kv.put("x", "y"),
    lambda c: c.agent.self(), lambda c: c.status.leader()])  # fmt: skip
def test_a_refusal_is_the_hosts_error(query: Any) -> None:
    """One kind of error, raised by py-consul or by us, with host, path, code and a hint."""
    with pytest.raises(ConsulApiError) as caught:
        query(Consul(remote("m1", 500, b"No cluster leader\n")))
    error = caught.value
    assert isinstance(error, HostError)
    assert isinstance(error, ConsulException)
    assert (error.host, error.code, error.hint) == ("m1", 500, "inv status")
    assert error.message.startswith("m1: Consul refused /v1/")
    assert error.message.endswith(": 500 No cluster leader")


def test_a_key_that_is_not_there_is_no_refusal() -> None:
    assert Consul(remote("m1", 404, b"")).kv.get("x")[1] is None


def test_an_answer_that_is_no_json_is_the_hosts_error() -> None:
    with pytest.raises(HostError, match="m1: what Consul answers to /v1/kv/x cannot be read"):
        Consul(remote("m1", 200, b"<html>")).kv.get("x")


@pytest.mark.parametrize("address", ["https://consul.example", "consul.example", "unix:///run/consul.sock", "http://c:http"])
def test_the_operators_own_consul_is_another_one(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """CONSUL_HTTP_* in the operator's shell is about another Consul: neither address nor token is used."""
    monkeypatch.setenv("CONSUL_HTTP_ADDR", address)
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "theirs")
    monkeypatch.setenv("CONSUL_HTTP_SSL", "true")
    made = Consul(remote("m1", 404, b""), "ours")
    assert made.kv.get("x")[1] is None
    assert (made.token, made.scheme) == ("ours", "http")


def test_every_servers_reason_is_reported() -> None:
    servers = [remote("m1", 500, b"No cluster leader"), remote("m2", 403, b"ACL not found")]
    with pytest.raises(HostError) as caught:
        first_answer(servers, lambda c: c.agent.self())
    assert caught.value.message.splitlines() == [
        "m1: Consul refused /v1/agent/self: 500 No cluster leader", "m2: Consul refused /v1/agent/self: 403 ACL not found",
    ]  # fmt: skip
