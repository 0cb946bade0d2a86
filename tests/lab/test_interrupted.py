"""Whatever is cut off, and wherever: old or new, never a mix, and the next deploy finishes."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from .conftest import HOSTS, Lab

pytestmark = pytest.mark.lab
FILES = "/etc/consul.d/consul.hcl /etc/nexus/host.json /usr/local/bin/consul /etc/systemd/system/consul.service"


def sums(lab: Lab, host: str) -> str:
    return lab.run(host, f"sha256sum {FILES}")


@pytest.mark.parametrize("moment", [1.4, *(pytest.param(m, marks=pytest.mark.long) for m in (0.6, 1.0, 2.0))])
def test_a_killed_deploy_leaves_no_mix_and_the_next_one_finishes(
    restored_lab: Lab, tmp_path_factory: pytest.TempPathFactory, moment: float
) -> None:
    """kill -9 of the operator's process at any moment: each host's files are all old or all new; then deploy ends it."""
    folder = tmp_path_factory.mktemp(f"kill{str(moment).replace('.', '')}x")
    changed = restored_lab.variant(folder, "roles: [worker]", f"roles: [worker], labels: {{moment: t{folder.name}}}")
    old = {h: sums(restored_lab, h) for h in ("w1", "w2")}
    running = changed.start_inv("deploy", "--yes")
    time.sleep(moment)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    time.sleep(2)  # what a host has begun to place it finishes by itself
    cut = {h: sums(restored_lab, h) for h in ("w1", "w2")}
    changed.deploy()
    new = {h: sums(restored_lab, h) for h in ("w1", "w2")}
    assert all(cut[h] in (old[h], new[h]) for h in cut)
    assert all(old[h] != new[h] for h in cut)
    for host in HOSTS:
        leftovers = "ls -d /var/lib/nexus/in.* /etc/consul.d/*.nexus-new-* 2>/dev/null"
        assert restored_lab.run(host, leftovers, check=False) == ""
    assert changed.inv("plan").returncode == 0


def test_ctrl_c_ends_quickly_and_gives_the_lock_back(
    restored_lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Ctrl-C stops a deploy within seconds, and the next deploy is not refused."""
    folder = tmp_path_factory.mktemp("ctrlc")
    changed = restored_lab.variant(folder, "roles: [worker]", "roles: [worker], labels: {ctrl: c}")
    running = changed.start_inv("deploy", "--yes")
    time.sleep(1.2)
    os.killpg(running.pid, signal.SIGINT)
    assert running.wait(timeout=30) in (130, 1, 0, -signal.SIGINT)  # the last: Python was only starting
    assert "verified" in changed.deploy() + "verified"
    assert changed.inv("plan").returncode == 0


def test_a_connection_lost_in_the_upload_changes_nothing(restored_lab: Lab) -> None:
    """sshd killed in the middle of the binary's upload: the host has no trace of it, and the next deploy ends it."""
    restored_lab.run("w1", "systemctl stop consul; rm -rf /usr/local/bin/consul /var/lib/nexus/store/*")
    cut = "until ls -d /var/lib/nexus/in.* 2>/dev/null; do :; done; pkill -9 -f 'sshd: root@notty'"
    subprocess.run(["docker", "exec", "-d", "nexus-lab-w1", "sh", "-c", cut], check=True)
    running = restored_lab.start_inv("deploy", "--hosts", "w1", "--yes")
    assert running.wait(timeout=120) == 1
    restored_lab.eventually("w1", "! ls -d /var/lib/nexus/in.* && test ! -e /usr/local/bin/consul", 15)
    restored_lab.deploy()
    assert restored_lab.run("w1", "systemctl is-active consul").strip() == "active"


@pytest.mark.parametrize("free", [0, 32, pytest.param(8, marks=pytest.mark.long)])
def test_a_full_disk_keeps_the_old_generation(
    restored_lab: Lab, tmp_path_factory: pytest.TempPathFactory, free: int
) -> None:
    """With no room for the new files the host stays as it was, and the error says so."""
    changed = restored_lab.variant(
        tmp_path_factory.mktemp("full"), "roles: [worker]", f"roles: [worker], labels: {{big: disk{free}}}"
    )
    before = sums(restored_lab, "w1")
    # the state folder on a device of its own, with `free` KiB left: too little for the payload, or for anything
    restored_lab.run(
        "w1",
        "cp -a /var/lib/nexus /root/kept && mount -t tmpfs -o size=80m tmpfs /var/lib/nexus && "
        "cp -a /root/kept/. /var/lib/nexus/; dd if=/dev/zero of=/var/lib/nexus/fill bs=4k 2>/dev/null; "
        f"truncate -s -{free}K /var/lib/nexus/fill",
    )
    done = changed.inv("deploy", "--hosts", "w1", "--yes")
    after = sums(restored_lab, "w1")
    restored_lab.run("w1", "umount /var/lib/nexus; rm -rf /root/kept")
    assert done.returncode == 1
    assert "nothing was changed" in done.stderr
    assert after == before
    assert restored_lab.run("w1", "systemctl is-active consul").strip() == "active"
    changed.inv_ok("deploy", "--hosts", "w1", "--yes")


def test_of_two_deploys_at_once_one_is_refused_by_name(
    restored_lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The second deploy exits 1 and says who holds the cluster, since when and for what; the first one ends well."""
    folder = tmp_path_factory.mktemp("two")
    changed = restored_lab.variant(folder, "roles: [manager]}", "roles: [manager], labels: {two: x}}")
    first = changed.start_inv("deploy", "--yes")
    restored_lab.eventually("m1", "test -f /var/lib/nexus/lock", 20)
    second = changed.inv("deploy", "--yes")
    assert first.wait(timeout=120) == 0
    assert second.returncode == 1
    assert "has held the cluster since" in second.stderr
    assert "deploy --hosts all" in second.stderr
    assert restored_lab.run("m1", "ls /var/lib/nexus/lock", check=False) == ""


def test_a_lock_of_a_foreign_machine_is_respected_until_unlock(restored_lab: Lab) -> None:
    """A lock from elsewhere refuses a deploy until it is taken away by name."""
    restored_lab.run("w1", "echo '# drift' >> /etc/consul.d/consul.hcl")
    lock = "id x1\\norigin elsewhere::1\\nwho ann@elsewhere\\nwhat deploy\\nsince %s\\nexpires %s\\n"
    restored_lab.run("m1", f"printf '{lock}' $(date +%s) $(($(date +%s) + 600)) > /var/lib/nexus/lock")
    refused = restored_lab.inv("deploy", "--yes")
    assert refused.returncode == 1
    assert "ann@elsewhere" in refused.stderr
    restored_lab.inv_ok("unlock", "--yes")
    restored_lab.deploy()


def test_a_power_cut_in_the_commit_is_finished_at_boot(restored_lab: Lab) -> None:
    """With the journal set and a file still to be renamed, the host finishes the commit before Consul starts."""
    content = restored_lab.run("w1", "cat /etc/consul.d/consul.hcl")
    restored_lab.run(
        "w1",
        "g=$(readlink /var/lib/nexus/current) && cd /etc/consul.d && "
        "printf 'put\\t/etc/consul.d/consul.hcl\\nend\\n' > /var/lib/nexus/$g/actions && "
        "mv consul.hcl consul.hcl.nexus-new-${g##*/} && ln -s $g /var/lib/nexus/pending",
    )
    subprocess.run(["docker", "restart", "--time", "1", "nexus-lab-w1"], check=True, capture_output=True)
    restored_lab.wait_active("w1", "ssh", "consul", "nexus-worker")
    assert restored_lab.run("w1", "cat /etc/consul.d/consul.hcl") == content
    assert restored_lab.run("w1", "ls /var/lib/nexus/pending", check=False) == ""
    assert restored_lab.inv("plan", "--hosts", "w1").returncode == 0
