"""The services published in Consul for the cluster to run: read for the plan, written by the deploy.

Reading uses plain HTTP over SSH: importing py-consul would make a run that changes nothing a third slower.
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


def read_published(servers: Iterable[Remote]) -> dict[str, Any] | None:
    """WANTED by the first server that answers: {} when nothing was ever published, None when no server answers."""
    for remote in servers:
        try:
            headers = {"X-Consul-Token": remote.token} if remote.token else {}
            response = remote.http.request("GET", f"/v1/kv/{WANTED}?raw", None, headers)
            if response.status == 404:
                return {}
            if response.status == 200:
                return dict(json.loads(response.body))
        except (OSError, HostError, ValueError, http.client.HTTPException):
            continue
    return None


def publish(servers: Iterable[Remote], services: Services) -> None:
    """Writes WANTED and ROUTES in one transaction, by the first server that can. HostError when none can.

    After a lost answer another server writes the same once more, which changes nothing.
    """
    from .client import Consul
    from .overview import first_answer

    values: dict[str, Mapping[str, Any]] = {WANTED: wanted(services), ROUTES: routes(services)}
    writes = [{"KV": {"Verb": "set", "Key": key, "Value": _encoded(value)}} for key, value in values.items()]

    def write(consul: Consul) -> bool:
        consul.request("PUT", "/v1/txn", writes)
        return True

    first_answer(servers, write)


def _encoded(value: Mapping[str, Any]) -> str:
    """JSON in base64, as a transaction wants it."""
    return base64.b64encode(json.dumps(value, sort_keys=True).encode()).decode()
