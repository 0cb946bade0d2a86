# Family kill: the main process of a unit dies (SIGKILL; a container: docker kill). systemd should bring it back.
# faults: kill-service SERVICE; kill-agent AGENT; kill-balancer; kill-consul; kill-primary
families="$families kill"
agents=' nexus-worker nexus-orchestrator nexus-balancer '

kill_claims() {
  case "$fault" in
    kill-service) service_unit "${1:-}" ;;
    kill-agent)
      is_in "${1:-}" "$agents" || refuse "${1:-nothing} is none of$agents"
      unit=$1.service
      ;;
    kill-balancer) unit=caddy.service ;;
    kill-consul) unit=consul.service ;;
    kill-primary) unit=nexus-orchestrator.service ;;
    *) return 1 ;;
  esac
}

kill_check() { unit_check; }

kill_inject() {
  is_up "$unit" || return 1
  printf '%s %s\n' "$pid" "$birth" >"$folder/victims" || return 1
  if is_contained; then engine kill "${unit%.service}" >/dev/null; else kill -KILL "$pid"; fi
}

kill_took() {
  read -r victim victim_birth <"$folder/victims" && ! is_same "$victim" "$victim_birth"
}

# A unit that is gone from here was moved by the orchestrator: nothing is left to come back.
kill_seen() {
  same_boot && read -r victim victim_birth 2>/dev/null <"$folder/victims" &&
    [ "$(property "$unit" LoadState)" = loaded ] || return 1
  ! is_up "$unit" || [ "$pid $birth" = "$victim $victim_birth" ]
}

kill_undo() {
  is_gone_within 5 || ctl start --no-block "$unit"
}
