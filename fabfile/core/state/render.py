"""The one jinja environment. Templates hold the words, Python the logic: each gets one typed view as `v`."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING

from ..resources import TEMPLATES

if TYPE_CHECKING:  # jinja2 costs 30 ms, which a fault in hosts.yml need not wait for
    from jinja2 import Environment


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # autoescape is for HTML; what lands on hosts is HCL, units and a Caddyfile, quoted by their own filters
    env = Environment(  # noqa: S701
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    env.filters["hcl"] = hcl
    return env


def hcl(value: object) -> str:
    """A quoted HCL string. The door lets no `${` through; should one come all the same, it must not interpolate."""
    return json.dumps(str(value)).replace("${", "$${").replace("%{", "%%{")


def render(template: str, view: object) -> str:
    """The template's text with `view` as `v`; an undefined name is an error, never an empty string."""
    return _environment().get_template(template).render(v=view)
