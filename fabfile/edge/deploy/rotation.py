"""Changes the cluster's secrets while it runs. Each rotation is a few steps that can all be repeated: what has been
reached is in secrets.json, written before it is used, so that running it again goes on where it was cut off.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ...core.errors import NexusError, Refused, Several
from ...core.judge import acl
from ...core.model.cluster import Cluster
from ...core.model.secrets import Secrets
from ..consul.client import Consul, Refusal
from ..disk.pki import issue, make_authority
from ..disk.vault import Vault, gossip_key, new_token
from ..ssh.connection import Remote
from ..ssh.fleet import Fleet

Deploy = Callable[[], None]  # brings all hosts to what the vault says now
Say = Callable[[str], None]
PATIENCE = 30.0  # seconds for an agent that has just been started to be seen alive
_KEYRING = "/v1/operator/keyring"


def gossip(cluster: Cluster, vault: Vault, deploy: Deploy, say: Say) -> None:
    """A new gossip key: everybody learns it, everybody uses it, everybody forgets the old one. No agent restarts."""
    found = _secrets(vault)
    if found.gossip_next is None:
        found = replace(found, gossip_next=gossip_key(), serial=found.serial + 1)
        vault.save(found)
    new = found.gossip_next or ""
    with Fleet(cluster) as fleet:
        consul = Consul(_server(fleet))
        _all_alive(fleet, consul)
        say("every agent learns the new key")
        _keyring(consul, "POST", new)
        say("every agent uses it")
        _keyring(consul, "PUT", new)
    vault.save(replace(found, gossip=new))
    say("the hosts' files follow")
    deploy()
    with Fleet(cluster) as fleet:
        consul = Consul(_server(fleet))
        for old in {k for ring in _keyring(consul) for k in ring["Keys"]} - {new}:
            _keyring(consul, "DELETE", old)
    say("every agent has forgotten the old key")
    vault.save(replace(_secrets(vault), gossip_next=None))


def tokens(cluster: Cluster, vault: Vault, deploy: Deploy, say: Say) -> None:
    """New ACL tokens for every agent, and a new management token; the old ones end when nobody uses them any more."""
    found = _secrets(vault)
    if not found.retired:
        with Fleet(cluster) as fleet:
            mine = str(Consul(_server(fleet)).ask("GET", "/v1/acl/token/self")["AccessorID"])
        old = (mine, *(t.accessor for t in found.tokens.values()))
        fresh = {name: new_token() for name in found.tokens}
        found = replace(found, tokens=fresh, retired=old, serial=found.serial + 1)
        vault.save(found)
    say("every agent gets a new token")
    deploy()
    with Fleet(cluster) as fleet:
        server = _server(fleet)
        mine = _renew_management(server, vault, found.retired, say)
        keep = {t.accessor for t in found.tokens.values()} | {mine, acl.ANONYMOUS}
        consul = Consul(server)
        for token in consul.ask("GET", "/v1/acl/tokens"):
            ours = str(token["Description"]).startswith(acl.MARK) or token["AccessorID"] in found.retired
            if ours and token["AccessorID"] not in keep:
                consul.ask("DELETE", f"/v1/acl/token/{token['AccessorID']}")
    say("the old tokens are void")
    vault.save(replace(_secrets(vault), retired=()))


def certs(cluster: Cluster, vault: Vault, deploy: Deploy, say: Say) -> None:
    """A new CA and new certificates: first everybody trusts both, then everybody shows the new, then the old CA goes."""
    found = _secrets(vault)
    if len(found.trusted) == 1:
        authority = make_authority(cluster.name)
        found = replace(
            found, authority=authority, trusted=(*found.trusted, authority.cert), serial=found.serial + 1
        )
        vault.save(found)
    say("1 of 3: every agent trusts the old CA and the new one")
    deploy()
    if not all(pair.issuer == found.authority.sum for pair in found.certs.values()):
        renewed = {name: issue(found.authority, pair.names) for name, pair in found.certs.items()}
        found = replace(found, certs=renewed)
        vault.save(found)
    say("2 of 3: every agent shows a certificate of the new CA")
    deploy()
    # a serial of its own: a rollback to the second step would trust the old CA again
    vault.save(replace(found, trusted=(found.authority.cert,), serial=found.serial + 1))
    say("3 of 3: nobody trusts the old CA any more")
    deploy()


def _secrets(vault: Vault) -> Secrets:
    found = vault.load()
    if found is None or found.management is None:
        raise Refused("this cluster has no secrets yet", "inv deploy makes them")
    return found


def _server(fleet: Fleet) -> Remote:
    """The first manager that can be reached."""
    facts, faults = fleet.probe(fleet.of(fleet.cluster.having("manager")))
    if not facts:
        raise Several(faults)
    return fleet[next(iter(facts))]


def _all_alive(fleet: Fleet, consul: Consul) -> None:
    """A key that an absent agent never heard of would shut it out when it comes back."""
    until = time.monotonic() + PATIENCE
    while True:
        alive = {m["Name"] for m in consul.agent.members() if m["Status"] == 1}
        absent = [h.name for h in fleet.cluster.hosts if h.name not in alive]
        if not absent:
            return
        if time.monotonic() < until:
            time.sleep(1)
            continue
        raise Refused(
            f"{', '.join(absent)} would be shut out: not alive in Consul",
            "bring them back (inv status), or take them out of hosts.yml",
        )


def _keyring(consul: Consul, method: str = "GET", key: str = "") -> list[dict[str, Any]]:
    """One step on every agent's keyring; the rings afterwards. Steps travel by gossip, where an agent's answer may be
    lost without any fault (`5/6 nodes reported success`). All can be repeated, so the same is asked until all answered.
    """
    until = time.monotonic() + PATIENCE
    while True:
        try:
            if method != "GET":
                consul.ask(method, _KEYRING, {"Key": key})
            rings: list[dict[str, Any]] = consul.ask("GET", _KEYRING)
            if method != "POST" or all(r["Keys"].get(key) == r["NumNodes"] for r in rings):
                return rings
            lost = "not every agent has taken the new gossip key"
        except Refusal as error:
            lost = f"not every agent has answered: {error}"
        if time.monotonic() > until:
            raise NexusError(lost, "run the same command again; inv status shows who")
        time.sleep(1)


def _renew_management(server: Remote, vault: Vault, retired: tuple[str, ...], say: Say) -> str:
    """A second management token, on disk before the first one ends. Returns the accessor of the one now in use."""
    mine = str(Consul(server).ask("GET", "/v1/acl/token/self")["AccessorID"])
    if mine not in retired:
        return mine
    fresh = new_token()
    body = {
        "AccessorID": fresh.accessor, "SecretID": fresh.secret, "Description": acl.MARK + "management",
        "Policies": [{"Name": "global-management"}],
    }  # fmt: skip
    Consul(server).ask("PUT", "/v1/acl/token", body)
    vault.save(replace(_secrets(vault), management=fresh.secret))
    server.token = fresh.secret
    say("you have a new management token")
    return fresh.accessor
