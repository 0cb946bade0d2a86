# The verbs that act: arm, inject, revert, run. They know no fault, only the families' functions.

# Sets `family` and `unit`. Refuses a FAULT that no family claims, and a first WORD that its family does not know.
resolve() {
  unit=
  for family in $families; do
    if "${family}_claims" "$@"; then return; fi
  done
  refuse "there is no fault $fault"
}

# Reads `what`; 1 where the folder is not complete.
read_what() {
  fault='' words='' ttl=0 since=0 boot='' whole=''
  [ -f "$folder/what" ] || return 1
  while read -r key value; do
    case "$key" in
      fault) fault=$value ;;
      words) words=$value ;;
      ttl) ttl=$value ;;
      since) since=$value ;;
      boot) boot=$value ;;
      end) whole=yes ;;
    esac
  done <"$folder/what"
  [ -n "$whole" ] || return 1
  # shellcheck disable=SC2086  # no word has blanks, see check_words
  (resolve $words) >/dev/null && resolve $words
}

is_gone_within() {
  tries=$(($1 * 5))
  while "${family}_seen"; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || return 1
    sleep 0.2
  done
}

is_there_within() {
  tries=$(($1 * 5))
  until "${family}_took"; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || return 1
    sleep 0.2
  done
}

# `lock_folder SECONDS`: one verb at a time on a fault. 1: another one is still at work after SECONDS.
lock_folder() {
  command exec 9<"$folder" || return 1       # `command`: without it, a folder that has just gone would end the shell
  flock -w "$1" 9
}

cleanup() {
  code=$?
  trap - EXIT
  if [ -n "$fresh" ]; then
    trap '' HUP INT TERM PIPE
    ctl stop "nexus-fault-$id.timer" 2>/dev/null || :
    remove_folder
    case "$code" in 0 | 3) ;; *) say "refused a command failed with $code; nothing was touched" ;; esac
  fi
  exit "$code"
}

remove_folder() {
  rm -rf "$folder"
  rmdir "$home" 2>/dev/null || :
}

check_words() {
  for word in "$@"; do
    case "$word" in '' | *[!A-Za-z0-9._:/-]*) refuse "a word holds what is none of A-Z a-z 0-9 . _ : / -" ;; esac
  done
}

arm() {
  [ $# -ge 2 ] || refuse "arm wants ID FAULT SECONDS"
  check_words "$@"
  fault=$1
  ttl=$2
  shift 2
  within seconds "$ttl" 1 3600
  resolve "$@"
  for tool in flock systemd-run systemctl timeout; do has "$tool" || refuse "$tool is not installed"; done
  [ "$(tail -n 1 "$0" 2>/dev/null)" = 'main "$@"' ] || refuse "arm must be run from the whole script, as a file"
  mkdir -p "$home"
  chmod 0700 "$root/var/lib/nexus" "$home"
  mkdir "$folder" 2>/dev/null || refuse "a fault $id is on this host already; or there is no room in $home"
  fresh=yes
  trap cleanup EXIT
  trap 'exit 129' HUP INT TERM PIPE
  boot=$(this_boot)
  "${family}_check" "$@"
  cp "$0" "$folder/fault.sh"
  up=$(uptime_cs)
  printf 'fault %s\nwords %s\nttl %s\nsince %s\nboot %s\nend\n' "$fault" "$*" "$ttl" "$((up / 100))" "$boot" >"$folder/what"
  # after a power cut the disk may have the fault, so it must have the way back
  sync "$folder"/* "$folder" "$home" 2>/dev/null || sync
  arm_undo
  fresh=
  say armed
}

# An undo that fails is tried again every 5 s. 2 and 127 are the shell's own: its script is gone.
arm_undo() {
  why=$(launch --unit="nexus-fault-$id" --on-active="$ttl" --timer-property=AccuracySec=100ms \
    --property=Restart=on-failure --property=RestartSec=5 --property='RestartPreventExitStatus=2 127' \
    /bin/sh "$folder/fault.sh" "$root" revert "$id" --timer) ||
    refuse "the undo could not be armed: $(say "$why" | head -n 1)"
  ctl is-active --quiet "nexus-fault-$id.timer" || refuse "the undo is not armed: its timer does not run"
}

inject() {
  trap '' HUP INT TERM PIPE                  # from here on, it runs to its end without the operator
  [ -d "$folder" ] || refuse "the fault $id is not armed on this host"
  lock_folder 20 || refuse "another verb is at work on the fault $id"
  read_what || refuse "the fault $id is not armed on this host"
  [ ! -e "$folder/injected" ] || refuse "the fault $id has been injected already"
  ctl is-active --quiet "nexus-fault-$id.timer" || refuse "the undo of the fault $id is not armed"
  uptime_cs >"$folder/injected"
  why=
  # shellcheck disable=SC2086  # no word has blanks, see check_words
  if "${family}_inject" $words >"$folder/said" && is_there_within 5; then
    met=
    if [ -s "$folder/met" ]; then read -r met <"$folder/met" || :; fi
    say "injected${met:+ $met}"
    return
  fi
  why=$(head -n 1 "$folder/said")
  "${family}_undo" >/dev/null 2>&1 || :
  fail "$fault did not take; what there was of it is undone${why:+: $why}"
}

# Whether its own timer will not undo it any more: it went with the last boot, or should have run a minute ago.
is_overdue() { ! same_boot || [ $(($(uptime_cs) / 100 - since - ttl)) -gt 60 ]; }

revert() {
  trap '' HUP INT TERM PIPE
  if [ "${1:-}" = --boot ]; then
    # before the lock: whoever holds it may wait for a unit that waits for this
    if ! read_what || ! is_overdue; then
      say armed
      return
    fi
    no_block=--no-block                      # what is started here may wait for the unit that runs this
  fi
  alone=yes
  if [ -d "$folder" ]; then
    lock_folder 20 || [ ! -d "$folder" ] || alone=   # a verb that hangs must not keep the fault on the host
  fi
  if read_what; then
    why=$("${family}_undo" 2>&1) || :
    is_gone_within 5 || fail "$fault is still there: ${why:-all was done to undo it}"
  else
    sweep
  fi
  # its injection may still come: the timer's undo is tried again, and needs the folder
  [ -n "$alone" ] || fail "what there was of the fault $id is undone, but another verb is at work on it"
  ctl stop "nexus-fault-$id.timer" 2>/dev/null || :
  remove_folder
  exec 9<&-                                  # the timer's own run may wait for the lock: it finds nothing to do
  if [ "${1:-}" != --timer ]; then ctl stop "nexus-fault-$id.service" 2>/dev/null || :; fi
  ctl reset-failed "nexus-fault-$id.service" "nexus-fault-$id-load.service" 2>/dev/null || :
  say reverted
}

# Without a folder that names the fault: removes all that bears the id.
sweep() {
  for each in $families; do
    if has "${each}_sweep"; then "${each}_sweep"; fi
  done
}

# Does nothing for a fault that was undone meanwhile.
run() {
  ! read_what || "${family}_run" "$@"
}
