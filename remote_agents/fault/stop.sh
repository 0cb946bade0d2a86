# Family stop: units are stopped as systemctl stops them, and those that ran are started again.
# faults: stop-primary; stop-docker
# Containers that are not the cluster's end with Docker, too: the file `others` has them (`ID NAME`), and the undo starts
# them again, each one once. `started` has those that it was done for.
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
  if [ "$fault" = stop-docker ]; then others_check; fi
}

# Refuses where the undo could not bring another one's container back as it was.
others_check() {
  find_others || refuse "Docker does not say which containers run here"
  while read -r container name; do
    how=$(engine container inspect -f '{{.HostConfig.AutoRemove}} {{.State.Paused}}' "$container") || continue # just ended
    case $how in
      'true '*) refuse "the container $name is not the cluster's, and was started with --rm: nothing could bring it back" ;;
      *' true') refuse "the container $name is not the cluster's, and is paused: it would not be paused afterwards" ;;
    esac
  done <"$folder/others"
}

find_others() {
  found=$(timeout 20 docker ps --no-trunc --format '{{.ID}} {{.Names}}' </dev/null 2>/dev/null 9<&-) || return 1
  printf '%s\n' "$found" | sed -e '/^$/d' -e '/ nexus-svc-/d' >"$folder/others"
}

# Once more: another one may have been started since.
# shellcheck disable=SC2086  # unit names
stop_inject() {
  if [ "$fault" = stop-docker ]; then find_others || return 1; fi
  ctl stop $units 2>&1
}

stop_took() { :; }                           # a service that wants Docker may have started it again already

stop_seen() {
  same_boot || return 1
  if [ "$fault" != stop-docker ]; then
    if is_up "$unit"; then return 1; else return 0; fi
  fi
  engine version >/dev/null || return 0
  while read -r container _; do
    if is_due "$container"; then return 0; fi
  done <"$folder/others"
  return 1
}

# One that ends by itself once it was started again is its owner's affair, and so is one that was removed.
is_due() {
  ! grep -qsxF "$1" "$folder/started" && [ "$(engine container inspect -f '{{.State.Running}}' "$1")" = false ]
}

stop_undo() {
  while read -r name; do ctl start ${no_block:+"$no_block"} "$name" || return 1; done <"$folder/stopped"
  [ -e "$folder/others" ] && same_boot || return 0
  while read -r container name; do
    if ! is_due "$container"; then continue; fi
    if why_not=$(engine start "$container"); then
      printf '%s\n' "$container" >>"$folder/started"
    else
      say "the container $name, not the cluster's, does not start again: $why_not"
    fi
  done <"$folder/others"
}
