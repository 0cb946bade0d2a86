"""ProxyJump of ssh_config, where ssh and Fabric read it differently (Fabric's issues 2203 and 2354)."""

from __future__ import annotations

from typing import Any

from .fabric_connection import new_fabric_connection


def proxy_jump(config: Any, name: str) -> Any:
    """The gateway for Fabric's connection to `name`: the last of several hops; False for none; None: Fabric decides.

    ssh visits the hops in the order written; Fabric takes the first one as the hop next to the host. And `none` means
    no jump host to ssh, but is a host name to Fabric.
    """
    from fabric.connection import derive_shorthand

    found = config.base_ssh_config.lookup(name)
    hops = [hop.strip() for hop in found.get("proxyjump", "").split(",")]
    if [hop.lower() for hop in hops] == ["none"]:
        return False
    is_hop = found["hostname"] in [derive_shorthand(hop)["host"] for hop in hops]  # it needs no jump over itself
    if len(hops) < 2 or is_hop:
        return None
    gateway = None
    for hop in hops:
        gateway = new_fabric_connection(hop, config=config.clone(), gateway=gateway)
    return gateway
