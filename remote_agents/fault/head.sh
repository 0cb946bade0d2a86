#!/bin/sh
# One fault on this host: arms its undo first, then injects it, observes it, and undoes it.
#
# usage: fault.sh ROOT arm ID FAULT SECONDS [WORD...]   `armed`; run it from a file: the host keeps a copy for the undo
#        fault.sh ROOT inject ID                        `injected [WHAT THEN HAPPENED]`
#        fault.sh ROOT observe ID                       `present` or `absent`, by other means than the injection
#        fault.sh ROOT revert ID                        `reverted`; safe to repeat
#        fault.sh ROOT revert ID --boot                 the same after a boot; else `armed`, and nothing is undone
#        fault.sh ROOT list                             `left ID FAULT STAGE SECONDS`, a line each
#        fault.sh ROOT run ID WORD...                   what a fault's own unit runs; not for operators
# STAGE: armed, injected, lost (nothing here will undo it), half (cut off while arming) or orphan (it has no folder).
# ROOT is "" on a real host. ID: 1 to 32 of a-z and 0-9. SECONDS: until the fault undoes itself (list: what remains of
# them). FAULT and its WORDs: see the line `faults:` at the top of each family. A PEER is an IPv4 address.
#
# On trouble it prints `refused WHY` (nothing was touched, nothing is left) or `failed WHY` (the folder holds what is
# left, for the next revert), and exits with 3.
# The folder ROOT/var/lib/nexus/faults/ID holds `what` (fault, words, times, boot), this script, and the state before.
# shellcheck disable=SC2329  # the functions of a family are called by a name that is put together
set -eu
umask 077
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH

# The families of faults, one file each. A family NAME adds its name here and has these functions:
#   NAME_claims WORD...   0: $fault is one of its faults, and `unit` is set where the fault hits a unit. 1: it is not
#   NAME_check WORD...    while arming: refuses wrong WORDs and what this host cannot do; may save state in $folder
#   NAME_inject WORD...   not 0: it failed; the first line of its output is the reason
#                         what the operator is to be told of its consequences goes into $folder/met, one line
#   NAME_took             the injection worked
#   NAME_seen             the fault is there, by other means than the injection
#   NAME_undo             undoes it; safe to repeat
# and only where it needs them:
#   NAME_run WORD...      what a unit of the fault's own runs: `fault.sh ROOT run ID WORD...`
#   NAME_stray            without a folder of $id: something of that fault is on this host
#   NAME_sweep            without a folder of $id: removes what bears that id
#   NAME_orphans          prints the ids of all its faults on this host, with a folder or without
families=

# A reader that is gone (EPIPE) must not stop an undo.
say() { printf '%s\n' "$*" 2>/dev/null || :; }

refuse() {
  say "refused $*"
  exit 3
}

fail() {
  say "failed $*"
  exit 3
}

# A program that hangs must neither stop the undo nor (9<&-) keep its lock.
ctl() { timeout 60 systemctl "$@" </dev/null 9<&-; }
engine() { timeout 20 docker "$@" </dev/null 2>&1 9<&-; }
launch() { timeout 30 systemd-run --quiet "$@" </dev/null 2>&1 9<&-; }

has() { command -v "$1" >/dev/null 2>&1; }

is_whole() { case "$1" in '' | *[!0-9]* | 0?* | ??????????*) return 1 ;; esac; }

# `within NAME VALUE LOW HIGH`
within() {
  if ! is_whole "$2" || [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then
    refuse "$1: ${2:-nothing} is not a whole number from $3 to $4"
  fi
}

is_in() { case "$2" in *" $1 "*) ;; *) return 1 ;; esac; }

# With the start of process 1: a container shares the kernel of its machine, whose boot id alone does not show that the
# container was started again.
this_boot() {
  read -r kernel </proc/sys/kernel/random/boot_id
  is_alive 1 || birth=-
  printf '%s:%s' "$kernel" "$birth"
}

same_boot() { [ "$boot" = "$(this_boot)" ]; }

is_container() {
  has systemd-detect-virt || refuse "systemd-detect-virt is not there to tell whether this host is a container"
  systemd-detect-virt --quiet --container
}

uptime_cs() {
  read -r up _ </proc/uptime
  printf '%s' "${up%.*}${up#*.}"
}
