"""Where what runs on a host is not what its files say: firewall rules and units that somebody else has changed. Pure."""

from __future__ import annotations

from .facts import Facts, RulesFact
from .firewall import ALLOWANCES, RULES, SCRIPT
from .manifest import Manifest

_SYSTEMD = "/etc/systemd/system/"


def rules_fault(manifest: Manifest, rules: RulesFact | None) -> str | None:
    """What is wrong with the rules in force, for people; None when they are those of the manifest's file.

    A generation without firewall.sh is of an older release, which kept no record: its rules only have to be there.
    """
    sums = {f.path: f.sha256 for f in manifest.files}
    file = sums.get(RULES) or sums.get(ALLOWANCES)
    if rules is None or file is None:
        return None
    if rules.now is None:
        return "its rules are not in force"
    if SCRIPT not in sums:
        return None
    if rules.loaded is None:
        return "which rules are in force is not known"
    if rules.now != rules.loaded:
        return "other rules are in force than it loaded"
    return None if rules.file == file else "the rules in force are of another file"


def misread_units(manifest: Manifest, facts: Facts) -> tuple[str, ...]:
    """Units with a file or drop-in of the manifest on the host, of which systemd has read another text, or none."""
    paths = {f.path for f in manifest.files} & facts.files.keys()
    ours = {path.removeprefix(_SYSTEMD).partition(".d/")[0] for path in paths if path.startswith(_SYSTEMD)}
    return tuple(sorted(name for name in ours if name in facts.units and facts.units[name].misread))


def drift(manifest: Manifest, facts: Facts) -> tuple[str, ...]:
    """A line for each place where what runs is not what the manifest placed. Empty: all is as it was deployed."""
    fault = rules_fault(manifest, facts.rules)
    misread = misread_units(manifest, facts)
    return (
        *((f"the firewall: {fault}",) if fault else ()),
        *((f"systemd has another text than the file of {', '.join(misread)}",) if misread else ()),
    )
