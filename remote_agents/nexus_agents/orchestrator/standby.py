"""A standby, while another host holds the lock: confirms that it can take over, and ends a silent primary's session."""

from __future__ import annotations

from contextlib import suppress

from ..shared import kv_schema
from ..shared.clock import now
from ..shared.consul_api import Consul, ConsulError, encode_value
from .cluster_view import ClusterView
from .heartbeat_monitor import HeartbeatMonitor
from .promotion import PromotionRequest
from .session_lease import Session


class Standby:
    def __init__(self, consul: Consul, session: Session, view: ClusterView, host: str) -> None:
        self._consul, self._session, self._view, self._host = consul, session, view, host
        self._heartbeats = HeartbeatMonitor()

    def confirm_readiness(self, request: PromotionRequest | None) -> None:
        """Tells the primary, through the raft leader, that we can take over: only then does it resign."""
        session = self._session.id
        if request is None or request.to != self._host or session is None or request.ready == session:
            return
        value = encode_value({"to": self._host, "ready": session})
        with suppress(ConsulError):  # the request has changed, or the leader is out of reach: then the primary goes on
            self._consul.transact([{"Verb": "cas", "Key": kv_schema.PROMOTE, "Value": value, "Index": request.index}])

    def end_silent_primary(self) -> bool:
        """Ends the session of a primary that no longer writes, while the cluster does. Whether it did. ConsulError."""
        lock_session, heartbeat = self._view.lock_session(), self._view.heartbeat()
        self._heartbeats.observe((lock_session, heartbeat), now())
        if not (lock_session and heartbeat and heartbeat.get("session") == lock_session):
            return False
        if not self._heartbeats.is_overdue(now()):
            return False
        try:
            leaders_heartbeat = self._consul.read(kv_schema.BEAT, consistent=True)[1]
        except ConsulError:
            self._heartbeats.reset()
            raise
        if not self._heartbeats.confirms_silence((lock_session, leaders_heartbeat), now()):
            return False
        self._heartbeats.reset()
        self._consul.put(f"/v1/session/destroy/{lock_session}")
        return True
