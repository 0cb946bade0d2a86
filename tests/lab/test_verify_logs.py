"""verify and the units' logs on real hosts: journalctl's own lines, by unit."""

from __future__ import annotations

from tests.lab.conftest import Lab

# Writes a line into the log of a unit, as one of its processes.
WRITE = """
set -eu
group=$(systemctl show -p ControlGroup --value "$1")
for tree in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do  # of cgroup v2, of v1, of both together
  [ ! -e "$tree$group/cgroup.procs" ] || echo $$ >"$tree$group/cgroup.procs"
done
# journald looks up the unit of a line while its process lives
systemd-cat sh -c 'printf "%s\\n" "$1"; sleep 0.5' sh "$2"
"""
RELOADED = '{"level":"error","logger":"http","msg":"server shutdown","error":"context canceled"}'


def write(lab: Lab, host: str, unit: str, line: str) -> None:
    lab.run(host, f"sh -s -- {unit} '{line}'", stdin=WRITE)


def test_verify_knows_harmless_lines_and_counts_the_others(restored_lab: Lab) -> None:
    """A reload of Caddy is no fault; an error of Consul is one, with its host, unit and number."""
    restored_lab.inv_ok("deploy", "--hosts", "all", "--yes")
    write(restored_lab, "lb1", "caddy.service", RELOADED)
    said = restored_lab.inv_ok("verify")
    assert "none, besides harmless ones: " in said
    for _ in range(2):
        write(restored_lab, "w1", "consul.service", "[ERROR] agent: made up")
    done = restored_lab.inv("verify")
    assert done.returncode == 1
    assert "2 lines (w1 consul.service 2), the last: w1 consul.service: [ERROR] agent: made up" in done.stdout
