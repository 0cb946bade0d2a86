#!/bin/sh
# Loads the cluster's firewall rules, and records what is in force then: the probe compares it with what is in force later.
# Where ufw manages the firewall, they are ufw rules, each with the comment `nexus`. Other rules are left alone.
#
# usage: firewall.sh load [ROOT]     loads /etc/nexus/firewall.nft, or the allowances in /etc/nexus/firewall.ufw
#        firewall.sh again [ROOT]    the same, but only where they are loaded already: nftables.service has just flushed them
#        firewall.sh drop [ROOT]     takes our table away
# ROOT is "" on a real host. firewall.ufw has the arguments of one `ufw allow` a line; blank lines and # are skipped.
set -eu
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH

# What is in force. probe.sh prints the sum of the very same lines.
rules() {
  if [ -f "$allowances" ]; then
    ufw status | sed -n '/^Status: active$/p; s/ *# nexus$//p'
  else
    nft list table inet nexus
  fi
}

numbers_of_ours() { ufw status numbered | sed -n 's/^\[ *\([0-9]*\)\].*# nexus$/\1/p' | sort -rn; }

load_ufw() {
  # Whoever flushes all tables takes ufw's away, too. One that the operator has disabled stays so.
  if grep -q '^ENABLED=yes' "$root/etc/ufw/ufw.conf" && ! ufw status | grep -q '^Status: active$'; then
    ufw --force enable >/dev/null
  fi
  for number in $(numbers_of_ours); do ufw --force delete "$number" >/dev/null; done
  while read -r line; do
    case "$line" in '' | '#'*) continue ;; esac
    # shellcheck disable=SC2086  # the words of a rule, written by our own template
    ufw allow $line comment nexus >/dev/null
  done <"$allowances"
}

# The record is there before the rules are: a flush that comes between them and the record finds it, and loads them again.
load() {
  : >>"$record"
  if [ -f "$allowances" ]; then
    file=$allowances
    load_ufw
  else
    file=$root/etc/nexus/firewall.nft
    nft -f "$file"
  fi
  { sha256sum <"$file"; rules | sha256sum; } >"$record.$$"
  mv "$record.$$" "$record"
}

# While the machine goes down, the doors stay shut until the end.
drop() {
  if systemctl is-system-running 2>/dev/null | grep -q stopping; then return 0; fi
  rm -f "$record"
  if [ -f "$allowances" ]; then return 0; fi
  nft delete table inet nexus
}

main() {
  root=${2:-}
  allowances=$root/etc/nexus/firewall.ufw
  record=$root/run/nexus-firewall.loaded
  case "$1" in
    load) load ;;
    again) [ ! -e "$record" ] || load ;;
    drop) drop ;;
    *)
      echo "usage: firewall.sh load|again|drop [ROOT]" >&2
      exit 64
      ;;
  esac
}

main "$@"
