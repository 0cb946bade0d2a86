#!/bin/sh
# Where ufw is in charge: the cluster's allowances as ufw rules, each marked `nexus`. Others' rules are not touched.
#
# usage: firewall-ufw.sh FILE       FILE has one `ufw allow` argument list a line; blank lines and # are passed over
set -eu

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
