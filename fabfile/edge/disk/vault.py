"""The cluster's secrets on the operator's disk: one 0600 file, made once, only ever added to.

One file, so that it is old or new and never half, and so that sharing it with a second operator is one step.
Losing it is noticed before anything changes (`core.state.guards`); nothing is ever made anew for a running cluster.
"""

from __future__ import annotations

import base64
import json
import secrets as random
import uuid
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ...core.errors import NexusError
from ...core.judge.acl import token_names
from ...core.model.cluster import Cluster
from ...core.model.secrets import KeyPair, Secrets, Token, host_names
from .paths import near
from .state import State, write_atomically

FILE = "secrets.json"


class Vault:
    """Reads and writes the file of one cluster."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._folder = folder

    def load(self) -> Secrets | None:
        """None when there is no file. NexusError when it is not what we wrote."""
        try:
            return _read(json.loads(self.path.read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise NexusError(
                f"{near(self.path)} cannot be read ({type(error).__name__})",
                "put it back from a backup, or: inv secrets.import",
            ) from error

    def save(self, secrets: Secrets) -> None:
        State(self._folder).ensure()
        write_atomically(self.path, (json.dumps(asdict(secrets), indent=1) + "\n").encode())

    def ensure(self, cluster: Cluster) -> Secrets:
        """What the cluster of this inventory needs; what is there stays, what is missing is made and kept."""
        found = self.load()
        whole = complete(found or _new(cluster.name), cluster)
        if whole != found:
            self.save(whole)
        return whole


def _new(cluster: str) -> Secrets:
    from .pki import make_authority

    authority = make_authority(cluster)
    return Secrets(gossip_key(), authority, (authority.cert,))


def gossip_key() -> str:
    """32 random bytes in base64, as `consul keygen` prints."""
    return base64.b64encode(random.token_bytes(32)).decode()


def complete(secrets: Secrets, cluster: Cluster) -> Secrets:
    """Adds the certificates and tokens of hosts and roles that are new. Those of hosts that left are dropped."""
    names = {h.name: host_names(h.name, h.has("manager"), cluster.datacenter) for h in cluster.hosts}
    certs = {n: c for n, c in secrets.certs.items() if n in names and c.names == names[n]}
    for name in names.keys() - certs.keys():
        from .pki import issue

        certs[name] = issue(secrets.authority, names[name])
    wanted = [t for h in cluster.hosts for t in token_names(h)]
    tokens = {t: secrets.tokens.get(t) or new_token() for t in wanted}
    return replace(secrets, certs=dict(sorted(certs.items())), tokens=dict(sorted(tokens.items())))


def new_token() -> Token:
    return Token(str(uuid.uuid4()), str(uuid.uuid4()))


def _read(raw: Mapping[str, Any]) -> Secrets:
    return Secrets(
        gossip=raw["gossip"],
        authority=_pair(raw["authority"]),
        trusted=tuple(raw["trusted"]),
        certs={name: _pair(pair) for name, pair in raw["certs"].items()},
        tokens={name: Token(**token) for name, token in raw["tokens"].items()},
        retired=tuple(raw["retired"]),
        management=raw["management"],
        gossip_next=raw["gossip_next"],
        serial=int(raw.get("serial", 1)),
    )


def _pair(raw: Mapping[str, Any]) -> KeyPair:
    return KeyPair(raw["cert"], raw["key"], tuple(raw["names"]), raw.get("issuer", ""))
