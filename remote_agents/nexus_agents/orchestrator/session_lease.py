"""The right to act, by this host's own clock, and the Consul session that holds the lock.

Only a fenced write that Consul has committed renews the lease (`fenced_lock`): a quorum has then agreed that the lock was
ours after the write began. The renewal of the session does not: the raft leader answers it from its own memory, and may
no longer be one.

With R the pause between such writes, A the timeout of one, L the lease and D the session's lock-delay, nobody else can
hold the lock while we act as long as  L >= R + A  and  L + A <= D.  The session's own TTL plays no part: a false alarm of
the failure detector may end a session right after a good write.
"""

from __future__ import annotations

import threading
from typing import Any

from ..shared.clock import now
from ..shared.consul_api import Consul, ConsulError

RENEW_INTERVAL = 1.0  # between two renewals of the session
RENEW_TIMEOUT = 1.0
LEASE = 3.0  # L, from the start of the last committed write; R is heartbeat_monitor.HEARTBEAT_INTERVAL
ACT_TIMEOUT = 1.0  # A
LOCK_DELAY = 4.0  # D
SERVICE = "nexus-orchestrator"
CHECK = f"service:{SERVICE}"


class Lease:
    """Pure: when the last committed write began. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._renewed_at = float("-inf")

    def renew(self, began: float) -> None:
        self._renewed_at = max(self._renewed_at, began)

    def end(self) -> None:
        self._renewed_at = float("-inf")

    def remaining(self, at: float) -> float:
        """Seconds for which we may still act; 0 or less: no longer."""
        return self._renewed_at + LEASE - at


class Session(threading.Thread):
    """Keeps this host's session and the check that it depends on alive; creates a new session when the old one ends."""

    def __init__(self, consul: Consul, host: str) -> None:
        super().__init__(name="session", daemon=True)
        self._consul = consul.clone()
        self._host = host
        self._id: str | None = None
        self._registered = False
        self._stopped = threading.Event()

    @property
    def id(self) -> str | None:
        return self._id

    def run(self) -> None:
        while not self._stopped.is_set():
            began = now()
            try:
                self._renew()
            except ConsulError as error:
                if error.code == 404:  # the session is gone: ended by its check, by hand, by a restored snapshot
                    self._id = None
            self._stopped.wait(max(0.1, RENEW_INTERVAL - (now() - began)))

    def _renew(self) -> None:
        try:
            if not self._registered:  # another process's registration is bound to a token that may be deleted
                self._register()
            self._consul.put(f"/v1/agent/check/pass/{CHECK}", timeout=RENEW_TIMEOUT)
        except ConsulError as error:
            if error.code not in (404, 500):  # the agent does not know the check: 404 now, 500 in older versions
                raise
            self._register()
        if self._id is None:
            self._id = str(self._consul.put("/v1/session/create", self._definition(), RENEW_TIMEOUT)["ID"])
        else:
            self._consul.put(f"/v1/session/renew/{self._id}", timeout=RENEW_TIMEOUT)

    def _register(self) -> None:
        check = {"TTL": "3s", "Status": "passing", "Notes": "the orchestrator of this host is at work"}
        self._consul.put("/v1/agent/service/register", {"Name": SERVICE, "Check": check}, RENEW_TIMEOUT)
        self._registered = True

    def _definition(self) -> dict[str, Any]:
        return {
            "Name": f"{SERVICE} of {self._host}", "TTL": "10s", "LockDelay": f"{LOCK_DELAY:g}s", "Behavior": "release",
            "NodeChecks": ["serfHealth"], "ServiceChecks": [{"ID": CHECK}],
        }  # fmt: skip

    def end(self) -> None:
        """For a clean stop, after the lock is released. ConsulError."""
        self._stopped.set()
        self.join(2 * RENEW_TIMEOUT)
        if self._id:
            self._consul.put(f"/v1/session/destroy/{self._id}", timeout=RENEW_TIMEOUT)
