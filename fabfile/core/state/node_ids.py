"""The id of each host's node in Consul: the one that it has, else one that follows from the cluster's id and its name. Pure.

Consul keeps a node's name for the id that had it first. A host that comes back without its data folder would make a new
id, and could never again write its own entry: `node name m2 is reserved by node …`. So the id is in its settings.
"""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Mapping

from .consul import NODE_ID_FILE, SETTINGS
from .facts import Facts

_SETTING = re.compile(rb'^node_id\s*=\s*"([^"]*)"', re.MULTILINE)


def derived_node_id(cluster_id: str, host: str) -> str:
    """Always the same for a host of this name in this cluster."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"nexus:{cluster_id}/{host}"))


def kept_node_ids(facts: Mapping[str, Facts]) -> dict[str, str]:
    """Host name -> the id that it has already: the one in Consul's data folder, or else in its settings.

    A living node must keep its id. The folder has one where Consul made it, before the settings named any; where the
    folder was lost since, the settings still say which it was. An id that two hosts have, as clones of one machine do,
    is nobody's.
    """
    found = {name: id_ for name, fact in facts.items() if (id_ := _from_folder(fact) or _from_settings(fact))}
    times = Counter(found.values())
    return {name: id_ for name, id_ in found.items() if times[id_] == 1}


def _from_folder(fact: Facts) -> str | None:
    file = fact.files.get(NODE_ID_FILE)
    return _valid(file.content) if file and file.content else None


def _from_settings(fact: Facts) -> str | None:
    file = fact.files.get(SETTINGS)
    match = _SETTING.search(file.content) if file and file.content else None
    return _valid(match[1]) if match else None


def _valid(text: bytes) -> str | None:
    """As Consul reads it. None for anything that is no id: Consul would not start on it."""
    try:
        return str(uuid.UUID(text.decode("ascii").strip()))
    except ValueError:
        return None
