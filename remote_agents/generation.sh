#!/bin/sh
# Which generation a host has, once no apply.sh is at work there: asked when the connection was lost in the midst of one.
#
# usage: generation.sh ROOT SECONDS
# Prints `current ID` (`-`: none yet), and `pending ID` for one that was not finished. When apply.sh still runs after
# SECONDS: `running yes`.
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

id_of() {
  link=$(readlink "$1" 2>/dev/null || echo -)
  printf '%s\n' "${link##*/}"
}

main() {
  state=$1/var/lib/nexus
  if [ -e "$state/.apply.lock" ] && ! flock -w "$2" "$state/.apply.lock" true; then
    echo "running yes"
    return
  fi
  printf 'current %s\n' "$(id_of "$state/current")"
  if [ -L "$state/pending" ]; then printf 'pending %s\n' "$(id_of "$state/pending")"; fi
}

main "$@"
