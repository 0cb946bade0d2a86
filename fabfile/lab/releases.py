"""Which Debian the lab's nodes run, and the apt mirror that has it.

`OWN` is this machine's own system: built from its own apt sources, whatever they are. A Debian that is named by its
number comes from the same mirror, which has the other releases as well.
"""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..core.config.fault import shown
from ..core.errors import InputError, NexusError

SUITES: Mapping[str, str] = {"12": "bookworm", "13": "trixie"}
OWN = "own"
_HEAD = 4096  # bytes of an InRelease file; its fields come first, its sums after them


class NoMirror(NexusError):
    """No apt mirror of this machine has the release."""


@dataclass(frozen=True, slots=True)
class Releases:
    """The release of the six hosts, and the spare's. OWN or a key of SUITES."""

    nodes: str = OWN
    spare: str = OWN


def check(option: str, text: str) -> str:
    """The number of a Debian, empty where the option was left out. InputError: not one that the lab can build."""
    if text and text not in SUITES:
        raise InputError([f"{option} {shown(text)}: is not one of {', '.join(SUITES)}"])
    return text


def choose(nodes: str, spare: str, there: Releases | None, own: str) -> Releases:
    """What the two options ask for. `there`: of the lab that is up; what the options leave open stays as it is.

    own: the number of this machine's Debian; what asks for it asks for OWN
    """
    before = there or Releases()

    def release(text: str) -> str:
        return OWN if text and text == own else text

    return Releases(release(nodes) or before.nodes, release(spare or nodes) or before.spare)


def own_number(os_release: Mapping[str, str]) -> str:
    """The number of this machine's Debian; empty for another system, or a Debian without a number."""
    return os_release.get("VERSION_ID", "") if os_release.get("ID") == "debian" else ""


def words(release: str) -> str:
    return "this machine's own system" if release == OWN else f"Debian {release}"


def source_line(release: str, sites: Sequence[str], read: Callable[[str], str] | None = None) -> str:
    """apt's line for the release, with the first of the mirrors that has it. NoMirror says what each one answered.

    read: gives the text at a URL, or raises OSError (by default over HTTP)
    """
    suite, tried = SUITES[release], []
    for site in sites:
        try:
            text = (read or _head)(f"{site}/dists/{suite}/InRelease")
        except (OSError, ValueError) as fault:
            tried.append(f"{urlsplit(site).hostname}: {fault}")
            continue
        if is_suite(text, suite):
            return f"deb {site} {suite} main"
        tried.append(f"{urlsplit(site).hostname}: what it calls {suite} is not Debian's")
    problem = f"no apt mirror of this machine has Debian {release} ({suite})"
    raise NoMirror(f"{problem}: {'; '.join(tried) or 'none is configured'}",
                   "the lab itself does without: leave --debian and --spare-debian out")  # fmt: skip


def is_suite(text: str, suite: str) -> bool:
    """Whether an InRelease file is that of Debian's suite. Other archives have folders of the same name."""
    fields = dict(re.findall(r"^(Origin|Codename): (.*?)\s*$", text, re.M))
    return fields == {"Origin": "Debian", "Codename": suite}


def _head(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - http(s) only, see parse_sites
        return str(answer.read(_HEAD).decode("utf-8", "replace"))
