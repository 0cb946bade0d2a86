# Processes, and the systemd units and containers that they belong to: helpers of kill, hang and stop (and of this_boot).

# Sets `state` (R, S, T, ...) and `birth` (ticks since boot; a pid alone may belong to another process by now).
is_alive() {
  case "$1" in '' | 0 | *[!0-9]*) return 1 ;; esac
  stat=$(cat "/proc/$1/stat" 2>/dev/null) && [ -n "$stat" ] || return 1
  # shellcheck disable=SC2086  # fields; the name, which ends at the last ), may hold anything
  set -- ${stat##*) }
  state=$1
  shift 19
  birth=$1
  case "$state" in Z | X) return 1 ;; esac
}

is_same() { is_alive "$1" && [ "$birth" = "$2" ]; }

property() { ctl show --property="$2" --value "$1" 2>/dev/null || :; }

# Sets `pid` and `birth` of the unit's main process.
is_up() {
  [ "$(property "$1" ActiveState)" = active ] || return 1
  pid=$(property "$1" MainPID)
  is_alive "$pid"
}

# `pid birth` of every process of the unit. /proc shows them with both versions of cgroups.
members() {
  group=$(property "$1" ControlGroup)
  {
    printf '%s\n' "$pid"
    if [ -n "$group" ]; then grep -lsF ":$group" /proc/[0-9]*/cgroup | cut -d / -f 3; fi
  } | sort -u | while read -r member; do
    if is_alive "$member"; then printf '%s %s\n' "$member" "$birth"; fi
  done
}

# Sets `unit` to the one of a service.
service_unit() {
  case "$1" in '' | *[!a-z0-9_-]* | [!a-z0-9]*) refuse "${1:-nothing} is not the name of a service" ;; esac
  unit=nexus-svc-$1.service
}

# The arm-time check of a fault that hits the processes of `unit`.
unit_check() {
  is_up "$unit" || refuse "$unit does not run here"
  if grep -qs '^ExecStart=:"/usr/bin/docker"' "$root/run/systemd/system/$unit"; then
    [ "$(engine container inspect -f '{{.State.Running}}' "${unit%.service}")" = true ] ||
      refuse "the container ${unit%.service} does not run here"
    : >"$folder/contained"
  fi
}

is_contained() { [ -e "$folder/contained" ]; }
