"""A cluster's secrets on their way to a second operator. Files by age's own rules, since scrypt there takes seconds."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from stat import S_IMODE
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fabfile.core.config import secrets_text
from fabfile.core.errors import InputError, NexusError, Refused
from fabfile.core.model.secrets import Secrets
from fabfile.core.state.topology import Address
from fabfile.edge.disk.export import pack, unpack
from fabfile.edge.disk.state import State
from fabfile.edge.disk.vault import FILE, Vault
from tests.support.samples import SECRETS

PASSPHRASE = "correct horse battery staple"
OURS = replace(SECRETS, management="the-management-token", gossip_next="the-next-gossip-key")
THEIRS = replace(OURS, management="another-management-token")
ASIDE = f"before-import-1/{FILE}"


def filled(root: Path, secrets: Secrets = OURS, name: str = "prod") -> Path:
    """A state folder as a deploy leaves it."""
    state = State(root / name)
    state.make_cluster_id("0123456789abcdef")
    state.keep_versions({"consul": "1.22.7"})
    state.keep_addresses({"m1": Address("10.0.0.1", "10.0.0.1")})
    state.keep_acl("digest")
    state.keep_verified(1.0)
    Vault(root / name).save(secrets)
    return root / name


def files(folder: Path) -> dict[str, bytes]:
    """All files in the folder but its lock, by name."""
    found = [p for p in folder.iterdir() if p.is_file() and p.name != ".lock"] if folder.is_dir() else []
    return {p.name: p.read_bytes() for p in found}


def derived(key: bytes, info: bytes, salt: bytes = b"") -> bytes:
    return HKDF(SHA256(), 32, salt, info).derive(key)


def sealed(content: bytes, passphrase: str = PASSPHRASE) -> bytes:
    """An age file (age-encryption.org/v1) for a passphrase, with the cheapest scrypt."""
    key, salt, nonce = os.urandom(16), os.urandom(16), os.urandom(16)
    wrap = hashlib.scrypt(passphrase.encode(), salt=b"age-encryption.org/v1/scrypt" + salt, n=2, r=8, p=1, dklen=32)
    body = ChaCha20Poly1305(wrap).encrypt(bytes(12), key, None)

    def b64(data: bytes) -> bytes:
        return base64.b64encode(data).rstrip(b"=")

    header = b"age-encryption.org/v1\n-> scrypt " + b64(salt) + b" 1\n" + b64(body) + b"\n---"
    mac = hmac.new(derived(key, b"header"), header, hashlib.sha256).digest()
    cipher, chunks = ChaCha20Poly1305(derived(key, b"payload", nonce)), range(0, max(len(content), 1), 65536)
    payload = b"".join(
        cipher.encrypt(n.to_bytes(11, "big") + bytes([n == len(chunks) - 1]), content[at : at + 65536], None)
        for n, at in enumerate(chunks)
    )
    return header + b" " + b64(mac) + b"\n" + nonce + payload


def exported(at: Path, secrets: Secrets = OURS, name: str = "prod") -> Path:
    """What another operator sent: a file `shared.age` beside the folders."""
    theirs = filled(at / "theirs", secrets, name)
    known = {n: c.decode() for n, c in files(theirs).items() if n != "verified.json"}
    file = at / "shared.age"
    file.write_bytes(sealed(json.dumps({"cluster": name, "files": known}).encode()))
    return file


def test_what_was_packed_is_unpacked(tmp_path: Path) -> None:
    """The encrypted file begins as age's do, holds no secret to read, and gives a second operator the same state."""
    here, there = filled(tmp_path / "a"), tmp_path / "b" / "prod"
    packed = pack(here, PASSPHRASE)
    assert packed.startswith(b"age-encryption.org/v1\n-> scrypt ")
    hidden = [OURS.gossip, OURS.management, OURS.gossip_next, OURS.authority.key, PASSPHRASE, "0123456789abcdef", "gossip"]
    hidden += [t.secret for t in OURS.tokens.values()] + [p.key for p in OURS.certs.values()]
    assert not [s for s in hidden if (s or "").strip().encode() in packed]
    (tmp_path / "f").write_bytes(packed)
    unpack(tmp_path / "f", there, PASSPHRASE, replace=False)
    own = {n: c for n, c in files(here).items() if n != "verified.json"}  # what this operator has seen is nobody else's
    assert files(there) == own
    assert Vault(there).load() == OURS


def test_a_second_operators_state_is_closed_to_others(tmp_path: Path) -> None:
    """All that was taken over is 0600, in a folder that is 0700."""
    unpack(exported(tmp_path), tmp_path / "mine" / "prod", PASSPHRASE, replace=False)
    mine = tmp_path / "mine" / "prod"
    assert S_IMODE(mine.stat().st_mode) == 0o700
    assert {S_IMODE(p.stat().st_mode) for p in mine.iterdir()} == {0o600}
    assert Vault(mine).load() == OURS
    assert State(mine).cluster_id == "0123456789abcdef"
    assert State(mine).addresses() == {"m1": Address("10.0.0.1", "10.0.0.1")}


def test_there_must_be_something_to_share(tmp_path: Path) -> None:
    """A folder without secrets is refused with its name, before anything is encrypted."""
    with pytest.raises(Refused, match="no secrets to share"):
        pack(tmp_path / "none", PASSPHRASE)
    State(tmp_path / "prod").make_cluster_id()
    with pytest.raises(Refused, match="prod"):
        pack(tmp_path / "prod", PASSPHRASE)


@pytest.mark.parametrize("passphrase", ["", "wrong", PASSPHRASE + " ", PASSPHRASE.upper()])
def test_a_wrong_passphrase_opens_nothing(tmp_path: Path, passphrase: str) -> None:
    """Another passphrase is a NexusError that names the file, and nothing is written."""
    file, mine = exported(tmp_path), tmp_path / "mine" / "prod"
    with pytest.raises(NexusError, match="passphrase") as caught:
        unpack(file, mine, passphrase, replace=True)
    assert str(file) in caught.value.message
    assert files(mine) == {}


@pytest.mark.parametrize("harm", ["empty", "text", "cut", "flipped", "header", "tail"])
def test_a_damaged_file_opens_nothing(tmp_path: Path, harm: str) -> None:
    """A file that is cut off, altered anywhere, or something else is a NexusError that names it; nothing is written."""
    file, mine = exported(tmp_path), filled(tmp_path / "mine", THEIRS)
    whole, before = file.read_bytes(), files(mine)
    middle = len(whole) // 2
    file.write_bytes({
        "empty": b"", "text": b"hello\n", "cut": whole[:-20], "tail": whole + b"x",
        "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        "header": whole.replace(b"v1", b"v9", 1),
    }[harm])  # fmt: skip
    with pytest.raises(NexusError) as caught:
        unpack(file, mine, PASSPHRASE, replace=True)
    assert str(file) in caught.value.message
    assert files(mine) == before


def test_an_absent_file_is_bad_input(tmp_path: Path) -> None:
    """A file that is not there, or is a folder, is reported as such, not as a wrong passphrase."""
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match=r"is not there|is a folder"):
            unpack(path, tmp_path / "prod", PASSPHRASE, replace=False)


def test_paths_are_told_as_they_would_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies below the working directory is named from there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prod").mkdir()
    (tmp_path / "prod" / FILE).write_text("{")
    with pytest.raises(NexusError, match=rf"^prod/{FILE} cannot be read"):
        Vault(tmp_path / "prod").load()
    with pytest.raises(InputError, match=r"^copy\.age: is not there$"):
        unpack(tmp_path / "copy.age", tmp_path / "prod", PASSPHRASE, replace=False)


def test_another_clusters_secrets_are_refused(tmp_path: Path) -> None:
    """A file of another cluster is refused with both names, even when asked to replace; nothing is written."""
    file, mine = exported(tmp_path, name="stage"), filled(tmp_path / "mine", THEIRS)
    before = files(mine)
    for again in (False, True):
        with pytest.raises(Refused, match="of the cluster stage, not of prod"):
            unpack(file, mine, PASSPHRASE, replace=again)
    assert files(mine) == before


def test_other_secrets_are_not_written_over(tmp_path: Path) -> None:
    """Secrets that differ from the file's stay, unless `--replace`, and the refusal says how; nothing is written."""
    file, mine = exported(tmp_path), filled(tmp_path / "mine", THEIRS)
    before = files(mine)
    with pytest.raises(Refused, match="other secrets already") as caught:
        unpack(file, mine, PASSPHRASE, replace=False)
    assert "--replace" in caught.value.hint
    assert files(mine) == before


def test_replaced_secrets_are_kept_aside(tmp_path: Path) -> None:
    """When asked to replace, the old secrets lie beside the new ones, 0600, byte for byte."""
    file, mine = exported(tmp_path), filled(tmp_path / "mine", THEIRS)
    before = files(mine)[FILE]
    unpack(file, mine, PASSPHRASE, replace=True)
    assert Vault(mine).load() == OURS
    assert (mine / ASIDE).read_bytes() == before
    assert S_IMODE((mine / ASIDE).stat().st_mode) == 0o600


def test_the_same_secrets_are_welcome(tmp_path: Path) -> None:
    """A file that brings what is there already is taken without being asked to replace."""
    file, mine = exported(tmp_path), filled(tmp_path / "mine")
    unpack(file, mine, PASSPHRASE, replace=False)
    assert Vault(mine).load() == OURS


def test_each_import_keeps_what_it_replaces(tmp_path: Path) -> None:
    """Replacing again and again loses no set of secrets: each lies in a folder of its own."""
    mine, all_ = filled(tmp_path / "mine", THEIRS), [replace(OURS, management=f"m{n}") for n in range(3)]
    kept = [unpack(exported(tmp_path, secrets), mine, PASSPHRASE, replace=True) for secrets in all_]
    assert kept == [mine / f"before-import-{n}" for n in (1, 2, 3)]
    assert [Vault(folder).load() for folder in kept if folder] == [THEIRS, *all_[:2]]
    assert Vault(mine).load() == all_[2]


def test_another_cluster_id_is_not_written_over(tmp_path: Path) -> None:
    """The id of a running cluster is as dear as its secrets: refused, and with `--replace` kept aside."""
    file, mine = exported(tmp_path), filled(tmp_path / "mine")
    State(mine).make_cluster_id("fedcba9876543210")
    with pytest.raises(Refused, match="another cluster id"):
        unpack(file, mine, PASSPHRASE, replace=False)
    aside = unpack(file, mine, PASSPHRASE, replace=True)
    assert State(mine).cluster_id == "0123456789abcdef"
    assert aside is not None
    assert State(aside).cluster_id == "fedcba9876543210"


WHOLE = secrets_text.render(OURS)
HARMED = {
    FILE: [b"", b"{}", b"[]", WHOLE[: len(WHOLE) // 2], b"[" * 100_000, WHOLE.replace(b'"serial"', b'"from_tomorrow"')],
    "cluster.json": [b"", b"[]", b"null", b"{}", b'{"id": 1}'], "versions.json": [b"[]", b"null", b'{"consul": null}'],
    "addresses.json": [b"[]", b'{"m1": "10.0.0.1"}'], "acl.json": [b"null"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "content"), [(name, content) for name, all_ in HARMED.items() for content in all_])
def test_nothing_damaged_is_exported_or_imported(tmp_path: Path, name: str, content: bytes) -> None:
    """An empty, cut or foreign file in the state folder stops the export; one in an export stops the import."""
    here, mine = filled(tmp_path / "here"), filled(tmp_path / "mine", THEIRS)
    (here / name).write_bytes(content)
    with pytest.raises(NexusError, match=name):
        pack(here, PASSPHRASE)
    before, known = files(mine), {n: c.decode() for n, c in files(here).items() if n != "verified.json"}
    (tmp_path / "shared.age").write_bytes(sealed(json.dumps({"cluster": "prod", "files": known}).encode()))
    with pytest.raises(NexusError, match=r"shared\.age: what is in it is damaged: ") as caught:
        unpack(tmp_path / "shared.age", mine, PASSPHRASE, replace=True)
    assert "nothing was written" in caught.value.hint
    assert files(mine) == before
    assert not list(mine.glob("before-import*"))


@pytest.mark.parametrize("again", [True, False])
def test_importing_twice_keeps_the_old_secrets(tmp_path: Path, again: bool) -> None:
    """The same import run again, as after a cut-off, does not put the new secrets in place of the kept old ones."""
    file, mine = exported(tmp_path), filled(tmp_path / "mine", THEIRS)
    before = files(mine)[FILE]
    unpack(file, mine, PASSPHRASE, replace=True)
    unpack(file, mine, PASSPHRASE, replace=again)
    assert (mine / ASIDE).read_bytes() == before


def test_only_our_own_files_are_written(tmp_path: Path) -> None:
    """A file that was made to write elsewhere writes the state's own files and nothing else."""
    file, mine = exported(tmp_path), tmp_path / "mine" / "prod"
    secrets = secrets_text.render(OURS).decode()
    names = {"../evil": "x", "/tmp/evil-nexus": "x", "evil.json": "x", FILE: secrets}
    file.write_bytes(sealed(json.dumps({"cluster": "prod", "files": names}).encode()))
    unpack(file, mine, PASSPHRASE, replace=False)
    assert files(mine) == {FILE: secrets.encode()}
    assert {p.name for p in (tmp_path / "mine").iterdir()} == {"prod", ".gitignore"}
    assert not Path("/tmp/evil-nexus").exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"[]", b"null", b"{}", b'{"cluster": "prod"}', b"\xff"])
def test_an_age_file_of_something_else_is_named(tmp_path: Path, content: bytes) -> None:
    """A file that opens and holds something else is a NexusError that names it."""
    (tmp_path / "f").write_bytes(sealed(content))
    with pytest.raises(NexusError, match="cannot be opened") as caught:
        unpack(tmp_path / "f", tmp_path / "prod", PASSPHRASE, replace=False)
    assert str(tmp_path / "f") in caught.value.message


@pytest.mark.parametrize(
    "content", [{"files": {FILE: "{}"}}, {"cluster": "prod", "files": {}}, {"cluster": "prod", "files": {FILE: 1}}]
)
def test_an_age_file_that_lacks_something_is_named(tmp_path: Path, content: Mapping[str, Any]) -> None:
    """That holds for one without the cluster's name, without secrets, or with secrets that are no text."""
    mine = filled(tmp_path / "mine", THEIRS)
    (tmp_path / "f").write_bytes(sealed(json.dumps(content).encode()))
    with pytest.raises(NexusError):
        unpack(tmp_path / "f", mine, PASSPHRASE, replace=True)
    assert Vault(mine).load() == THEIRS
