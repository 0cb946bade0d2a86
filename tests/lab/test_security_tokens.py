"""What each token may do at Consul's API, and what not."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

import pytest

from .conftest import MANAGERS, Lab

pytestmark = pytest.mark.lab


# What each token may (True) and may not do, asked on the host that has it. `w1` and `w2` are other hosts to some.
KINDS = {"none": "w1", "agent/w1": "w1", "worker/w1": "w1", "orchestrator/m1": "m1", "balancer/lb1": "lb1"}
ACTIONS: dict[str, tuple[str, str, str]] = {
    "read the catalogue": ("GET", "catalog/nodes", ""),
    "register a service": ("PUT", "agent/service/register", '{"Name": "attack", "Port": 1}'),
    "write the primary": ("PUT", "kv/nexus/primary", "me"),
    "lock the primary": ("PUT", "kv/nexus/primary?acquire=SESSION", "me"),
    "delete the primary": ("DELETE", "kv/nexus/primary", ""),
    "place on w1": ("PUT", "kv/nexus/placement/w1/x", "attack"),
    "read w1's placement": ("GET", "kv/nexus/placement/w1/x", ""),
    "read w2's placement": ("GET", "kv/nexus/placement/w2/x", ""),
    "report for w1": ("PUT", "kv/nexus/report/w1/x", "attack"),
    "report for w2": ("PUT", "kv/nexus/report/w2/x", "attack"),
    "write elsewhere": ("PUT", "kv/elsewhere", "attack"),
    "read the tokens": ("GET", "acl/tokens", ""),
    "make a token": ("PUT", "acl/token", '{"Policies": [{"Name": "global-management"}]}'),
    "bootstrap again": ("PUT", "acl/bootstrap", ""),
    "session on its own node": ("PUT", "session/create", '{"TTL": "10s", "NodeChecks": []}'),
    "session on another manager": ("PUT", "session/create", '{"Node": "m2", "TTL": "10s", "NodeChecks": []}'),
    "session on w2": ("PUT", "session/create", '{"Node": "w2", "TTL": "10s", "NodeChecks": []}'),
    "deregister w2": ("PUT", "catalog/deregister", '{"Node": "w2"}'),
    "make the agent leave": ("PUT", "agent/leave", ""),
    "read raft": ("GET", "operator/raft/configuration", ""),
    "list the keyring": ("GET", "operator/keyring", ""),
    "take a snapshot": ("GET", "snapshot", ""),
    "fire an event": ("PUT", "event/fire/attack", ""),
}
MAY = {
    "none": {"read the catalogue"},
    "agent/w1": {"read the catalogue"},
    "worker/w1": {"read the catalogue", "register a service", "read w1's placement", "report for w1"},
    "orchestrator/m1": {
        "read the catalogue", "write the primary", "lock the primary", "delete the primary", "place on w1",
        "read w1's placement", "read w2's placement", "report for w1", "report for w2", "session on its own node",
        "session on another manager",
    },
    "balancer/lb1": {"read the catalogue"},
}  # fmt: skip
EMPTY = ("", "[]", "null", "false")


def call(lab: Lab, host: str, token: str, action: tuple[str, str, str]) -> tuple[int, str]:
    """One HTTP call with curl on the host's loopback. The token goes from stdin to a 0600 file, never into argv."""
    method, path, body = action
    said = lab.run(
        host,
        "umask 077; h=$(mktemp); cat >$h; curl -s -m 10 -o - -w '\\n%{http_code}' -H @$h -X " + method
        + (f" --data-binary {shlex.quote(body)}" if body else "")
        + " " + shlex.quote(f"http://127.0.0.1:8500/v1/{path}") + "; rm $h",
        stdin=f"X-Consul-Token: {token}\n" if token else "",
    )  # fmt: skip
    answer, _, code = said.rpartition("\n")
    return int(code), answer.strip()


def as_manager(lab: Lab, method: str, path: str, body: str = "") -> str:
    code, answer = call(lab, "m1", lab.secrets()["management"], (method, path, body))
    assert code == 200, (path, code, answer)
    return answer


@pytest.fixture
def playground(lab: Lab) -> Iterator[str]:
    """Keys to read, and a session to lock with; all of it taken away afterwards. The next deploy starts what is off."""
    for host in MANAGERS:
        lab.run(host, "systemctl stop nexus-orchestrator")  # or the lock would be taken
    for host in ("w1", "w2"):
        as_manager(lab, "PUT", f"kv/nexus/placement/{host}/x", "task")
    session = json.loads(as_manager(lab, "PUT", "session/create", '{"TTL": "60s", "LockDelay": "1ms"}'))["ID"]
    yield session
    as_manager(lab, "PUT", f"session/destroy/{session}")
    as_manager(lab, "DELETE", "kv/nexus/?recurse")
    as_manager(lab, "DELETE", "kv/elsewhere")


@pytest.mark.parametrize("kind", KINDS)
def test_each_token_may_do_its_job_and_nothing_else(lab: Lab, playground: str, kind: str) -> None:
    """The table MAY, asked over HTTP: what is not in it is refused."""
    token = lab.secrets()["tokens"][kind]["secret"] if kind != "none" else ""
    done, odd = set(), {}
    for name, (method, path, body) in ACTIONS.items():
        code, answer = call(lab, KINDS[kind], token, (method, path.replace("SESSION", playground), body))
        if code == 200 and (answer not in EMPTY or name == "make the agent leave"):
            done.add(name)
        elif code == 200 and method == "PUT" and name != "lock the primary" and not answer:
            done.add(name)  # register and the like answer 200 and nothing
        elif code not in (401, 403, 404, 200):
            odd[name] = (code, answer[:80])
    if "register a service" in done:
        call(lab, KINDS[kind], token, ("PUT", "agent/service/deregister/attack", ""))
    assert done == MAY[kind]
    refusals = "Permission denied", "denied by ACLs", "must run against a server", "failed to decode response"
    assert not {n: o for n, o in odd.items() if not any(r in o[1] for r in refusals)}


def test_a_workers_token_cannot_become_primary(lab: Lab, playground: str) -> None:
    """Put, lock, compare-and-set, delete and transaction on the primary's key with a worker's token: all refused."""
    token = lab.secrets()["tokens"]["worker/w1"]["secret"]
    as_manager(lab, "PUT", "kv/nexus/primary", "the real one")
    txn = '[{"KV": {"Verb": "set", "Key": "nexus/primary", "Value": "bWU="}}]'
    tries = [
        ("PUT", "kv/nexus/primary", "me"), ("PUT", f"kv/nexus/primary?acquire={playground}", "me"),
        ("PUT", "kv/nexus/primary?cas=0", "me"), ("DELETE", "kv/nexus/primary", ""), ("PUT", "txn", txn),
        ("DELETE", "kv/nexus/?recurse", ""), ("GET", "kv/nexus/primary", ""),
    ]  # fmt: skip
    for action in tries:
        code, answer = call(lab, "w1", token, action)
        assert code in (403, 409), (action, code, answer)
        assert "ermission denied" in answer, (action, code, answer)
    assert as_manager(lab, "GET", "kv/nexus/primary?raw") == "the real one"
