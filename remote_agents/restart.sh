#!/bin/sh
# Restarts one instance without losing a request: out of the balancer first, and back in whatever happens.
#
# usage: restart.sh ROOT SERVICE
set -eu
LC_ALL=C
export LC_ALL

main() {
  unit=nexus-svc-$2.service
  CONSUL_HTTP_TOKEN_FILE=$1/etc/nexus/secret-worker-token
  export CONSUL_HTTP_TOKEN_FILE
  systemctl is-active --quiet "$unit" || { printf 'absent\n'; exit 0; }
  trap 'consul maint -disable -service="nexus-svc-$service" >/dev/null' EXIT
  trap 'exit 129' HUP INT TERM PIPE
  service=$2
  consul maint -enable -service="nexus-svc-$service" -reason='it is being restarted by an operator' >/dev/null
  sleep 1.5                                  # the balancer's upstreams follow within one
  systemctl restart "$unit"
  printf 'restarted\n'
}

main "$@"
