# Step at boot: undoes the drills' faults that were on this host when it went down. Their own timers are gone with it.

# Each fault's folder has the script that knows it. One that hangs must not keep the host from starting.
undo_faults() {
  for fault in "$state"/faults/*/fault.sh; do
    [ -f "$fault" ] || continue
    fault=${fault%/fault.sh}
    timeout 60 /bin/sh "$fault/fault.sh" "$root" revert "${fault##*/}" --boot || :
  done
}
