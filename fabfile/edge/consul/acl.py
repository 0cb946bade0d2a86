"""Brings Consul's ACL system to what `core.judge.acl` wants: bootstrapped once, policies and tokens as wanted."""

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
from .client import Consul, Refusal

# Seconds until the servers' ACL system is ready after a start. Measured: 1 to 5; but an old Consul (before 1.11) that
# found no leader at first asks again only every half a minute, and calls itself "in legacy mode" until then.
PATIENCE = 75.0
T = TypeVar("T")
Call = tuple[str, str, object]  # method, path, body
_RESET = re.compile(r"reset index: (\d+)")


def sync(servers: Sequence[Remote], cluster: Cluster, secrets: Secrets) -> Secrets:
    """Bootstraps when nobody has yet, then writes what differs. Returns the secrets with the management token.

    Safe to be cut off anywhere: the token is on disk before it is used, and every write can be repeated.
    """
    secrets = _manage(servers, cluster, secrets)
    for server in servers:
        server.token = secrets.management
    server = _ready(servers)
    want = acl.wanted(cluster, secrets)
    listed = [p for p in _ask(server, "GET", "/v1/acl/policies") if p["Name"].startswith("nexus-")]
    policies = _all(server, [("GET", f"/v1/acl/policy/{p['ID']}", None) for p in listed])  # the list has no rules
    tokens = _ask(server, "GET", "/v1/acl/tokens")
    todo = acl.changes(want, policies, tokens)
    _all(server, [_policy(policy, known) for policy, known in todo.put_policies])
    present = {t["AccessorID"] for t in tokens}
    dns = ("PUT", f"/v1/acl/token/{acl.ANONYMOUS}", {"AccessorID": acl.ANONYMOUS, "Policies": [{"Name": acl.DNS}]})
    _all(server, [dns, *(_token(grant, secrets, grant.accessor in present) for grant in todo.put_grants)])
    # those of a rotation go when it is done
    drop = [("DELETE", f"/v1/acl/token/{a}", None) for a in todo.drop_tokens if a not in secrets.retired]
    _all(server, [*drop, *(("DELETE", f"/v1/acl/policy/{p}", None) for p in todo.drop_policies)])
    return secrets


def _ask(server: Remote, method: str, path: str, body: object = None) -> Any:
    return Consul(server).ask(method, path, body)


def _all(server: Remote, calls: Sequence[Call]) -> list[Any]:
    """Side by side: each write waits for a raft commit, and they do not depend on each other."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(lambda call: _ask(server, *call), calls))


def _policy(policy: acl.Policy, known: str | None) -> Call:
    body = {"Name": policy.name, "Rules": policy.rules, "Description": acl.MARK + "least privilege"}
    return ("PUT", f"/v1/acl/policy/{known}" if known else "/v1/acl/policy", body)


def _token(grant: acl.Grant, secrets: Secrets, exists: bool) -> Call:
    body = {
        "AccessorID": grant.accessor, "SecretID": secrets.tokens[grant.name].secret,
        "Description": acl.MARK + grant.name, "Policies": [{"Name": grant.policy}],
    }  # fmt: skip
    return ("PUT", f"/v1/acl/token/{grant.accessor}" if exists else "/v1/acl/token", body)


def _manage(servers: Sequence[Remote], cluster: Cluster, secrets: Secrets) -> Secrets:
    """The secrets with a management token that works now."""
    if secrets.management and _works(servers, secrets.management):
        return secrets
    made = replace(secrets, management=_bootstrap(servers))
    Vault(cluster.state).save(made)
    return made


def _works(servers: Sequence[Remote], token: str) -> bool:
    """False when the cluster does not know the token, as after all its hosts were made anew."""

    def once(server: Remote) -> bool:
        try:
            Consul(server, token).ask("GET", "/v1/acl/token/self")
        except Refusal as refusal:
            if refusal.code == 403:
                return False
            raise
        return True

    return _patiently(servers, once)


def _bootstrap(servers: Sequence[Remote]) -> str:
    """The first token. Where it was made before and lost (a kill between making and keeping it), root on the leader
    may allow it once more: Consul's own documented way, a file in its data folder."""


    def once(server: Remote) -> str:
        try:
            return str(Consul(server, None).ask("PUT", "/v1/acl/bootstrap")["SecretID"])
        except Refusal as refusal:
            again = _RESET.search(refusal.body)
            if refusal.code == 403 and again:
                return _reset(servers, again[1])
            raise

    return _patiently(servers, once)


def _ready(servers: Sequence[Remote]) -> Remote:
    """The first server that knows the management token by now."""

    def once(server: Remote) -> Remote:
        Consul(server).ask("GET", "/v1/acl/token/self")
        return server

    return _patiently(servers, once)


def _reset(servers: Sequence[Remote], index: str) -> str:
    """Every server gets the file, since only the leader's counts; it deletes the file when it has used it."""
    file = "/var/lib/consul/acl-bootstrap-reset"
    script = f'umask 077; printf %s "$1" > {file}; chown consul: {file}'
    for server in servers:
        server.run(["sh", "-c", script, "sh", index])
    try:
        return str(Consul(servers[0], None).ask("PUT", "/v1/acl/bootstrap")["SecretID"])
    finally:
        for server in servers:
            server.run(["rm", "-f", "/var/lib/consul/acl-bootstrap-reset"])


def _patiently(servers: Sequence[Remote], once: Callable[[Remote], T]) -> T:
    """One server after the other, again while they are not ready: no leader yet, or the ACL system still starting."""
    until = time.monotonic() + PATIENCE
    for server in cycle(servers):
        try:
            return once(server)
        except NexusError as error:
            if time.monotonic() > until:
                reason = error.body if isinstance(error, Refusal) else str(error)
                raise ApplyError(
                    server.host.name, f"Consul's ACL system is not ready: {reason.strip()}",
                    "deploy again; on the host: journalctl -u consul",
                ) from error  # fmt: skip
            time.sleep(0.3)
    raise AssertionError("there is no server to ask")
