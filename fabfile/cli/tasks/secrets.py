"""secrets.rotate, secrets.export, secrets.import: replace the cluster's secrets, share them with an operator."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from invoke.context import Context

from ...core.config.fault import shown
from ...core.errors import InputError, Refused
from ...edge.disk.paths import display_path, output_path, read_fault
from ..console.command import command
from ..console.inputs import load_inventory, load_with_services
from ..console.output import confirm, say

KINDS = ("gossip", "tokens", "certs")
_PASSPHRASE = "file with the passphrase in its first line (default: you are asked)"  # noqa: S105  help text


@command(positional=["kind"], help={"kind": "gossip, tokens or certs"})
def rotate(c: Context, kind: str, inventory_: str = "", yes: bool = False, debug: bool = False) -> None:
    """Replace the gossip key, the ACL tokens or the certificates of the running cluster. Cut off, run it again."""
    from ...edge.deploy import rotation
    from ...edge.disk.vault import Vault
    from ..flows.deploy import run_deploy

    if kind not in KINDS:
        from ...core.config.schema import nearest

        fault = f"KIND {shown(kind)}: is not one of {', '.join(KINDS)}"
        raise InputError(["; ".join(filter(None, (fault, nearest(kind, KINDS))))], "inv --help secrets.rotate")
    cluster, services = load_with_services(inventory_)
    confirm(f"Replace the {kind} of cluster {cluster.name} on all its hosts?", yes)

    def deploy() -> None:
        run_deploy(cluster, services, cluster.hosts, yes=True, what=f"secrets.rotate {kind}")

    getattr(rotation, kind)(cluster, Vault(cluster.state), deploy, say)
    say(f"{kind}: rotated")


@command(positional=["file"], help={"file": "where to write the encrypted copy", "passphrase_file": _PASSPHRASE})
def export(c: Context, file: str, inventory_: str = "", passphrase_file: str = "", debug: bool = False) -> None:
    """Write the cluster's secrets into one encrypted file (age), for a second operator or a backup."""
    from ...edge.disk.atomic import write_atomically
    from ...edge.disk.export import pack

    cluster = load_inventory(inventory_)
    path = output_path("FILE", file)
    if path.exists():
        raise Refused(f"{file} exists already", "name another file")
    passphrase = _passphrase(passphrase_file, twice=True)
    write_atomically(path, pack(cluster.state, passphrase))
    say(f"{file}: the secrets of {cluster.name}, encrypted. Send file and passphrase by different channels.")


@command(
    name="import", positional=["file"],
    help={"file": "what secrets.export wrote", "passphrase_file": _PASSPHRASE, "replace": "over other secrets, kept aside"},
)  # fmt: skip
def import_(
    c: Context, file: str, inventory_: str = "", passphrase_file: str = "", replace: bool = False, debug: bool = False
) -> None:
    """Import the secrets that another operator exported."""
    from ...edge.disk.export import unpack

    cluster = load_inventory(inventory_)
    aside = unpack(Path(file), cluster.state, _passphrase(passphrase_file), replace)
    if aside:
        say(f"what was there before is kept in {display_path(aside)}")
    say(f"the secrets of {cluster.name} are in {display_path(cluster.state)}; inv plan shows that nothing differs")


def _passphrase(file: str, twice: bool = False) -> str:
    if file:
        try:
            lines = Path(file).read_text(encoding="utf-8").splitlines()
        except UnicodeError:
            raise InputError([f"--passphrase-file {shown(file)}: is not UTF-8 text"], _PASSPHRASE) from None
        except OSError as error:
            why, remedy = read_fault(Path(file), error)
            raise InputError([f"--passphrase-file {shown(file)}: {why}"], remedy or _PASSPHRASE) from None
        passphrase = lines[0] if lines else ""
    elif sys.stdin.isatty():
        passphrase = getpass.getpass("Passphrase: ")
        if twice and passphrase != getpass.getpass("Once more: "):
            raise Refused("the two passphrases differ; nothing was written")
    else:
        raise Refused("nobody is there to ask for the passphrase", "--passphrase-file FILE")
    if len(passphrase) < 8:
        raise Refused("a passphrase has 8 characters or more")
    return passphrase


