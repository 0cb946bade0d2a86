"""`nexus-agents.pyz AGENT SETTINGS`: starts one agent on a host. AGENT: worker, orchestrator, release or balancer."""

from __future__ import annotations

import json
import sys

OLDEST_PYTHON = (3, 10)
USAGE = "usage: nexus-agents.pyz worker|orchestrator|release|balancer SETTINGS.json, or --version"


def version() -> str:
    """Toolkit version and digest of the sources; the operator's side writes them when it builds the zip file."""
    import pkgutil

    return (pkgutil.get_data(__package__, "VERSION") or b"unbuilt").decode().strip()


def main(argv: list[str]) -> int:
    if sys.version_info < OLDEST_PYTHON:
        print(f"Python {'.'.join(map(str, sys.version_info[:3]))} is too old: 3.10 or newer is needed", file=sys.stderr)
        return 1
    if argv == ["--version"]:
        print(f"nexus-agents {version()}")
        return 0
    if len(argv) != 2 or argv[0] not in ("worker", "orchestrator", "release", "balancer"):
        print(USAGE, file=sys.stderr)
        return 2
    from .shared.notify import exit_on_thread_failure, read_token

    exit_on_thread_failure()

    with open(argv[1], encoding="utf-8") as file:
        settings = json.load(file)
    token = read_token(settings["token"])
    if argv[0] == "worker":
        from .worker import agent as worker

        return worker.main(settings, token)
    if argv[0] == "balancer":
        from .balancer import agent as balancer

        return balancer.main(settings, token)
    if argv[0] == "release":
        from .orchestrator import lock_release

        return lock_release.main(settings, token)
    from .orchestrator import agent as orchestrator

    return orchestrator.main(settings, token)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
