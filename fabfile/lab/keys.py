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


def known_hosts(host_keys: Mapping[str, str]) -> str:
    """known_hosts lines of the trusted nodes. `host_keys`: node name -> its public key line."""
    return "".join(
        f"{node.ssh} {' '.join(host_keys[node.name].split()[:2])}\n"
        for node in NODES
        if node.trusted and node.name in host_keys
    )


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
