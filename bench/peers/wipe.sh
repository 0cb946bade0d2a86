#!/bin/sh
# Restores a lab host to the state before its first deploy. Run as root; outside the measured time.
# Removes all that our own manifests name, and Consul and Caddy as any of the tools may have installed them.
set -eu

listed() { cat /var/lib/nexus/generations/*/manifest 2>/dev/null | sed -n "s/^$1	//p" | cut -f "$2" | sort -u; }

stop() {
  systemctl stop nexus-worker.service 'nexus-svc-*' 2>/dev/null || :
  for unit in consul.service caddy.service nexus-recover.service $(listed unit 1); do
    systemctl kill --signal=KILL "$unit" 2>/dev/null || :
    systemctl disable --now "$unit" 2>/dev/null || :
  done
}

remove() {
  listed file 1 | while read -r path; do rm -f -- "$path"; done
  users="consul caddy $(listed user 1)"
  rm -rf /etc/consul.d /etc/caddy /etc/nexus /var/lib/consul /var/lib/caddy /var/lib/nexus /var/lib/nexus-* \
    /run/nexus-* /run/systemd/system/nexus-svc-*
  rm -f /usr/local/bin/consul /usr/local/bin/caddy
  rm -f /etc/systemd/system/consul.service /etc/systemd/system/caddy.service /etc/systemd/system/nexus-*.service
  for user in $users; do
    if id -u "$user" >/dev/null 2>&1; then userdel "$user"; fi
  done
}

main() {
  stop
  remove
  systemctl daemon-reload
  systemctl reset-failed 2>/dev/null || :
  rm -rf /root/.ansible /home/*/.ansible
  sync -f /var/lib                            # the next run must not pay for bytes that an earlier one wrote
}

main "$@"
