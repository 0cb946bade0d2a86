#!/bin/sh
# Restarts one instance without losing a request: the balancer leaves it out first, and takes it back in any case.
#
# usage: restart.sh ROOT SERVICE
set -eu
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH

main() {
  unit=nexus-svc-$2.service
  CONSUL_HTTP_TOKEN_FILE=$1/etc/nexus/secret-worker-token
  export CONSUL_HTTP_TOKEN_FILE
  systemctl is-active --quiet "$unit" || { printf 'absent\n'; exit 0; }
  trap 'consul maint -disable -service="nexus-svc-$service" >/dev/null' EXIT
  trap 'exit 129' HUP INT TERM PIPE
  service=$2
  consul maint -enable -service="nexus-svc-$service" -reason='it is being restarted by an operator' >/dev/null
  sleep 1.5                                  # the balancer's upstreams follow within 1 s
  systemctl restart "$unit"
  printf 'restarted\n'
}

main "$@"
