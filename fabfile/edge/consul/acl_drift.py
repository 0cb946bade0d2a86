"""Asks Consul which policies and tokens it has, and tells how that differs from what `core.judge.acl` wants.

Reading uses plain HTTP over SSH: importing py-consul would make a run that changes nothing a third slower.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable
from typing import Any

from ...core.errors import HostError
from ...core.judge import acl
from ...core.model.cluster import Cluster
from ...core.model.secrets import Secrets
from ..ssh.connection import Remote

UNKNOWN_TO_CONSUL = "~ the management token: Consul does not know it"


class _NotKnown(Exception):
    """Consul does not know our management token."""


def drift(servers: Iterable[Remote], cluster: Cluster, secrets: Secrets | None) -> tuple[str, ...]:
    """The difference by the first server that can tell, a line each; empty when there is none or nobody can tell.

    Nobody is asked while a host of hosts.yml has no tokens in the vault yet: a deploy is due anyway.
    """
    names = {name for host in cluster.hosts for name in acl.token_names(host)}
    if secrets is None or secrets.management is None or not names <= secrets.tokens.keys():
        return ()
    want = acl.wanted(cluster, secrets)
    refused = False
    for server in servers:
        try:
            return _drift(server, want, secrets)
        except _NotKnown:  # a server that has just come back may not have heard of the token yet: the others decide
            refused = True
        except (OSError, HostError, ValueError, KeyError, TypeError, http.client.HTTPException):
            continue
    return (UNKNOWN_TO_CONSUL,) if refused else ()


def _drift(server: Remote, want: acl.Wanted, secrets: Secrets) -> tuple[str, ...]:
    policies = []
    for stub in _get(server, "/v1/acl/policies", secrets):
        if stub["Name"].startswith("nexus-"):
            rules = acl.known_rules(want, stub)
            known = None if rules is None else {**stub, "Rules": rules}
            policies.append(known or _get(server, f"/v1/acl/policy/{stub['ID']}", secrets))
    return acl.drift(want, policies, _get(server, "/v1/acl/tokens", secrets), secrets.retired)


def _get(server: Remote, path: str, secrets: Secrets) -> Any:
    response = server.http.request("GET", path, None, {"X-Consul-Token": str(secrets.management)})
    if response.status == 403 and b"ACL not found" in response.body:
        raise _NotKnown
    if response.status != 200:
        raise ValueError(f"{path}: {response.status}")
    return json.loads(response.body)
