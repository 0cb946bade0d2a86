"""Secrets in motion: rotated on the running cluster, shared with a second operator, used through SSH."""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from pathlib import Path

import pytest

from .conftest import HOSTS, Lab, consul_pids

pytestmark = pytest.mark.lab


_SHOWN = """
import hashlib, socket, ssl
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
try:
    link = socket.create_connection(("198.18.7.11", 8300), 2)
    link.sendall(b"\\x03")  # Consul's own first byte of a call under TLS
    print(hashlib.sha256(context.wrap_socket(link).getpeercert(True)).hexdigest())
except OSError:
    pass
"""


def shown(lab: Lab) -> tuple[str, str]:
    """(main PID, sum of the certificate that the server on m1 shows to whoever calls; "" where it does not answer)."""
    pid = lab.run("m1", "systemctl show -p MainPID --value consul").strip()
    return pid, lab.run("m1", "python3 -", stdin=_SHOWN).strip()


def starts(lab: Lab) -> dict[str, int]:
    """Host -> how often systemd has started Consul there."""
    return {h: int(lab.run(h, "journalctl -u consul -o cat | grep -c '^Started consul.service'")) for h in HOSTS}


def test_a_gossip_rotation_restarts_nobody(restored_lab: Lab) -> None:
    """Afterwards every agent has the new key only, all six are alive, and no agent was restarted."""
    old, before = restored_lab.secrets()["gossip"], consul_pids(restored_lab)
    restored_lab.inv_ok("secrets.rotate", "gossip", "--yes")
    new = restored_lab.secrets()["gossip"]
    assert new != old
    assert consul_pids(restored_lab) == before
    ring = restored_lab.inv_ok("consul", "--", "keyring", "-list")
    assert str(new) in ring
    assert str(old) not in ring
    assert restored_lab.inv_ok("consul", "--", "members").count("alive") == 6
    restored_lab.run("w1", "systemctl restart consul")
    restored_lab.eventually("m1", "consul members | grep '^w1 .*alive'")


def test_a_certificate_rotation_ends_with_the_new_ca_alone(restored_lab: Lab) -> None:
    """Three passes and one restart later every host trusts and shows the new CA only, and the quorum was never lost."""
    before = restored_lab.run("w1", "cat /etc/consul.d/tls/ca.pem")
    started, first = starts(restored_lab), shown(restored_lab)
    assert first[1]
    seen = set()
    running = restored_lab.start_inv("secrets.rotate", "certs", "--yes")
    lost = 0
    while running.poll() is None:
        states = [restored_lab.run(m, "systemctl is-active consul", check=False).strip() for m in ("m1", "m2", "m3")]
        up = states.count("active")
        lost += up < 2
        seen.add(shown(restored_lab))
    assert running.returncode == 0
    assert lost == 0
    assert {sum_ for pid, sum_ in seen if pid == first[0]} - {first[1], ""}  # the new one, by a reload alone
    assert starts(restored_lab) == {host: times + 1 for host, times in started.items()}
    for host in HOSTS:
        now = restored_lab.run(host, "cat /etc/consul.d/tls/ca.pem")
        assert now.count("BEGIN CERTIFICATE") == 1
        assert now != before
        restored_lab.run(host, "openssl verify -CAfile /etc/consul.d/tls/ca.pem /etc/consul.d/tls/cert.pem")
    assert restored_lab.status()["healthy"]


def test_a_second_operator_takes_part(restored_lab: Lab, tmp_path: Path) -> None:
    """What export writes, import opens elsewhere with the passphrase only; there plan then finds nothing to do."""
    (tmp_path / "pass").write_text("correct horse battery\n")
    (tmp_path / "wrong").write_text("wrong horse battery\n")
    file = tmp_path / "lab.age"
    restored_lab.inv_ok("secrets.export", str(file), "--passphrase-file", str(tmp_path / "pass"))
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    other = {"NEXUS_STATE": str(tmp_path / "state")}
    assert restored_lab.inv("plan", env=other).returncode == 1
    wrong = restored_lab.inv("secrets.import", str(file), "--passphrase-file", str(tmp_path / "wrong"), env=other)
    assert wrong.returncode == 1
    assert "cannot be opened" in wrong.stderr
    restored_lab.inv_ok("secrets.import", str(file), "--passphrase-file", str(tmp_path / "pass"), env=other)
    assert restored_lab.inv("plan", env=other).returncode == 0


def test_ui_opens_the_api_on_a_local_port(restored_lab: Lab) -> None:
    """While `inv ui` runs, Consul answers on the named local port; afterwards nothing listens there."""
    running = restored_lab.start_inv("ui", "--port", "18500")
    try:
        until = time.monotonic() + 20
        answer = ""
        while time.monotonic() < until and not answer:
            try:
                with urllib.request.urlopen("http://127.0.0.1:18500/v1/status/leader", timeout=5) as reply:
                    answer = reply.read().decode()
            except OSError:
                time.sleep(0.3)
        assert ":8300" in answer
    finally:
        os.killpg(running.pid, signal.SIGINT)
        running.wait(timeout=20)
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen("http://127.0.0.1:18500/v1/status/leader", timeout=5)
