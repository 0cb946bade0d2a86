"""Which cluster a host belongs to, by the identity file that each deploy places on it, and what that forbids. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import Refused
from ..model.cluster import Cluster, Role
from .facts import Facts
from .manifest import Manifest

IDENTITY = "/etc/nexus/host.json"


@dataclass(frozen=True, slots=True)
class Identity:
    """cluster, id: name and id of the cluster; security: the host's level; secrets: serial of the secrets it has.

    roles: those that were deployed; None: an early version wrote the file
    """

    cluster: str
    id: str
    security: int = 0
    secrets: int = 0
    roles: tuple[str, ...] | None = None

    def had(self, role: Role) -> bool:
        """Whether the role was deployed. True where the file does not say."""
        return self.roles is None or role in self.roles


def identities(facts: Mapping[str, Facts]) -> dict[str, Identity]:
    """By host name, of each host that was deployed before. A host whose identity file cannot be read has none."""
    found = {}
    for name, fact in facts.items():
        file = fact.files.get(IDENTITY)
        if file and file.content:
            try:
                fields = json.loads(file.content)
                security, serial = _security_and_serial(fields)
                roles = tuple(map(str, fields["roles"])) if "roles" in fields else None
                found[name] = Identity(str(fields["cluster"]), str(fields["id"]), security, serial, roles)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
    return found


def settle_cluster_id(
    cluster: Cluster, own: str | None, found: Mapping[str, Identity], adopt: bool = False
) -> str | None:
    """The cluster id to deploy with; None: the cluster is new and needs one. Refused where hosts have another id.

    own: the id in the state folder; found: the hosts' identities
    adopt: take over the id of a running cluster of this name that the state folder does not know
    """
    others = {i.id for i in found.values()} - ({own} if own else set())
    if not others:
        return own
    name, identity = next((n, i) for n, i in found.items() if i.id in others)
    if own is None and len(others) == 1 and identity.cluster == cluster.name:
        if adopt:
            return identity.id
        raise Refused(
            f"{name} belongs to a running cluster {identity.cluster} (id {identity.id}), "
            "which this state folder does not know",
            f"put {cluster.state} back from a backup, or: inv secrets.import FILE; "
            "with its secrets.json at hand: inv deploy --adopt",
        )
    raise Refused(
        f"{name} belongs to another cluster: {identity.cluster} (id {identity.id}), "
        f"not to {cluster.name} (id {own or 'new'})",
        f"take {name} out of {cluster.source.name}; to move it here for good, on the host: rm {IDENTITY}",
    )


def check_rollback(host: str, previous: Manifest, now: Identity | None) -> None:
    """Refused where the previous generation has a lower security level, whose agents the other hosts no longer accept,
    or secrets that were replaced since."""
    content = next((f.content for f in previous.files if f.path == IDENTITY), None)
    try:
        level, serial = _security_and_serial(json.loads(content) if content else {})
    except (ValueError, TypeError, AttributeError):  # damaged on the host: counts as open, like a missing one
        level = serial = 0
    if now and level == now.security and serial < now.secrets:
        raise Refused(
            f"{host}: the secrets of the generation before have been rotated since and are void",
            "change hosts.yml and deploy instead",
        )
    if now and level < now.security:
        raise Refused(
            f"{host}: in the generation before, the cluster was less secure (level {level}, now {now.security})",
            "change hosts.yml and deploy instead",
        )


def check_secrets(cluster: Cluster, found: Mapping[str, Identity], serial: int | None) -> None:
    """Refused where a secured cluster would be deployed without its secrets or with older ones.

    `serial`: that of the secrets in the state folder; None: there are none.
    """
    secured = [name for name, identity in found.items() if identity.security > 0]
    newer = [name for name, identity in found.items() if serial is not None and identity.secrets > serial]
    if newer:
        raise Refused(
            f"{', '.join(newer)} have newer secrets than {cluster.state}: they were rotated from elsewhere",
            "ask the other operator for an export: inv secrets.import FILE --replace",
        )
    if secured and serial is None:
        raise Refused(
            f"{', '.join(secured)} run with secrets that {cluster.state} does not have",
            "put secrets.json back from a backup, or bring the secrets in: inv secrets.import FILE",
        )


def _security_and_serial(fields: Mapping[str, Any]) -> tuple[int, int]:
    """0 for a key that is missing, as in files of early versions."""
    return int(fields.get("security", 0)), int(fields.get("secrets", 0))
