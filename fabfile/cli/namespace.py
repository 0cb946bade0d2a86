"""The command table as invoke sees it."""

from __future__ import annotations

from typing import Any

from invoke.collection import Collection
from invoke.tasks import Task

from .console import closed_pipes as pipes
from .console import invoke_hooks as door
from .console import typo_hints as slips
from .tasks import bench, chaos, deploy, health, hosts, lab, primary, reference, secrets, service
from .tasks import consul as reach
from .tasks import project as quality


def namespace() -> Collection:
    door.wrap("parse_tasks", slips.answer)
    door.wrap("parse_cleanup", pipes.answer)
    root = Collection()
    tasks: tuple[Task[Any], ...] = (
        deploy.detect, deploy.plan, deploy.deploy, deploy.rollback, deploy.unlock,
        hosts.add_worker, hosts.trust, health.status, health.verify,
        primary.promote, primary.events, reach.ui, reach.consul, quality.demo, quality.test, reference.docs,
    )  # fmt: skip
    for task in tasks:
        root.add_task(task)
    root.add_collection(Collection.from_module(lab), name="lab")
    root.add_collection(Collection.from_module(bench), name="bench")
    root.add_collection(Collection.from_module(secrets), name="secrets")
    services = Collection.from_module(service)
    services.add_task(reference.service_keys)
    root.add_collection(services, name="service")
    root.add_collection(Collection("host", reference.host_keys))
    root.add_collection(chaos.collection(), name="chaos")
    return root
