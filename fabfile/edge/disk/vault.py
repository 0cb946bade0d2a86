"""The cluster's secrets on the operator's disk: one file, mode 0600, made once and then only added to.

One file can be replaced atomically, and shared with a second operator in one step. When it is lost, the deploy stops
before it changes anything (`core.state.identity`): a running cluster never gets new secrets in its place.
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
from .atomic import write_atomically
from .paths import display_path
from .state import State

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
                f"{display_path(self.path)} cannot be read ({type(error).__name__})",
                "put it back from a backup, or: inv secrets.import",
            ) from error

    def save(self, secrets: Secrets) -> None:
        """Replaces the file atomically."""
        State(self._folder).ensure()
        write_atomically(self.path, (json.dumps(asdict(secrets), indent=1) + "\n").encode())

    def ensure(self, cluster: Cluster) -> Secrets:
        """The secrets that the inventory's cluster needs. Existing ones stay; missing ones are made and saved."""
        found = self.load()
        completed = complete(found or _new(cluster.name), cluster)
        if completed != found:
            self.save(completed)
        return completed


def _new(cluster: str) -> Secrets:
    from .pki import make_authority

    authority = make_authority(cluster)
    return Secrets(gossip_key(), authority, (authority.cert,))


def gossip_key() -> str:
    """32 random bytes in base64, as `consul keygen` prints."""
    return base64.b64encode(random.token_bytes(32)).decode()


def complete(secrets: Secrets, cluster: Cluster) -> Secrets:
    """Adds the certificates and tokens of new hosts and roles, and drops those of hosts that left."""
    names = {h.name: host_names(h.name, h.has("manager"), cluster.datacenter) for h in cluster.hosts}
    certs = {n: c for n, c in secrets.certs.items() if n in names and c.names == names[n]}
    for name in names.keys() - certs.keys():
        from .pki import issue

        certs[name] = issue(secrets.authority, names[name])
    wanted = [t for h in cluster.hosts for t in token_names(h)]
    tokens = {t: secrets.tokens.get(t) or new_token() for t in wanted}
    return replace(secrets, certs=dict(sorted(certs.items())), tokens=dict(sorted(tokens.items())))


def new_token() -> Token:
    """A random accessor and secret."""
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
