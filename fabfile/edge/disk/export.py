"""A cluster's state for a second operator: one file, encrypted with a passphrase in the `age` format.

The library pyrage encrypts; any age tool can open the file: `age --decrypt FILE`. What goes in and what comes out is read
as a deploy would read it: half a file must be noticed here, not when it is the only copy.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from itertools import count
from pathlib import Path

from ...core.config.json_text import JsonFault, parse_object
from ...core.errors import InputError, NexusError, Refused
from . import vault
from .atomic import write_atomically
from .paths import display_path, read_fault
from .state import State

_FILES = (vault.FILE, "cluster.json", "versions.json", "addresses.json", "acl.json")
_KEPT = (vault.FILE, "cluster.json", "versions.json")  # what cannot be found out again
_ASIDE = "before-import-{}"  # the folder of the files that an import replaced


def pack(folder: Path, passphrase: str) -> bytes:
    """The state folder's files, encrypted. Refused when there is nothing to share, NexusError when one is damaged."""
    from pyrage import passphrase as age

    if not os.path.lexists(folder / vault.FILE):
        raise Refused(f"{display_path(folder)} has no secrets to share", "inv deploy makes them")
    state = State(folder)
    with state.locked():
        found = {name: (folder / name).read_bytes() for name in _FILES if os.path.lexists(folder / name)}
    _check(found, state)
    content = {"cluster": folder.name, "files": {name: text.decode() for name, text in found.items()}}
    packed: bytes = age.encrypt(json.dumps(content).encode(), passphrase)
    return packed


def unpack(file: Path, folder: Path, passphrase: str, replace: bool) -> Path | None:
    """Puts the files into the cluster's state folder, and returns the folder where those that they replace are kept.

    Refused when it has other secrets, unless `replace`. NexusError, with nothing written, when the file is no such export,
    the passphrase is wrong, or what is in it is damaged.
    """
    files = _opened(file, folder.name, passphrase)
    state = State(folder)
    try:
        _check(files, state)
    except NexusError as error:
        hint = "ask for another export; nothing was written"
        raise NexusError(f"{display_path(file)}: what is in it is damaged: {error.message}", hint) from None
    with state.locked():
        before = {name: (folder / name).read_bytes() for name in _KEPT if (folder / name).is_file()}
        others = {name: content for name, content in before.items() if name in files and files[name] != content}
        if not replace and (other := next((n for n in others if n != "versions.json"), None)):
            what = "other secrets" if other == vault.FILE else "another cluster id"
            hint = "if it is the outdated one: --replace (a copy is kept)"
            raise Refused(f"{display_path(folder / other)} has {what} already", hint)
        aside = _set_aside(folder, before) if others else None
        for name, content in files.items():
            write_atomically(folder / name, content)
    return aside


def _opened(file: Path, cluster: str, passphrase: str) -> dict[str, bytes]:
    """The files in an export of the cluster."""
    from pyrage import passphrase as age

    try:
        content = parse_object(age.decrypt(file.read_bytes(), passphrase))
        files = {name: str.encode(content["files"][name]) for name in _FILES if name in content["files"]}
        if vault.FILE not in files:
            raise JsonFault("has no secrets")
        of = content["cluster"]
    except OSError as error:
        raise InputError([f"{display_path(file)}: {read_fault(file, error)[0]}"]) from None
    except Exception as error:  # pyrage's errors all mean this
        hint = "is it the file, and is this its passphrase?"
        raise NexusError(f"{display_path(file)} cannot be opened", hint) from error
    if of != cluster:
        raise Refused(f"{file} is of the cluster {of}, not of {cluster}")
    return files


def _check(files: Mapping[str, bytes], state: State) -> None:
    """NexusError when one of the files is not what a deploy would take."""
    for name, content in files.items():
        if name == vault.FILE:
            vault.parse(content, state.folder / name)
        else:
            state.parse(name, content)


def _set_aside(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Writes the files into a new folder beside them: no import ever overwrites what an earlier one kept."""
    for number in count(1):
        aside = folder / _ASIDE.format(number)
        try:
            aside.mkdir(mode=0o700)
            break
        except FileExistsError:
            continue
    for name, content in files.items():
        write_atomically(aside / name, content)
    return aside
