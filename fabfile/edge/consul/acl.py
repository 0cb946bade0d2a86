"""Brings Consul's ACLs to what `core.judge.acl` wants: bootstraps them once, then writes policies and tokens."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import cycle
from typing import Any, TypeVar

from ...core.errors import ApplyError, NexusError
from ...core.judge import acl
from ...core.model.cluster import Cluster
from ...core.model.secrets import Secrets
from ..disk.vault import Vault
from ..ssh.connection import Remote
from .client import Consul, ConsulApiError

# Seconds to wait for the servers' ACL system after a start. Measured: 1 to 5. An old Consul (before 1.11) that finds no
# leader at first asks again only every half a minute, and reports "legacy mode" until then.
PATIENCE = 75.0
T = TypeVar("T")
Call = tuple[str, str, object]  # method, path, body
_RESET = re.compile(r"reset index: (\d+)")


def sync(servers: Sequence[Remote], cluster: Cluster, secrets: Secrets) -> Secrets:
    """Bootstraps where that was never done, then writes what differs. Returns the secrets with the management token.

    May be interrupted anywhere: the token is on disk before it is used, and every write can be repeated.
    ApplyError when the ACL system is not ready in time.
    """
    secrets = _with_management_token(servers, cluster, secrets)
    for server in servers:
        server.token = secrets.management
    server = _first_ready(servers)
    wanted = acl.wanted(cluster, secrets)
    listed = [p for p in _request(server, "GET", "/v1/acl/policies") if p["Name"].startswith("nexus-")]
    # one by one, since the list has no rules; most are known by their hash
    unknown = [p for p in listed if acl.known_rules(wanted, p) is None]
    policies = [{**p, "Rules": acl.known_rules(wanted, p)} for p in listed if p not in unknown]
    policies += _request_all(server, [("GET", f"/v1/acl/policy/{p['ID']}", None) for p in unknown])
    tokens = _request(server, "GET", "/v1/acl/tokens")
    todo = acl.changes(wanted, policies, tokens)
    _request_all(server, [_policy_call(policy, known) for policy, known in todo.put_policies])
    present = {t["AccessorID"] for t in tokens}
    dns = ("PUT", f"/v1/acl/token/{acl.ANONYMOUS}", {"AccessorID": acl.ANONYMOUS, "Policies": [{"Name": acl.DNS}]})
    _request_all(server, [dns, *(_token_call(grant, secrets, grant.accessor in present) for grant in todo.put_grants)])
    # a rotation deletes its retired tokens itself, at its end
    drop = [("DELETE", f"/v1/acl/token/{a}", None) for a in todo.drop_tokens if a not in secrets.retired]
    _request_all(server, [*drop, *(("DELETE", f"/v1/acl/policy/{p}", None) for p in todo.drop_policies)])
    return secrets


def _request(server: Remote, method: str, path: str, body: object = None) -> Any:
    return Consul(server).request(method, path, body)


def _request_all(server: Remote, calls: Sequence[Call]) -> list[Any]:
    """In parallel: each write waits for a raft commit, and none depends on another."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(lambda call: _request(server, *call), calls))


def _policy_call(policy: acl.Policy, policy_id: str | None) -> Call:
    body = {"Name": policy.name, "Rules": policy.rules, "Description": acl.DESCRIPTION}
    return ("PUT", f"/v1/acl/policy/{policy_id}" if policy_id else "/v1/acl/policy", body)


def _token_call(grant: acl.Grant, secrets: Secrets, exists: bool) -> Call:
    body = {
        "AccessorID": grant.accessor, "SecretID": secrets.tokens[grant.name].secret,
        "Description": acl.MARK + grant.name, "Policies": [{"Name": grant.policy}],
    }  # fmt: skip
    return ("PUT", f"/v1/acl/token/{grant.accessor}" if exists else "/v1/acl/token", body)


def _with_management_token(servers: Sequence[Remote], cluster: Cluster, secrets: Secrets) -> Secrets:
    """The secrets with a management token that is valid now; a new one is saved before it is returned."""
    if secrets.management and _is_valid(servers, secrets.management):
        return secrets
    management = _bootstrap(servers)
    Vault(cluster.state).update(lambda now: replace(now, management=management))
    return replace(secrets, management=management)


def _is_valid(servers: Sequence[Remote], token: str) -> bool:
    """False when the cluster does not know the token, for instance after all its hosts were reinstalled."""

    def attempt(server: Remote) -> bool:
        try:
            Consul(server, token).request("GET", "/v1/acl/token/self")
        except ConsulApiError as error:
            if error.code == 403:
                return False
            raise
        return True

    return _retry_until_ready(servers, attempt)


def _bootstrap(servers: Sequence[Remote]) -> str:
    """The first token. When it was made before and lost (killed between making and saving it), root on the leader can
    allow another bootstrap: Consul's documented way is a file in its data folder."""

    def attempt(server: Remote) -> str:
        try:
            return str(Consul(server, None).request("PUT", "/v1/acl/bootstrap")["SecretID"])
        except ConsulApiError as error:
            again = _RESET.search(error.body)
            if error.code == 403 and again:
                return _bootstrap_again(servers, again[1])
            raise

    return _retry_until_ready(servers, attempt)


def _first_ready(servers: Sequence[Remote]) -> Remote:
    """The first server that knows the management token."""

    def attempt(server: Remote) -> Remote:
        Consul(server).request("GET", "/v1/acl/token/self")
        return server

    return _retry_until_ready(servers, attempt)


def _bootstrap_again(servers: Sequence[Remote], index: str) -> str:
    """Puts the file on every server, since only the leader's counts; Consul deletes it when it has used it."""
    file = "/var/lib/consul/acl-bootstrap-reset"
    script = f'umask 077; printf %s "$1" > {file}; chown consul: {file}'
    for server in servers:
        server.run(["sh", "-c", script, "sh", index])
    try:
        return str(Consul(servers[0], None).request("PUT", "/v1/acl/bootstrap")["SecretID"])
    finally:
        for server in servers:
            server.run(["rm", "-f", "/var/lib/consul/acl-bootstrap-reset"])


def _retry_until_ready(servers: Sequence[Remote], attempt: Callable[[Remote], T]) -> T:
    """Tries one server after the other, again and again while there is no leader or the ACL system still starts.

    ApplyError after PATIENCE seconds, with the last reason.
    """
    until = time.monotonic() + PATIENCE
    for server in cycle(servers):
        try:
            return attempt(server)
        except NexusError as error:
            if time.monotonic() > until:
                reason = error.body if isinstance(error, ConsulApiError) else str(error)
                raise ApplyError(
                    server.host.name, f"Consul's ACL system is not ready: {reason.strip()}",
                    "deploy again; on the host: journalctl -u consul",
                ) from error  # fmt: skip
            time.sleep(0.3)
    raise AssertionError("there is no server to ask")
