"""The table of all commands, which Invoke, Fabric and `nexus` list and run."""

from __future__ import annotations

from typing import Any

from invoke.collection import Collection
from invoke.tasks import Task

from .console.closed_pipes import exit_quietly
from .console.invoke_hooks import wrap_program_method
from .console.typo_hints import explain_parse_errors
from .tasks import bench, chaos, consul, deploy, health, hosts, lab, primary, project, reference, secrets, service


def namespace() -> Collection:
    wrap_program_method("parse_tasks", explain_parse_errors)
    wrap_program_method("parse_cleanup", exit_quietly)
    root = Collection()
    tasks: tuple[Task[Any], ...] = (
        deploy.detect, deploy.plan, deploy.deploy, deploy.rollback, deploy.unlock,
        hosts.add_worker, hosts.trust, health.status, health.verify,
        primary.promote, primary.events, consul.ui, consul.consul, project.demo, project.test, reference.docs,
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
