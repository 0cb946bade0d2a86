"""ProxyJump of ssh_config as ssh reads it, where Fabric reads it otherwise (its issues 2203 and 2354)."""

from __future__ import annotations

from typing import Any

from .fabric_connection import link


def proxy_jump(config: Any, name: str) -> Any:
    """What to give Fabric as the gateway of `name`: the last of several hops, False for none; None leaves it to Fabric.

    ssh visits the hops in the order written; Fabric takes the first of them for the one next to the host. And `none`, to
    ssh the word for no jump host, is a host's name to Fabric.
    """
    from fabric.connection import derive_shorthand

    found = config.base_ssh_config.lookup(name)
    hops = [hop.strip() for hop in found.get("proxyjump", "").split(",")]
    if [hop.lower() for hop in hops] == ["none"]:
        return False
    if len(hops) < 2 or found["hostname"] in [derive_shorthand(hop)["host"] for hop in hops]:  # a hop is not its own
        return None
    made = None
    for hop in hops:
        made = link(hop, config=config.clone(), gateway=made)
    return made
