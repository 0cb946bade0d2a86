"""Pins a host's SSH key: shows it to the operator, asks, writes known_hosts; jump hosts first."""

from __future__ import annotations

from ...core.errors import Refused
from ...core.model.cluster import Cluster, Host
from ...edge.disk.paths import display_path
from ...edge.ssh.known_hosts import fingerprint as fingerprint_of
from ...edge.ssh.trust import hop_count, offered_key, pin_key, pinned_fingerprints
from ..console.output import confirm, say


def pin(cluster: Cluster, host: Host, *, fingerprint: str, yes: bool, replace: bool = False) -> None:
    """Pins the key that the host offers. Refused: it is not the expected one, or it changed and `replace` is off."""
    hops = hop_count(cluster, host)
    for hop in reversed(range(hops)):  # jump hosts first: the connection goes through them
        _pin_hop(cluster, host, hop, fingerprint="" if hop else fingerprint, yes=yes, replace=replace)


def _pin_hop(cluster: Cluster, host: Host, hop: int, *, fingerprint: str, yes: bool, replace: bool) -> None:
    name, key, file = offered_key(cluster, host, hop)
    offered = fingerprint_of(key)
    known = pinned_fingerprints(file, name)
    if fingerprint and fingerprint != offered:
        raise Refused(
            f"{host.name}: {name} offers {offered}, not {fingerprint}", "is this the right host? nothing was pinned"
        )
    if offered in known:
        say(f"{host.name}: {offered} is pinned already")
        return
    if known and not replace:
        raise Refused(f"{host.name}: {name} offers {offered}, but {' and '.join(known)} is pinned",
                      f"was it reinstalled? then: inv trust --hosts {host.name} --replace")  # fmt: skip
    say(f"{host.name}: {name} offers {key.get_name()} {offered}")
    if yes and hop:
        raise Refused(f"the jump host {name} is unknown", f"pin it first, without --yes: inv trust --hosts {host.name}")
    if yes and not fingerprint:
        raise Refused("--yes cannot vouch for a host key", f"give the one you expect: --fingerprint {offered}")
    confirm(f"Is this the fingerprint that the console of {host.name} shows?", yes)
    pin_key(file, name, key, replace)
    say(f"{host.name}: pinned in {display_path(file)}")
