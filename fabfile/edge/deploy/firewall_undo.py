"""Disarms the undo of a new firewall: only over a connection that the new rules have let in."""

from __future__ import annotations

import time

from ...core.errors import ApplyError, HostError
from ...core.model.cluster import Cluster
from ...core.state.plan import HostPlan, Verb
from ..ssh.connection import Remote

PATIENCE = 30.0  # seconds; less than the 45 s after which apply.sh's timer takes the rules back
UNIT = "nexus-firewall.service"
_DISARM = (
    "systemctl stop nexus-firewall-undo.timer 2>/dev/null; s=/var/lib/nexus; "
    'rm -f "$s/firewall.before" "$s/firewall.ruleset" "$s/firewall-undo.sh"; test -e "$s/stamps/nexus-firewall.service"'
)


def confirm(cluster: Cluster, remote: Remote, plan: HostPlan) -> None:
    """Comes in anew and disarms. ApplyError when nobody gets in: the host takes the rules back by itself."""
    if not any(u.name == UNIT and u.verb is not Verb.STOP for u in plan.units):
        return
    until = time.monotonic() + PATIENCE
    while True:
        anew = Remote(cluster, remote.host)
        try:
            code = anew.run(["sh", "-c", _DISARM], timeout=10).code
            break
        except HostError as error:
            if time.monotonic() > until:
                raise ApplyError(
                    remote.host.name, "the new firewall lets no new SSH connection in; the host takes it back within 45 s",
                    "check admin_from and the SSH port in hosts.yml, then deploy again", str(error),
                ) from error  # fmt: skip
            time.sleep(1)
        finally:
            anew.close()
    if code:
        raise ApplyError(remote.host.name, "the firewall's undo ran before it was disarmed", "deploy again")
