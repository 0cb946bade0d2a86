# Family stop: units are stopped as systemctl stops them, and those that ran are started again.
# faults: stop-primary; stop-docker
families="$families stop"

stop_claims() {
  case "$fault" in
    stop-primary) unit=nexus-orchestrator.service units=$unit ;;
    stop-docker) unit=docker.service units='docker.socket docker.service' ;;
    *) return 1 ;;
  esac
}

stop_check() {
  ctl is-active --quiet "$unit" || refuse "$unit does not run here"
  for name in $units; do
    if ctl is-active --quiet "$name"; then printf '%s\n' "$name"; fi
  done >"$folder/stopped"
}

# shellcheck disable=SC2086  # unit names
stop_inject() { ctl stop $units 2>&1; }
stop_took() { :; }                           # a service that wants Docker may have started it again already

stop_seen() {
  same_boot || return 1
  if [ "$fault" = stop-docker ]; then engine version >/dev/null || return 0; else is_up "$unit" || return 0; fi
  return 1
}

stop_undo() {
  while read -r name; do ctl start "$name" || return 1; done <"$folder/stopped"
}
