"""Invoke's door: `inv --list` shows what stands in fabfile/cli."""

from fabfile.cli.namespace import namespace

ns = namespace()
