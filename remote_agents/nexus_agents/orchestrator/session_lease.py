"""The right to act, by our own clock: a session in Consul, renewed each second, believed for three.

With R the pause between renewals, c a renewal's time limit, A the longest action and D the session's lock-delay,
nobody else can hold the lock while we act as long as  LEASE >= R + c  and  LEASE + A <= D.  The session's own TTL is
no part of this: a false alarm of the failure detector may end a session right after a good renewal.
"""

from __future__ import annotations

import threading
from typing import Any

from ..shared.clock import now
from ..shared.consul_api import Consul, ConsulError

RENEW = 1.0  # R
LIMIT = 1.0  # c
LEASE = 3.0  # L, from the start of the last good renewal
ACT = 1.0  # A
LOCK_DELAY = 4.0  # D
SERVICE = "nexus-orchestrator"
CHECK = f"service:{SERVICE}"


class Lease:
    """Pure: when the last good renewal began. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._renewed = float("-inf")

    def renewed(self, began: float) -> None:
        self._renewed = max(self._renewed, began)

    def lost(self) -> None:
        self._renewed = float("-inf")

    def left(self, at: float) -> float:
        """Seconds for which we may still act; 0 or less: not any more."""
        return self._renewed + LEASE - at


class Session(threading.Thread):
    """Keeps a session of this host alive, and the check that it is bound to; makes a new one when it was ended."""

    def __init__(self, consul: Consul, host: str) -> None:
        super().__init__(name="session", daemon=True)
        self._consul = consul.again()
        self._host = host
        self._id: str | None = None
        self._registered = False
        self._lease = Lease()
        self._over = threading.Event()

    @property
    def id(self) -> str | None:
        return self._id

    def left(self) -> float:
        """Seconds for which the session is surely ours."""
        return self._lease.left(now())

    def run(self) -> None:
        while not self._over.is_set():
            began = now()
            try:
                self._beat(began)
            except ConsulError as error:
                if error.code == 404:  # the session was ended: by its check, by hand, by a restored snapshot
                    self._id = None
                    self._lease.lost()
            self._over.wait(max(0.1, RENEW - (now() - began)))

    def _beat(self, began: float) -> None:
        try:
            if not self._registered:  # by another process, whose token may be deleted: the agent would go on to use it
                self._register()
            self._consul.put(f"/v1/agent/check/pass/{CHECK}", timeout=LIMIT)
        except ConsulError as error:
            if error.code not in (404, 500):  # unknown to the agent: 404 now, 500 in older versions
                raise
            self._register()
        if self._id is None:
            self._id = str(self._consul.put("/v1/session/create", self._wanted(), LIMIT)["ID"])
        else:
            self._consul.put(f"/v1/session/renew/{self._id}", timeout=LIMIT)
        self._lease.renewed(began)

    def _register(self) -> None:
        check = {"TTL": "3s", "Status": "passing", "Notes": "the orchestrator of this host is at work"}
        self._consul.put("/v1/agent/service/register", {"Name": SERVICE, "Check": check}, LIMIT)
        self._registered = True

    def _wanted(self) -> dict[str, Any]:
        return {
            "Name": f"{SERVICE} of {self._host}", "TTL": "10s", "LockDelay": f"{LOCK_DELAY:g}s", "Behavior": "release",
            "NodeChecks": ["serfHealth"], "ServiceChecks": [{"ID": CHECK}],
        }  # fmt: skip

    def end(self) -> None:
        """For a clean stop, after the lock was released."""
        self._over.set()
        self.join(2 * LIMIT)
        if self._id:
            self._consul.put(f"/v1/session/destroy/{self._id}", timeout=LIMIT)
