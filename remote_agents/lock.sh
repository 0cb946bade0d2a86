#!/bin/sh
# The cluster's lock, one file on each manager: one deploy or drill at a time.
#
# usage: lock.sh ROOT take ID SECONDS ORIGIN WHO WHAT
#        lock.sh ROOT release ID        (also removes a lock of somebody else, named by its ID)
# ORIGIN is machine:boot:pid of the holder: on that machine one can see that it died.
# Prints `taken ID`, `released ID`, or the lines of the lock that is held, each behind `held `.
# The lock expires: after SECONDS (by the host's own clock) anybody may take it.
set -eu
umask 077
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

standing() {
  [ -f "$lock" ] || return 1
  while read -r key value; do
    case "$key" in id) id=$value ;; expires) expires=$value ;; esac
  done <"$lock"
  [ "${expires:-0}" -gt "$(date +%s)" ]
}

take() {
  if standing && [ "$id" != "$1" ]; then
    sed 's/^/held /' "$lock"
    return
  fi
  now=$(date +%s)
  printf 'id %s\norigin %s\nwho %s\nwhat %s\nsince %s\nexpires %s\n' \
    "$1" "$3" "$4" "$5" "$now" $((now + $2)) >"$lock.new" 2>/dev/null || {
    rm -f "$lock.new"
    printf 'no room for the lock in %s; nothing was changed\n' "$state" >&2
    exit 1
  }
  mv "$lock.new" "$lock"
  printf 'taken %s\n' "$1"
}

release() {
  if standing && [ "$id" != "$1" ]; then
    sed 's/^/held /' "$lock"
    return
  fi
  rm -f "$lock"
  printf 'released %s\n' "$1"
}

main() {
  state=$1/var/lib/nexus
  lock=$state/lock
  verb=$2
  shift 2
  mkdir -p "$state"
  chmod 0700 "$state"
  exec 9>"$state/.lock.guard"
  flock 9
  case "$verb" in take) take "$@" ;; release) release "$@" ;; *) exit 64 ;; esac
}

main "$@"
