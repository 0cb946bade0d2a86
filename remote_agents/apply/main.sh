# The command line: the order of the steps, the lock of the host, and the cleanup. Nothing runs before its last line.

# Runs at every exit, but not with --finish: there DIR is a generation that stays.
cleanup() {
  code=$?
  trap - EXIT
  trap '' HUP INT TERM PIPE                  # a reader that is gone must not end the cleanup half way
  case "$code" in 0 | 3) ;; *) say "failed stopped by a command that failed with $code; $outcome" ;; esac
  [ -z "$id" ] || remove_staged "$id" "$dir"
  rm -rf "$dir"
  exit "$code"
}

# One apply at a time on a host. `-w SECONDS`: waits for another one, which may have lost its operator. `-n`: does not wait.
take_lock() {
  exec 8>"$state/.apply.lock"
  flock "$@" 8
}

main() {
  root=$2
  state=$root/var/lib/nexus
  store=$state/store
  uid=$(id -u)
  tab=$(printf '\t')
  failed_units=
  no_block=
  id=
  outcome='nothing was changed'
  if [ "$1" = --finish ]; then
    undo_faults                              # first: one may have filled the disk
    finish
    return
  fi
  dir=$1
  trap cleanup EXIT
  trap 'exit 129' HUP INT TERM PIPE
  received_sums=
  take_lock -w 60 || fail "another change has been at work on this host for a minute; nothing was changed"
  preflight
  id=$(action_value id)
  files=$(files_to_put "$dir")
  receive
  recheck
  build_tree
  check
  accounts
  folders
  prepare
  commit
}

main "$@"
