"""The services that the cluster was told to run: read for the plan, written by the deploy.

Read with nothing but an HTTP connection over SSH: py-consul's import would cost a run with nothing to do a third more.
"""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterable, Mapping
from typing import Any

from ...core.errors import HostError
from ...core.model.service import Services, routes, wanted
from ..ssh.connection import Remote

WANTED = "nexus/wanted/services"
ROUTES = "nexus/services/routes"


def published(servers: Iterable[Remote]) -> dict[str, Any] | None:
    """WANTED as the first server that answers has it, {} where nothing was ever published; None: nobody answers."""
    for remote in servers:
        try:
            head = {"X-Consul-Token": remote.token} if remote.token else {}
            answer = remote.http.ask("GET", f"/v1/kv/{WANTED}?raw", None, head)
            if answer.status == 404:
                return {}
            if answer.status == 200:
                return dict(json.loads(answer.body))
        except (OSError, HostError, ValueError, http.client.HTTPException):
            continue
    return None


def publish(remote: Remote, services: Services) -> None:
    """Both values in one transaction. HostError when it did not take."""
    from .client import Consul

    values: dict[str, Mapping[str, Any]] = {WANTED: wanted(services), ROUTES: routes(services)}
    encoded = {key: base64.b64encode(json.dumps(value, sort_keys=True).encode()).decode() for key, value in values.items()}
    Consul(remote).ask("PUT", "/v1/txn", [{"KV": {"Verb": "set", "Key": k, "Value": v}} for k, v in encoded.items()])
