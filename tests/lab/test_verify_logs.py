"""verify and the units' logs on real hosts: journalctl's own lines, by unit."""

from __future__ import annotations

import re

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
    """A reload of Caddy is no fault; an error of Consul is one, with host, unit and number. Others may have left some."""
    write(restored_lab, "lb1", "caddy.service", RELOADED)
    assert "caddy.service" not in logs_line(restored_lab)
    before = counted(logs_line(restored_lab))
    for _ in range(2):
        write(restored_lab, "w1", "consul.service", "[ERROR] agent: made up")
    after = logs_line(restored_lab)
    assert after.startswith("FAIL")
    assert counted(after) == before + 2


def logs_line(lab: Lab) -> str:
    """What verify says of the logs."""
    (line,) = (text for text in lab.inv("verify").stdout.splitlines() if "errors in the units' logs" in text)
    return line


def counted(line: str) -> int:
    """Of Consul's lines on w1."""
    found = re.search(r"w1 consul\.service (\d+)", line)
    return int(found[1]) if found else 0
