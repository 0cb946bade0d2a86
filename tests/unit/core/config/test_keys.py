"""Keys are declared once: docs and editors' schemas are made from the declarations, and agree with the checker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest
import yaml

from fabfile.cli.flows.generated_docs import generated
from fabfile.core.config import inventory, services
from fabfile.core.config.key_docs import hosts_schema, inventory_rows, service_rows, services_schema
from fabfile.core.config.service_keys import SERVICE_KEYS
from fabfile.core.errors import InputError
from fabfile.core.model.service import FIELDS
from fabfile.core.resources import PINS, ROOT

SHIPPED = [ROOT / "hosts.yml", ROOT / "services.yml", *sorted((ROOT / "docs/examples").glob("*.yml"))]
Validate = Callable[[Any], Any]


def schema_of(path: Path) -> Validate:
    made = services_schema() if path.name == "services.yml" else hosts_schema()
    return fastjsonschema.compile(made)  # type: ignore[no-any-return]


@pytest.mark.parametrize("path", generated(), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_docs_are_what_the_declarations_make(path: Path) -> None:
    """A key that was added or changed shows in tables and schemas: run `inv docs`."""
    assert path.read_text() == generated()[path]


def test_each_key_of_a_service_has_its_field() -> None:
    """Whatever may be written has a place in the model, and says what a change of it does to running instances."""
    names = {key.name for key in SERVICE_KEYS} - {"args"}  # args are an image's command
    assert names <= FIELDS.keys()
    assert {name for name in FIELDS.keys() - names if FIELDS[name].metadata.get("spec")} == {"name"}


def test_each_key_is_documented() -> None:
    """Every row says what the key is; every optional key says what happens without it."""
    rows = [*service_rows(), *inventory_rows()]
    assert [row.key for row in rows if not row.doc] == []
    assert [key.name for key in SERVICE_KEYS if not key.default] == ["command", "image"]  # one of the two is required


def test_the_documented_versions_are_those_that_are_brought() -> None:
    """The default versions in the docs are the pinned defaults."""
    pins = json.loads(PINS.read_text())
    rows = {row.key: row.default for row in inventory_rows()}
    documented = {program: rows[f"`{program}.version`"] for program in ("consul", "caddy")}
    assert documented == {program: pins[program]["default"] for program in documented}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_shipped_files_fit_the_schema_that_they_name(path: Path) -> None:
    """Each shipped file names its schema for editors in its first line, the file is there, and the content fits it."""
    first = path.read_text().splitlines()[0]
    named = path.parent / first.removeprefix("# yaml-language-server: $schema=")
    assert json.loads(named.read_text()) == (services_schema() if path.name == "services.yml" else hosts_schema())
    schema_of(path)(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    "text",
    [
        "services: {web: {command: x, port: 70000}}",
        "services: {web: {command: x, prot: 80}}",
        "services: {web: {command: x, replicas: 2000}}",
        "services: {web: {command: x, check: {http: /x, interval: 0.5}}}",
        "services: {web: {command: x, check: http}}",
        "services: {web: {command: x, memory: 2T}}",
        "services: {web: {command: x, args: [y]}}",
        "services: {web: {command: x, domain: example.org}}",
        "services: {web: {image: x, stop_timeout: 2 weeks}}",
        "services: {web: []}",
        "service: {}",
    ],
)
def test_what_the_schema_refuses_the_checker_refuses(text: str) -> None:
    """An editor never marks what the toolkit takes."""
    with pytest.raises(fastjsonschema.JsonSchemaException):
        schema_of(Path("services.yml"))(yaml.safe_load(text))
    with pytest.raises(InputError):
        services.parse(text, Path("services.yml"))


@pytest.mark.parametrize(
    "text",
    [
        "{cluster: c, hosts: {m1: {ssh: a, roles: manager}}}",
        "{cluster: c, hosts: {m1: {ssh: a, roles: []}}}",
        "{cluster: c, hosts: {m1: {ssh: a, roles: [boss]}}}",
        "{cluster: c, hosts: {m1: {ssh: a, roles: [manager], prot: 22}}}",
        "{cluster: c, hosts: {m1: {ssh: a, roles: [manager], port: 0}}}",
        "{cluster: C, hosts: {m1: {ssh: a, roles: [manager]}}}",
        "{hosts: {m1: {ssh: a, roles: [manager]}}}",
        "{cluster: c, hosts: {m1: {ssh: a, roles: [manager]}}, consul: {version: v1}}",
        "{cluster: c, hosts: {m1: {ssh: a, roles: [manager]}}, https: {internal: 'yes'}}",
        "{cluster: c, hosts: {m1: {ssh: a, roles: [manager]}}, promises: {kill-service: {recover_s: fast}}}",
    ],
)
def test_what_the_schema_of_hosts_refuses_the_checker_refuses(text: str) -> None:
    """The same of hosts.yml."""
    with pytest.raises(fastjsonschema.JsonSchemaException):
        schema_of(Path("hosts.yml"))(yaml.safe_load(text))
    with pytest.raises(InputError):
        inventory.parse(text, Path("hosts.yml"), state_root=Path("/s"), home=Path("/h"))
