# Family host: the machine restarts at once, without a shutdown.
# faults: stop-host none|reboot
families="$families host"

host_claims() { case "$fault" in stop-host) ;; *) return 1 ;; esac; }

host_check() {
  [ "${1:-}" = reboot ] || refuse "no way back was named for this host; where it starts again by itself: way-back=reboot"
  ! is_container || refuse "this host is a container: what runs it must stop and start it"
  [ -w "$root/proc/sysrq-trigger" ] || refuse "the kernel takes no /proc/sysrq-trigger here"
  for name in ssh.service sshd.service ssh.socket sshd.socket; do
    if ctl is-enabled --quiet "$name" 2>/dev/null; then return 0; fi
  done
  refuse "sshd is not enabled: nobody could log in after the restart"
}

# In a second, so that the answer still gets through.
host_inject() {
  launch --unit="nexus-fault-$id-load" --on-active=1 --timer-property=AccuracySec=100ms \
    /bin/sh "$folder/fault.sh" "$root" run "$id"
}

host_took() { :; }
host_seen() { ctl is-active --quiet "nexus-fault-$id-load.timer"; }
host_undo() { ctl stop "nexus-fault-$id-load.timer" 2>/dev/null || ! host_seen; }

# The drill does not test the loss of unwritten data: it goes to the disk first.
host_run() {
  same_boot && [ -e "$folder/injected" ] || return 0
  sync
  printf 'b\n' >"$root/proc/sysrq-trigger"
}

host_sweep() { ctl stop "nexus-fault-$id-load.timer" 2>/dev/null || :; }
