# Family hang: all processes of a unit are stopped (SIGSTOP; a container: docker pause), and continue with the undo.
# faults: hang-service SERVICE; freeze-primary
families="$families hang"

hang_claims() {
  case "$fault" in
    hang-service) service_unit "${1:-}" ;;
    freeze-primary) unit=nexus-orchestrator.service ;;
    *) return 1 ;;
  esac
}

hang_check() { unit_check; }

hang_inject() {
  is_up "$unit" || return 1
  if is_contained; then
    engine pause "${unit%.service}" >/dev/null
    return
  fi
  members "$unit" >"$folder/victims" || return 1
  ctl kill --signal=STOP "$unit" || return 1
  members "$unit" >>"$folder/victims"        # and those that were forked meanwhile
}

hang_took() { hang_seen; }

hang_seen() {
  same_boot || return 1
  if is_contained; then
    [ "$(engine container inspect -f '{{.State.Paused}}' "${unit%.service}")" = true ]
    return
  fi
  [ -f "$folder/victims" ] || return 1
  while read -r victim victim_birth; do
    if is_same "$victim" "$victim_birth" && [ "$state" = T ]; then return 0; fi
  done <"$folder/victims"
  return 1
}

# By systemd and by the saved pids: either may miss a process.
hang_undo() {
  same_boot || return 0                      # nothing is stopped any more, and Docker may not run yet
  if is_contained; then
    engine unpause "${unit%.service}" >/dev/null
    return
  fi
  ctl kill --signal=CONT "$unit" 2>/dev/null || :
  [ -f "$folder/victims" ] || return 0
  while read -r victim victim_birth; do
    if is_same "$victim" "$victim_birth"; then kill -CONT "$victim" || :; fi
  done <"$folder/victims"
}
