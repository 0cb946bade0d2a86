#!/bin/sh
# On a host with ufw: the cluster's allowances as ufw rules, each with the comment `nexus`. Other rules are left alone.
#
# usage: firewall-ufw.sh FILE       FILE has the arguments of one `ufw allow` a line; blank lines and # are skipped
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

ours() { ufw status numbered | sed -n 's/^\[ *\([0-9]*\)\].*# nexus$/\1/p' | sort -rn; }

main() {
  for number in $(ours); do ufw --force delete "$number" >/dev/null; done
  while read -r line; do
    case "$line" in '' | '#'*) continue ;; esac
    # shellcheck disable=SC2086  # the words of a rule, written by our own template
    ufw allow $line comment nexus >/dev/null
  done <"$1"
}

main "$@"
