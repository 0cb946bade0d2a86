"""Consul's settings by security level and version, and whom its secrets reach."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from fabfile.core.state.consul import LEVELS
from tests.support.samples import CLUSTER, CONTEXT, SECRETS, VERSIONS, wanted

each_host = pytest.mark.parametrize("name", [h.name for h in CLUSTER.hosts])


def consul(name: str, version: str = "1.22.7", level: int = 3) -> str:
    context = replace(CONTEXT, levels={h.name: level for h in CLUSTER.hosts})
    files = wanted(name, version, context=context).files
    (content,) = (f.content for f in files if f.path == "/etc/consul.d/consul.hcl")
    return (content or b"").decode()


def settings(config: str) -> Mapping[str, str]:
    """Key -> value; of a key that comes more than once, the last value."""
    return dict(re.findall(r"^\s*(\w+)\s*= (.+)$", config, re.MULTILINE))


@each_host
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("level", LEVELS)
def test_each_level_has_its_switches(name: str, version: str, level: int) -> None:
    """From level 2 on an agent encrypts what it sends, at level 3 it refuses anything else; in every version alike."""
    values = settings(consul(name, version, level))
    sends, refuses = ("true" if level >= 2 else "false"), ("true" if level >= 3 else "false")
    assert {k: values[k] for k in values if "verify" in k} == {
        "encrypt_verify_outgoing": sends, "verify_outgoing": sends, "verify_server_hostname": sends,
        "encrypt_verify_incoming": refuses, "verify_incoming": refuses,
    }  # fmt: skip
    assert values["default_policy"] == ('"deny"' if level >= 3 else '"allow"')
    assert values["enabled"] == "false"  # connect's, the last one
    assert "acl {\n  enabled        = true\n" in consul(name, version, level)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("level", LEVELS)
def test_every_level_has_its_certificates(version: str, level: int) -> None:
    """At every level an agent has CA, certificate and key, so that the next level can use them."""
    values = settings(consul("m1", version, level))
    assert [values[k] for k in ("ca_file", "cert_file", "key_file")] == [
        f'"/etc/consul.d/tls/{name}"' for name in ("ca.pem", "cert.pem", "secret-key.pem")]  # fmt: skip


@pytest.mark.parametrize(("version", "block"), [("1.8.7", False), ("1.17.0", True), ("1.22.7", True)])
def test_tls_is_written_as_the_version_wants_it(version: str, block: bool) -> None:
    """Consul 1.8.7, which does not know tls{}, gets the switches at the top level; later versions get only tls{}."""
    config = consul("m1", version)
    assert bool(re.search(r"^tls \{", config, re.MULTILINE)) == block
    assert bool(re.search(r"^(verify_|ca_file|cert_file|key_file)", config, re.MULTILINE)) != block
    assert ("grpc_tls" in config) == block


def test_levels_differ_in_their_switches_only() -> None:
    """Between two levels nothing changes but the switches of that level."""
    for before in LEVELS[:-1]:
        one, two = consul("m1", level=before).splitlines(), consul("m1", level=before + 1).splitlines()
        changed = {b.split("=")[0].strip() for a, b in zip(one, two, strict=True) if a != b}
        assert changed <= {"encrypt_verify_outgoing", "encrypt_verify_incoming", "verify_outgoing", "verify_incoming",
                           "verify_server_hostname", "default_policy"}  # fmt: skip
        assert changed


@each_host
def test_secrets_are_for_consuls_own_user(name: str) -> None:
    """Key, token and gossip key are in files named secret, 0640 root:consul, in a folder that others cannot enter."""
    manifest = wanted(name)
    mine = (SECRETS.gossip, SECRETS.certs[name].key, SECRETS.tokens[f"agent/{name}"].secret)
    holders = [f for f in manifest.files if any(s in (f.content or b"").decode() for s in mine)]
    assert len(holders) == 3
    assert all((f.secret, f.mode, f.owner, f.group) == (True, "0640", "root", "consul") for f in holders)
    assert {(d.mode, d.owner, d.group) for d in manifest.folders if d.path.startswith("/etc/consul.d")} == {
        ("0750", "root", "consul")}  # fmt: skip


@each_host
def test_a_host_has_no_secrets_of_other_hosts(name: str) -> None:
    """No file of a host holds the CA's key, the management token, or another host's key or token."""
    context = replace(CONTEXT, secrets=replace(SECRETS, management="management-token"))
    whole = b"".join(f.content or b"" for f in wanted(name, context=context).files).decode()
    others = [p.key for n, p in SECRETS.certs.items() if n != name]
    others += [t.secret for n, t in SECRETS.tokens.items() if not n.endswith(f"/{name}")]
    assert not [s for s in ("CA KEY", "management-token", *others) if re.search(re.escape(s) + r"(?![\w-])", whole)]


def restarts(**change: object) -> bool:
    """Whether Consul would be restarted for changed secrets."""
    after = wanted("m1", context=replace(CONTEXT, secrets=replace(SECRETS, **change)))  # type: ignore[arg-type]
    one, two = ({u.name: u.stamp for u in m.units}["consul.service"] for m in (wanted("m1"), after))
    return one != two


def test_a_new_gossip_key_restarts_nothing() -> None:
    """A changed gossip key alone restarts no agent; a changed certificate, trust or token does."""
    assert not restarts(gossip="b3RoZXI=")
    assert not restarts(gossip_next="b3RoZXI=", management="m", retired=("a",))
    assert restarts(trusted=("CA CERT\n", "CA 2\n"))
    assert restarts(certs={**SECRETS.certs, "m1": replace(SECRETS.certs["m1"], cert="NEW\n")})
    assert restarts(tokens={**SECRETS.tokens, "agent/m1": replace(SECRETS.tokens["agent/m1"], secret="new")})
    assert not restarts(tokens={**SECRETS.tokens, "agent/w1": replace(SECRETS.tokens["agent/w1"], secret="new")})
