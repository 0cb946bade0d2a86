"""The cluster's secrets on the operator's disk: one file, mode 0600, made once and then only added to.

One file can be replaced atomically, and shared with a second operator in one step. When it is lost, the deploy stops
before it changes anything (`core.state.identity`): a running cluster never gets new secrets in its place. A host that is
missing from hosts.yml may only be commented out for a moment, so its secrets stay until a deploy has made them void.
"""

from __future__ import annotations

import base64
import secrets as random
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ...core.config import secrets_text
from ...core.config.json_text import JsonFault
from ...core.errors import NexusError, Refused
from ...core.judge.acl import token_names
from ...core.model.cluster import Cluster
from ...core.model.secrets import KeyPair, Secrets, Token, host_names
from .atomic import write_atomically
from .paths import display_path
from .state import State

T = TypeVar("T")
FILE = "secrets.json"
_WAY_OUT = "put it back from a backup, or: inv secrets.import FILE --replace"


class Vault:
    """Reads and writes the file of one cluster. Whoever changes it holds the state folder's lock from read to write."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._state = State(folder)

    def load(self) -> Secrets | None:
        """None when there is no file. NexusError when it is not what we wrote."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            if self.path.is_symlink():
                raise NexusError(f"{display_path(self.path)} is a link to nothing", _WAY_OUT) from None
            return None
        except OSError as error:
            raise NexusError(f"{display_path(self.path)} cannot be read: {error.strerror}", _WAY_OUT) from error
        return parse(content, self.path)

    def save(self, secrets: Secrets) -> None:
        """Replaces the file atomically, whatever it holds by now."""
        with self._state.locked():
            self._write(secrets)

    def ensure(self, cluster: Cluster) -> Secrets:
        """The secrets that the inventory's cluster needs. Existing ones stay; missing ones are made and saved."""
        found = self.load()
        if found and complete(found, cluster) == found:
            return found
        with self._state.locked():  # another run may have made them meanwhile
            found = self.load()
            completed = complete(found or _new(cluster.name), cluster)
            if completed != found:
                self._write(completed)
            return completed

    def update(self, change: Callable[[Secrets], Secrets]) -> Secrets:
        """Changes what is in the file now, and returns it. Refused when there is no file."""
        with self._state.locked():
            found = self.load()
            if found is None:
                raise Refused("this cluster has no secrets yet", "inv deploy makes them")
            changed = change(found)
            if changed != found:
                self._write(changed)
            return changed

    def forget_removed(self, cluster: Cluster) -> None:
        """Drops the tokens and certificates that the cluster has no use for: a deploy has just made them void."""
        wanted = {name for host in cluster.hosts for name in token_names(host)}
        self.update(lambda s: replace(s, tokens={n: t for n, t in s.tokens.items() if n in wanted}, spare={}))

    def _write(self, secrets: Secrets) -> None:
        write_atomically(self.path, secrets_text.render(secrets))


def parse(content: bytes, path: Path) -> Secrets:
    """The secrets in the content of a secrets.json. NexusError, with the path and a way out, when it holds none."""
    try:
        return secrets_text.parse(content)
    except secrets_text.UnknownField as fault:
        hint = "a newer version of Nexus Ops wrote it: use that one, so that nothing of it is lost"
        raise NexusError(f"{display_path(path)} {fault}", hint) from None
    except JsonFault as fault:
        raise NexusError(f"{display_path(path)} cannot be read: {fault}", _WAY_OUT) from None


def _new(cluster: str) -> Secrets:
    from .pki import make_authority

    authority = make_authority(cluster)
    return Secrets(gossip_key(), authority, (authority.cert,))


def gossip_key() -> str:
    """32 random bytes in base64, as `consul keygen` prints."""
    return base64.b64encode(random.token_bytes(32)).decode()


def complete(secrets: Secrets, cluster: Cluster) -> Secrets:
    """Adds the certificates and tokens of new hosts and roles; those of hosts and roles that left are set aside."""
    names = {h.name: host_names(h.name, h.has("manager"), cluster.datacenter) for h in cluster.hosts}
    certs = {n: c for n, c in secrets.certs.items() if n in names and c.names == names[n]}
    spare = {**secrets.spare, **{(c.names or (n,))[0]: c for n, c in secrets.certs.items() if n not in certs}}
    for name in names.keys() - certs.keys():
        from .pki import issue

        kept = spare.pop(names[name][0], None)
        certs[name] = kept if kept and _usable(kept, names[name], secrets) else issue(secrets.authority, names[name])
    wanted = [t for h in cluster.hosts for t in token_names(h)]
    tokens = {**secrets.tokens, **{t: new_token() for t in wanted if t not in secrets.tokens}}
    return replace(secrets, certs=_sorted(certs), tokens=_sorted(tokens), spare=_sorted(spare))


def _usable(pair: KeyPair, names: tuple[str, ...], secrets: Secrets) -> bool:
    """Whether it is for exactly these names, and of a CA that the agents still trust."""
    return pair.names == names and pair.issuer in {KeyPair(cert, "").sum for cert in secrets.trusted}


def _sorted(found: dict[str, T]) -> dict[str, T]:
    return dict(sorted(found.items()))


def new_token() -> Token:
    """A random accessor and secret."""
    return Token(str(uuid.uuid4()), str(uuid.uuid4()))
