"""The cluster's secrets as values. Made once on the operator's side by `edge.disk.vault`; nothing here is random."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, PEM. `names` are its DNS names, `issuer` the sum of the CA that signed it."""

    cert: str
    key: str = field(repr=False)
    names: tuple[str, ...] = ()
    issuer: str = ""

    @property
    def sum(self) -> str:
        return hashlib.sha256(self.cert.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Token:
    """A Consul ACL token. The accessor may be shown, the secret never."""

    accessor: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Secrets:
    """All of one cluster's secrets.

    gossip:     base64 of 32 bytes; `gossip_next` is the key that a rotation is moving to
    authority:  the CA that signs; `trusted` all CA certificates that agents accept (two during a rotation)
    certs:      host name -> its certificate
    tokens:     ACL tokens by name, `agent/w1`, `worker/w1`; also of hosts that left hosts.yml, until a deploy removes them
    retired:    accessors that a rotation has replaced and not yet deleted
    serial:     grows with every rotation; a host tells which one it has, so that an outdated copy is noticed
    management: the secret of the token that may do everything; None until the cluster is bootstrapped
    spare:      certificates that the inventory has no use for just now, by their first DNS name; likewise until a deploy
    """

    gossip: str = field(repr=False)
    authority: KeyPair
    trusted: tuple[str, ...]
    certs: Mapping[str, KeyPair] = field(default_factory=dict)
    tokens: Mapping[str, Token] = field(default_factory=dict)
    retired: tuple[str, ...] = ()
    management: str | None = field(default=None, repr=False)
    gossip_next: str | None = field(default=None, repr=False)
    serial: int = 1
    spare: Mapping[str, KeyPair] = field(default_factory=dict)

    @property
    def trust_bundle(self) -> str:
        return "".join(self.trusted)


def host_names(node: str, server: bool, datacenter: str) -> tuple[str, ...]:
    """The DNS names in a host's certificate. `server.<datacenter>.consul` is what makes it a server to its peers."""
    own = (f"{node}.server.{datacenter}.consul", f"server.{datacenter}.consul") if server else ()
    return (*own, f"{node}.node.{datacenter}.consul", f"client.{datacenter}.consul", "localhost")
