"""Short texts for workers, orders and desired services, for tests of the orchestrator's placement decision."""

from __future__ import annotations

from remote_agents.nexus_agents.orchestrator.placement_model import Action, DesiredService, Instance, Observed, Worker


def worker(word: str) -> Worker:
    """`w1`, `w1:dead`, `w1:flaps`, `w1:zone=a`, or several marks: `w1:zone=a:flaps`."""
    name, *marks = word.split(":")
    labels = dict(m.split("=") for m in marks if "=" in m)
    return Worker(name, "dead" not in marks, labels, "flaps" in marks)


def observed(workers: str, orders: str = "") -> Observed:
    """Orders: `web@w1` (revision r1, passing), `web@w1:r2`, `web@w1:r2!looping` (not passing), `web@w1?` (no report)."""
    placed: dict[str, dict[str, str]] = {}
    instances = {}
    for word in orders.split():
        instance, _, state = word.rstrip("?").partition("!")
        instance, _, revision = instance.partition(":")
        service, host = instance.split("@")
        placed.setdefault(host, {})[service] = revision or "r1"
        if not word.endswith("?"):
            instances[service, host] = Instance(revision or "r1", not state, state or "running")
    return Observed({w.name: w for w in map(worker, workers.split())}, placed, instances)


def desired_services(words: str) -> dict[str, DesiredService]:
    """`web=2`, `web:r2=all`, `web=2/zone=a`."""
    services = {}
    for word in words.split():
        service, *labels = word.split("/")
        name, count = service.split("=")
        name, _, revision = name.partition(":")
        replicas = None if count == "all" else int(count)
        services[name] = DesiredService(name, revision or "r1", replicas, dict(label.split("=") for label in labels))
    return services


def action_texts(actions: tuple[Action, ...]) -> list[str]:
    """One text for each action: `place web w1`."""
    return [f"{a.kind} {a.service} {a.host}" for a in actions]
