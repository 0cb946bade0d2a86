"""Invoke's entry point: the commands of fabfile/cli."""

from fabfile.cli.namespace import namespace

ns = namespace()
