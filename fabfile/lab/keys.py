"""The lab's SSH key and known_hosts, in its state folder: nothing touches the operator's ~/.ssh."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ..core.errors import NexusError
from .compose import NODES


def key_file(root: Path) -> Path:
    return root / "id_ed25519"


def known_hosts_file(root: Path) -> Path:
    return root / "known_hosts"


def known_hosts_now(root: Path) -> str:
    """The text of known_hosts; empty where there is none."""
    file = known_hosts_file(root)
    return file.read_text("utf-8", "replace") if file.is_file() else ""


def ensure_key(root: Path) -> str:
    """The public key, one line without a comment. The first call generates the pair."""
    private, public = key_file(root), key_file(root).with_suffix(".pub")
    if not private.is_file():
        new = private.with_suffix(".new")
        for leftover in (new, Path(f"{new}.pub")):
            leftover.unlink(missing_ok=True)  # of an interrupted run; ssh-keygen would ask before overwriting
        _keygen("-q", "-t", "ed25519", "-N", "", "-C", "nexus-lab", "-f", str(new))
        Path(f"{new}.pub").unlink()
        os.replace(new, private)  # ssh-keygen creates it with mode 0600
        public.unlink(missing_ok=True)
    if not public.is_file():  # derived from the private key, so that an interruption leaves no mismatched pair
        write(public, _keygen("-y", "-f", str(private)))
    return " ".join(public.read_text().split()[:2])


def known_hosts(host_keys: Mapping[str, str], before: str = "") -> str:
    """known_hosts: lines of the trusted nodes and of those that were pinned; the lines of other hosts stay as they were.

    host_keys: node name -> its public key line; before: the file's text until now
    """
    known = {node.name for node in NODES if node.trusted} | set(pinned(before))
    lines = [
        f"{node.ssh} {' '.join(host_keys[node.name].split()[:2])}"
        for node in NODES
        if node.name in known and node.name in host_keys
    ]
    nodes = {node.ssh for node in NODES if node.name in host_keys}
    others = [line for line in before.splitlines() if line.strip() and line.split()[0] not in nodes]
    return "".join(f"{line}\n" for line in [*lines, *others])


def pinned(known: str) -> tuple[str, ...]:
    """The nodes that this known_hosts names although lab.up trusts them to nobody: those that the cluster has grown by."""
    named = {line.split()[0] for line in known.splitlines() if line.strip()}
    return tuple(node.name for node in NODES if not node.trusted and node.ssh in named)


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """Writes `text` to `path` by rename. A file with the same text stays untouched."""
    if path.is_file() and path.read_text() == text:
        return
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.chmod(mode)
    os.replace(new, path)


def _keygen(*args: str) -> str:
    try:
        done = subprocess.run(["ssh-keygen", *args], capture_output=True, text=True, check=False)
    except FileNotFoundError as fault:
        raise NexusError("ssh-keygen was not found", "install OpenSSH (Debian: openssh-client)") from fault
    if done.returncode != 0:
        raise NexusError(f"ssh-keygen failed: {done.stderr.strip()}")
    return done.stdout
