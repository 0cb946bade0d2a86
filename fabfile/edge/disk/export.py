"""A cluster's state for a second operator: one file, encrypted with a passphrase in the `age` format.

The library pyrage encrypts; any age tool can open the file: `age --decrypt FILE`.
"""

from __future__ import annotations

import json
from pathlib import Path

from ...core.errors import InputError, NexusError, Refused
from .atomic import write_atomically
from .paths import display_path, read_fault
from .state import State
from .vault import FILE

_FILES = ("cluster.json", FILE, "versions.json", "addresses.json", "acl.json")


def pack(folder: Path, passphrase: str) -> bytes:
    """The state folder's files, encrypted. Refused when there is nothing to share."""
    from pyrage import passphrase as age

    found = {name: (folder / name).read_text() for name in _FILES if (folder / name).is_file()}
    if FILE not in found:
        raise Refused(f"{display_path(folder)} has no secrets to share", "inv deploy makes them")
    packed: bytes = age.encrypt(json.dumps({"cluster": folder.name, "files": found}).encode(), passphrase)
    return packed


def unpack(file: Path, folder: Path, passphrase: str, replace: bool) -> None:
    """Puts the files into the cluster's state folder. Refused when it has other secrets, unless `replace`.

    NexusError when the file is no such export or the passphrase is wrong.
    """
    from pyrage import passphrase as age

    try:
        content = json.loads(age.decrypt(file.read_bytes(), passphrase))
        files = {name: str.encode(content["files"][name]) for name in _FILES if name in content["files"]}
        cluster, secrets = content["cluster"], files[FILE]
    except OSError as error:
        raise InputError([f"{display_path(file)}: {read_fault(file, error)[0]}"]) from None
    except Exception as error:  # pyrage's errors all mean this
        hint = "is it the file, and is this its passphrase?"
        raise NexusError(f"{display_path(file)} cannot be opened", hint) from error
    if cluster != folder.name:
        raise Refused(f"{file} is of the cluster {cluster}, not of {folder.name}")
    here = folder / FILE
    other = here.is_file() and here.read_bytes() != secrets
    if other and not replace:
        hint = "if they are the outdated ones: --replace (a copy is kept)"
        raise Refused(f"{display_path(here)} has other secrets already", hint)
    State(folder).ensure()
    if other:
        write_atomically(here.with_suffix(".before-import.json"), here.read_bytes())
    for name, content in files.items():
        write_atomically(folder / name, content)
