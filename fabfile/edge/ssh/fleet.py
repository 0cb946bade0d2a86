"""The connections of one command: a Remote for each host, opened in parallel, closed together."""

from __future__ import annotations

import resource
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import TracebackType

from ...core.errors import HostError
from ...core.model.cluster import Cluster, Host
from ...core.state.desired import PATHS, PROBED_UNITS
from ...core.state.facts import Facts
from ...core.state.probe_output import parse
from ...core.state.scripts import script
from ..disk.vault import Vault
from .connection import Remote
from .fanout import for_each_host


class Fleet:
    """Hosts of a cluster by name; `with Fleet(...)` closes what was opened."""

    def __init__(self, cluster: Cluster, hosts: Iterable[Host] | None = None) -> None:
        self.cluster = cluster
        self.remotes = {h.name: Remote(cluster, h) for h in (cluster.hosts if hosts is None else hosts)}
        _allow_files(256 + 4 * len(self.remotes))
        secrets = Vault(cluster.state).load()
        for remote in self:
            remote.token = secrets.management if secrets else None

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for remote in self.remotes.values():
            remote.close()

    def __getitem__(self, name: str) -> Remote:
        """HostError: no such host, as when Consul names one that has left the inventory."""
        if name not in self.remotes:
            raise HostError(name, f"{self.cluster.source.name} knows no host of this name", "inv status")
        return self.remotes[name]

    def __iter__(self) -> Iterator[Remote]:
        return iter(self.remotes.values())

    def of(self, hosts: Iterable[Host]) -> list[Remote]:
        """The connections to these hosts, in their order."""
        return [self.remotes[h.name] for h in hosts]

    def probe(
        self, remotes: Iterable[Remote] | None = None, previous: bool = False
    ) -> tuple[dict[str, Facts], list[HostError]]:
        """Facts by host name, in one round trip each, and the faults of hosts that could not be reached."""
        return for_each_host(self if remotes is None else remotes, lambda r: probe(r, previous))


def _allow_files(count: int) -> None:
    """Raises this process's own limit of open files, as far as it may: every connection stays open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def probe(remote: Remote, previous: bool = False) -> Facts:
    """One host's facts. `previous` also reads the manifest of the previous generation, for a rollback."""
    options = ["--previous"] if previous else []
    result = remote.script(script("probe"), "", ",".join(PROBED_UNITS), *options, *PATHS, repeat=True)
    return parse(remote.host.name, result.out)
