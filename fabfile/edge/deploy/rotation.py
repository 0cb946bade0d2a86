"""Changes the cluster's secrets while it runs. All steps of a rotation can be repeated: its progress is in
secrets.json, written before it is used, so that running an interrupted rotation again continues it.
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
from ..consul.client import Consul, ConsulApiError
from ..disk.pki import issue, make_authority
from ..disk.vault import Vault, gossip_key, new_token
from ..ssh.connection import Remote
from ..ssh.fleet import Fleet

Deploy = Callable[[], None]  # brings all hosts to what the vault says now
Say = Callable[[str], None]
PATIENCE = 30.0  # seconds for an agent that was just started to become alive
_KEYRING = "/v1/operator/keyring"


def gossip(cluster: Cluster, vault: Vault, deploy: Deploy, say: Say) -> None:
    """A new gossip key: every agent learns it, then uses it, then forgets the old one. No agent restarts."""
    _load_secrets(vault)
    secrets = vault.update(_with_next_gossip_key)
    new = secrets.gossip_next or ""
    with Fleet(cluster) as fleet:
        consul = Consul(_reachable_manager(fleet))
        _require_all_alive(fleet, consul)
        say("every agent learns the new key")
        _keyring(consul, "POST", new)
        say("every agent uses it")
        _keyring(consul, "PUT", new)
    vault.update(lambda now: replace(now, gossip=new))
    say("the hosts' files follow")
    deploy()
    with Fleet(cluster) as fleet:
        consul = Consul(_reachable_manager(fleet))
        for old in {k for ring in _keyring(consul) for k in ring["Keys"]} - {new}:
            _keyring(consul, "DELETE", old)
    say("every agent has forgotten the old key")
    vault.update(lambda now: replace(now, gossip_next=None))


def _with_next_gossip_key(now: Secrets) -> Secrets:
    """A rotation beside this one, or before it and cut off, may have made it: then that key is the one."""
    return now if now.gossip_next else replace(now, gossip_next=gossip_key(), serial=now.serial + 1)


def tokens(cluster: Cluster, vault: Vault, deploy: Deploy, say: Say) -> None:
    """New ACL tokens for every agent, and a new management token; the old ones are deleted once nothing uses them."""
    secrets = _load_secrets(vault)
    if not secrets.retired:
        with Fleet(cluster) as fleet:
            mine = str(Consul(_reachable_manager(fleet)).request("GET", "/v1/acl/token/self")["AccessorID"])
        secrets = vault.update(lambda now: _with_new_tokens(now, mine))
    say("every agent gets a new token")
    deploy()
    with Fleet(cluster) as fleet:
        server = _reachable_manager(fleet)
        mine = _renew_management(server, vault, secrets.retired, say)
        keep = {t.accessor for t in secrets.tokens.values()} | {mine, acl.ANONYMOUS}
        consul = Consul(server)
        for token in consul.request("GET", "/v1/acl/tokens"):
            ours = str(token["Description"]).startswith(acl.MARK) or token["AccessorID"] in secrets.retired
            if ours and token["AccessorID"] not in keep:
                consul.request("DELETE", f"/v1/acl/token/{token['AccessorID']}")
    say("the old tokens are void")
    vault.update(lambda now: replace(now, retired=()))


def _with_new_tokens(now: Secrets, management: str) -> Secrets:
    """`management`: the accessor of the management token, which is retired as well."""
    if now.retired:  # by a rotation beside this one
        return now
    old = (management, *(t.accessor for t in now.tokens.values()))
    return replace(now, tokens={name: new_token() for name in now.tokens}, retired=old, serial=now.serial + 1)


def certs(cluster: Cluster, vault: Vault, deploy: Deploy, say: Say) -> None:
    """A new CA and new certificates: agents first trust both CAs, then show new certificates, then drop the old CA."""
    _load_secrets(vault)
    vault.update(lambda now: _with_new_authority(now, cluster.name))
    say("1 of 3: every agent trusts the old CA and the new one")
    deploy()
    vault.update(_with_new_certificates)
    say("2 of 3: every agent shows a certificate of the new CA")
    deploy()
    # a serial of its own: a rollback to the second step would trust the old CA again
    vault.update(lambda now: replace(now, trusted=(now.authority.cert,), serial=now.serial + 1))
    say("3 of 3: nobody trusts the old CA any more")
    deploy()


def _with_new_authority(now: Secrets, cluster: str) -> Secrets:
    if len(now.trusted) > 1:
        return now
    authority = make_authority(cluster)
    return replace(now, authority=authority, trusted=(*now.trusted, authority.cert), serial=now.serial + 1)


def _with_new_certificates(now: Secrets) -> Secrets:
    if all(pair.issuer == now.authority.sum for pair in now.certs.values()):
        return now
    return replace(now, certs={name: issue(now.authority, pair.names) for name, pair in now.certs.items()}, spare={})


def _load_secrets(vault: Vault) -> Secrets:
    secrets = vault.load()
    if secrets is None or secrets.management is None:
        raise Refused("this cluster has no secrets yet", "inv deploy makes them")
    return secrets


def _reachable_manager(fleet: Fleet) -> Remote:
    """The first manager that can be reached."""
    facts, faults = fleet.probe(fleet.of(fleet.cluster.having("manager")))
    if not facts:
        raise Several(faults)
    return fleet[next(iter(facts))]


def _require_all_alive(fleet: Fleet, consul: Consul) -> None:
    """Refused when an agent is absent: a key that it never learned would shut it out when it comes back."""
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
    """Does one step on every agent's keyring and returns the rings afterwards.

    Steps travel by gossip, where an agent's answer may get lost without any fault (`5/6 nodes reported success`). All
    can be repeated, so the step is repeated until all have answered. NexusError after PATIENCE seconds.
    """
    until = time.monotonic() + PATIENCE
    while True:
        try:
            if method != "GET":
                consul.request(method, _KEYRING, {"Key": key})
            rings: list[dict[str, Any]] = consul.request("GET", _KEYRING)
            if method != "POST" or all(r["Keys"].get(key) == r["NumNodes"] for r in rings):
                return rings
            lost = "not every agent has taken the new gossip key"
        except ConsulApiError as error:
            lost = f"not every agent has answered: {error}"
        if time.monotonic() > until:
            raise NexusError(lost, "run the same command again; inv status shows who")
        time.sleep(1)


def _renew_management(server: Remote, vault: Vault, retired: tuple[str, ...], say: Say) -> str:
    """Makes a second management token, on disk before the first one is deleted. Returns the accessor in use."""
    mine = str(Consul(server).request("GET", "/v1/acl/token/self")["AccessorID"])
    if mine not in retired:
        return mine
    token = new_token()
    body = {
        "AccessorID": token.accessor, "SecretID": token.secret, "Description": acl.MARK + "management",
        "Policies": [{"Name": "global-management"}],
    }  # fmt: skip
    Consul(server).request("PUT", "/v1/acl/token", body)
    vault.update(lambda now: replace(now, management=token.secret))
    server.token = token.secret
    say("you have a new management token")
    return token.accessor
