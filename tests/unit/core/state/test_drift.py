"""What runs on a host is not what its files say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fabfile.core.state.drift import drift, misread_units, rules_fault
from fabfile.core.state.facts import RulesFact
from fabfile.core.state.firewall import ALLOWANCES, RULES, SCRIPT
from fabfile.core.state.manifest import Manifest, text_file
from tests.support.samples import active, facts_of, wanted

LOADER = text_file(SCRIPT, "sh")
NEW = Manifest(files=(text_file(RULES, "rules"), LOADER))
UFW = Manifest(files=(text_file(ALLOWANCES, "rules"), LOADER))
OLD = Manifest(files=(text_file(RULES, "rules"),))
SUM = text_file(RULES, "rules").sha256


@pytest.mark.parametrize("manifest", [NEW, UFW])
@pytest.mark.parametrize(
    ("rules", "fault"),
    [
        (None, None),
        (RulesFact(SUM, "a", "a"), None),
        (RulesFact(SUM, "a", None), "its rules are not in force"),
        (RulesFact(None, None, None), "its rules are not in force"),
        (RulesFact(SUM, "a", "b"), "other rules are in force than it loaded"),
        (RulesFact("f", "a", "a"), "the rules in force are of another file"),
        (RulesFact(None, None, "a"), "which rules are in force is not known"),
    ],
)
def test_rules_in_force_are_those_of_the_file(manifest: Manifest, rules: RulesFact | None, fault: str | None) -> None:
    """Only rules that were loaded from the wanted file, and are still what they were then, are right."""
    assert rules_fault(manifest, rules) == fault


def test_an_older_release_kept_no_record() -> None:
    """Of a generation without the loader it is known only whether its table is there: after an upgrade nothing is red."""
    assert rules_fault(OLD, RulesFact(None, None, "a")) is None
    assert rules_fault(OLD, RulesFact("f", "x", "a")) is None
    assert rules_fault(OLD, RulesFact(None, None, None)) == "its rules are not in force"
    assert rules_fault(Manifest(), RulesFact(None, None, None)) is None


@pytest.mark.parametrize("how", [{"outdated": True}, {"load": "error"}, {"load": "bad-setting"}, {"load": "not-found"}])
def test_units_that_systemd_misread_are_named(how: dict[str, object]) -> None:
    """A unit of ours, or one with a drop-in of ours, counts; one that we placed nothing of does not."""
    manifest = wanted("w1")
    bad = replace(active(), **how)  # type: ignore[arg-type]
    units = {**facts_of(manifest).units, "consul.service": bad, "nftables.service": bad, "caddy.service": bad}
    facts = facts_of(manifest, units=units)
    assert misread_units(manifest, facts) == ("consul.service", "nftables.service")
    assert drift(manifest, facts) == ("systemd has another text than the file of consul.service, nftables.service",)


def test_a_file_that_is_not_there_yet_is_not_misread() -> None:
    """Before the first deploy there is nothing to read again."""
    manifest = wanted("w1")
    facts = facts_of(manifest, files={}, units={"nftables.service": replace(active(), outdated=True)})
    assert misread_units(manifest, facts) == ()
