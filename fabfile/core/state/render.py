"""The one jinja environment. Templates hold text, Python the logic; each template sees one typed view as `v`."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING

from ..resources import TEMPLATES

if TYPE_CHECKING:  # importing jinja2 takes 30 ms, which an error in hosts.yml need not wait for
    from jinja2 import Environment


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # autoescape is for HTML; these templates make HCL, units and a Caddyfile, which need other quoting
    env = Environment(  # noqa: S701
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        auto_reload=False,
    )  # fmt: skip
    env.filters["hcl"] = hcl
    return env


def hcl(value: object) -> str:
    """A quoted HCL string. hosts.yml may not contain `${`; if it does all the same, Consul must not interpolate it."""
    return json.dumps(str(value)).replace("${", "$${").replace("%{", "%%{")


def render(template: str, view: object) -> str:
    """The template's text with `view` as `v`. jinja2.UndefinedError: the template uses a name that the view lacks."""
    return _environment().get_template(template).render(v=view)
