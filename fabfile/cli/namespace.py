"""The command table as invoke sees it."""

from __future__ import annotations

from invoke.collection import Collection

from . import deploy, health, hosts, lab, quality


def namespace() -> Collection:
    root = Collection()
    for task in (
        deploy.detect, deploy.plan, deploy.deploy, deploy.rollback, deploy.unlock,
        hosts.add_worker, hosts.trust, health.status, health.verify, quality.demo, quality.test,
    ):  # fmt: skip
        root.add_task(task)
    root.add_collection(Collection.from_module(lab), name="lab")
    return root
