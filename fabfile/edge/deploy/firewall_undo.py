"""Disarms the undo of new firewall rules, over a new connection, which proves that the rules let SSH in."""

from __future__ import annotations

import time

from ...core.errors import ApplyError, HostError
from ...core.model.cluster import Cluster
from ...core.state.plan import HostPlan, Verb
from ..ssh.connection import Remote

PATIENCE = 30.0  # seconds; less than the 45 after which apply.sh's timer restores the old rules
UNIT = "nexus-firewall.service"
_DISARM = (
    "systemctl stop nexus-firewall-undo.timer 2>/dev/null; s=/var/lib/nexus; "
    'rm -f "$s/firewall.before" "$s/firewall.ruleset" "$s/firewall-undo.sh"; test -e "$s/stamps/nexus-firewall.service"'
)


def disarm(cluster: Cluster, remote: Remote, plan: HostPlan) -> None:
    """Opens a new connection and disarms the undo. ApplyError when none opens: the host restores the old rules itself.

    Does nothing when the plan does not start the firewall.
    """
    if not any(u.name == UNIT and u.verb is not Verb.STOP for u in plan.units):
        return
    until = time.monotonic() + PATIENCE
    while True:
        new_connection = Remote(cluster, remote.host)
        try:
            code = new_connection.run(["sh", "-c", _DISARM], timeout=10).code
            break
        except HostError as error:
            if time.monotonic() > until:
                raise ApplyError(
                    remote.host.name,
                    "the new firewall lets no new SSH connection in; the host takes it back within 45 s",
                    "check admin_from and the SSH port in hosts.yml, then deploy again", str(error),
                ) from error  # fmt: skip
            time.sleep(1)
        finally:
            new_connection.close()
    if code:
        raise ApplyError(remote.host.name, "the firewall's undo ran before it was disarmed", "deploy again")
