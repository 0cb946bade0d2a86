"""The cluster's own certificates: whom they name, who signed them, how long they hold."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from functools import cache

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from fabfile.core.model.secrets import KeyPair, host_names
from fabfile.edge.disk import pki
from fabfile.edge.disk.pki import CA_DAYS, CERT_DAYS, days_left, issue, make_authority

NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)


@cache
def ca(cluster: str = "prod") -> KeyPair:
    return make_authority(cluster)


@cache
def host(name: str = "m1", server: bool = True) -> KeyPair:
    return issue(ca(), host_names(name, server, "dc1"))


def read(pair: KeyPair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.cert.encode())


def alternatives(pair: KeyPair) -> x509.SubjectAlternativeName:
    return read(pair).extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def verify(pair: KeyPair, authority: KeyPair, name: str, at: datetime.datetime = NOW) -> None:
    """As a TLS client does, with cryptography's own verifier."""
    policy = PolicyBuilder().store(Store([read(authority)])).time(at)
    policy.build_server_verifier(x509.DNSName(name)).verify(read(pair), [])
    policy.build_client_verifier().verify(read(pair), [])


@pytest.mark.parametrize("server", [True, False])
def test_the_ca_signs_for_every_name(server: bool) -> None:
    """A host's certificate is verified against its CA, as server for each of its names and as client."""
    for name in host_names("m1", server, "dc1"):
        verify(host(server=server), ca(), name)
    read(host(server=server)).verify_directly_issued_by(read(ca()))


def test_another_clusters_ca_did_not_sign() -> None:
    """Neither another cluster's CA nor another one of the same cluster counts."""
    for other in (make_authority("stage"), make_authority("prod")):
        with pytest.raises(VerificationError):
            verify(host(), other, "localhost")
        with pytest.raises((ValueError, InvalidSignature)):
            read(host()).verify_directly_issued_by(read(other))


@pytest.mark.parametrize("name", ["m2.node.dc1.consul", "server.dc2.consul", "consul", "example.org"])
def test_a_certificate_is_for_nobody_else(name: str) -> None:
    """A name that is not the host's own is not verified."""
    with pytest.raises(VerificationError):
        verify(host(), ca(), name)


def test_a_worker_cannot_pass_for_a_server() -> None:
    """`server.<datacenter>.consul`, which makes a server to its peers, is in servers' certificates only."""
    for name in ("server.dc1.consul", "w1.server.dc1.consul"):
        with pytest.raises(VerificationError):
            verify(host("w1", False), ca(), name)


@pytest.mark.parametrize(
    ("server", "names"),
    [(True, ["m1.server.dc1.consul", "server.dc1.consul", "m1.node.dc1.consul", "client.dc1.consul", "localhost"]),
     (False, ["m1.node.dc1.consul", "client.dc1.consul", "localhost"])],
)  # fmt: skip
def test_names_are_exactly_those_that_are_due(server: bool, names: list[str]) -> None:
    """A certificate has its host's names and 127.0.0.1, no more, and remembers them and who signed it."""
    pair = host(server=server)
    assert alternatives(pair).get_values_for_type(x509.DNSName) == names == list(pair.names)
    assert alternatives(pair).get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]
    assert pair.issuer == ca().sum != make_authority("prod").sum


def test_the_longest_host_name_has_a_certificate() -> None:
    """A subject is cut where X.509 ends it; the full name is among the others, and is verified."""
    names = host_names("a" * 63, True, "d" * 40)
    pair = issue(ca(), names)
    verify(pair, ca(), names[0])
    assert names[0][:64] in read(pair).subject.rfc4514_string()


def test_validity_is_as_long_as_it_says() -> None:
    """A certificate holds from a day ago, for clocks that are behind, to the day that was agreed on."""
    now = datetime.datetime.now(datetime.timezone.utc)
    authority = make_authority("prod")
    for pair, days in (authority, CA_DAYS), (issue(authority, host_names("m1", True, "dc1")), CERT_DAYS):
        found = read(pair)
        assert abs(found.not_valid_before_utc - (now - DAY)) < datetime.timedelta(minutes=5)
        assert abs(found.not_valid_after_utc - (now + days * DAY)) < datetime.timedelta(minutes=5)


def test_outside_its_time_a_certificate_is_void() -> None:
    """A certificate is verified on its first and its last day, and neither before nor after."""
    for days in (-0.9, CERT_DAYS - 1):
        verify(host(), ca(), "localhost", NOW + days * DAY)
    for days in (-2, CERT_DAYS + 1):
        with pytest.raises(VerificationError):
            verify(host(), ca(), "localhost", NOW + days * DAY)


@pytest.mark.parametrize("days", [-3, 0, 1, 59, 1825])
def test_days_left_are_whole_days(days: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Days left count what remains, rounded down; one that has ended has less than none."""
    monkeypatch.setattr(pki, "CERT_DAYS", days + 0.5)  # half a day more, so that a slow run changes nothing
    monkeypatch.setattr(pki, "_SKEW", 30 * DAY)
    assert days_left(issue(ca(), ("x",)).cert) == days


def test_days_left_of_new_ones() -> None:
    """A certificate just made has a day less than its term, since that day has begun."""
    assert (days_left(ca().cert), days_left(host().cert)) == (CA_DAYS - 1, CERT_DAYS - 1)


@pytest.mark.parametrize("pair", [ca, host])
def test_the_key_is_the_certificates_own(pair: object) -> None:
    """Each certificate's private key belongs to its public one, is EC P-256, and no two are alike."""
    made: KeyPair = pair()  # type: ignore[operator]
    key = serialization.load_pem_private_key(made.key.encode(), None)
    assert key.public_key() == read(made).public_key()
    assert key.curve.name == "secp256r1"  # type: ignore[union-attr]
    assert len({ca().key, host().key, host("w1", False).key}) == 3


def test_only_the_ca_may_sign() -> None:
    """The CA may sign hosts and no further CAs; a host may be both ends of TLS and may sign nothing."""
    basic, usage = x509.BasicConstraints, x509.KeyUsage
    of_ca, of_host = read(ca()).extensions, read(host()).extensions
    assert of_ca.get_extension_for_class(basic).value == basic(ca=True, path_length=0)
    assert of_host.get_extension_for_class(basic).value.ca is False
    signs = [e.get_extension_for_class(usage).value.key_cert_sign for e in (of_ca, of_host)]
    assert signs == [True, False]
    assert all(e.get_extension_for_class(kind).critical for e in (of_ca, of_host) for kind in (basic, usage))
    ends = of_host.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(ends) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


def test_what_a_host_signed_is_not_trusted() -> None:
    """A certificate that a host issues with its own key is refused by everybody who trusts the CA."""
    forged = issue(host(), ("server.dc1.consul",))
    policy = PolicyBuilder().store(Store([read(ca())])).time(NOW)
    with pytest.raises(VerificationError):
        policy.build_server_verifier(x509.DNSName("server.dc1.consul")).verify(read(forged), [read(host())])


def test_openssl_takes_them_too() -> None:
    """The PEM texts are what OpenSSL loads: a bundle of two CAs, and a chain that is served."""
    context = ssl.create_default_context(cadata=ca().cert + make_authority("prod").cert)
    assert context.cert_store_stats()["x509_ca"] == 2


def test_two_cas_of_one_cluster_can_be_told_apart() -> None:
    """In a rotation the old and the new CA have different subjects, sums and serial numbers."""
    one, two = ca(), make_authority("prod")
    assert read(one).subject != read(two).subject
    assert read(one).serial_number != read(two).serial_number
    assert one.sum != two.sum


def test_two_cas_of_a_cluster_with_a_long_name_can_be_told_apart() -> None:
    """That holds for the longest name that a cluster may have, too."""
    assert read(make_authority("p" * 63)).subject != read(make_authority("p" * 63)).subject
