"""Paths of the files that are shipped with the code: beside the package in a checkout, inside it when installed.

Nothing is read here.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
INSTALLED = (_PACKAGE / "templates").is_dir()  # a wheel holds the shipped files inside the package
ROOT = _PACKAGE if INSTALLED else _PACKAGE.parent
TEMPLATES = ROOT / "templates"
SCRIPTS = ROOT / "remote_agents"
PINS = _PACKAGE / "core" / "state" / "pins.json"  # sums of Consul's and Caddy's builds
AGENT_SOURCES = SCRIPTS / "nexus_agents"
