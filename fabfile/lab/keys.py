"""The lab's SSH key and known_hosts, both in its state folder: nobody's own ~/.ssh is touched."""

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
    """The public key, one line without a comment; the pair is made on first use."""
    private, public = key_file(root), key_file(root).with_suffix(".pub")
    if not private.is_file():
        new = private.with_suffix(".new")
        for left in (new, Path(f"{new}.pub")):
            left.unlink(missing_ok=True)  # of a run that was cut off; ssh-keygen would ask
        _keygen("-q", "-t", "ed25519", "-N", "", "-C", "nexus-lab", "-f", str(new))
        Path(f"{new}.pub").unlink()
        os.replace(new, private)  # ssh-keygen has made it 0600
        public.unlink(missing_ok=True)
    if not public.is_file():  # derived, so a cut between the two files leaves no pair that does not match
        write(public, _keygen("-y", "-f", str(private)))
    return " ".join(public.read_text().split()[:2])


def known_hosts(host_keys: Mapping[str, str]) -> str:
    """known_hosts lines of the trusted nodes. `host_keys` maps a node's name to its public key line."""
    return "".join(
        f"{node.ssh} {' '.join(host_keys[node.name].split()[:2])}\n"
        for node in NODES
        if node.trusted and node.name in host_keys
    )


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """Put `text` at `path` by rename; a file that says so already is left alone."""
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
