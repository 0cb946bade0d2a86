"""Words for placements: workers, orders and wishes in a line each, for tests of the orchestrator's decision."""

from __future__ import annotations

from remote_agents.nexus_agents.orchestrator.placement_model import Action, DesiredService, Instance, Observed, Worker


def worker(word: str) -> Worker:
    """`w1`, `w1:dead`, `w1:flaps`, `w1:zone=a`, and several of them: `w1:zone=a:flaps`."""
    name, *marks = word.split(":")
    labels = dict(m.split("=") for m in marks if "=" in m)
    return Worker(name, "dead" not in marks, labels, "flaps" in marks)


def observed(workers: str, orders: str = "") -> Observed:
    """Orders: `web@w1` (revision r1, passing), `web@w1:r2`, `web@w1:r2!looping` (not passing), `web@w1?` (no report)."""
    placed: dict[str, dict[str, str]] = {}
    instances = {}
    for word in orders.split():
        where, _, state = word.rstrip("?").partition("!")
        where, _, revision = where.partition(":")
        service, host = where.split("@")
        placed.setdefault(host, {})[service] = revision or "r1"
        if not word.endswith("?"):
            instances[service, host] = Instance(revision or "r1", not state, state or "running")
    return Observed({w.name: w for w in map(worker, workers.split())}, placed, instances)


def desired_services(words: str) -> dict[str, DesiredService]:
    """`web=2`, `web:r2=all`, `web=2/zone=a`."""
    found = {}
    for word in words.split():
        what, *labels = word.split("/")
        name, count = what.split("=")
        name, _, revision = name.partition(":")
        asked = None if count == "all" else int(count)
        found[name] = DesiredService(name, revision or "r1", asked, dict(label.split("=") for label in labels))
    return found


def said(actions: tuple[Action, ...]) -> list[str]:
    """`place web w1`."""
    return [f"{a.kind} {a.service} {a.host}" for a in actions]
