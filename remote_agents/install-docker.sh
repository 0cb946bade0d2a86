#!/bin/sh
# Installs a container engine from the host's own package sources, where there is none. Docker's own way with a
# firewall is met by ours: what it publishes is open to the cluster only (templates/firewall/nexus.nft.j2).
#
# usage: install-docker.sh ROOT
set -eu
LC_ALL=C
export LC_ALL
export DEBIAN_FRONTEND=noninteractive

main() {
  if command -v dockerd >/dev/null 2>&1; then return 0; fi
  if ! command -v apt-get >/dev/null 2>&1; then
    printf 'this is no Debian or Ubuntu: install Docker here yourself, then deploy again\n' >&2
    exit 1
  fi
  apt-get update -qq
  # a unit that cannot start yet must not fail the installation: the first service starts it
  apt-get install -y -qq --no-install-recommends docker.io >/dev/null
  printf 'installed %s\n' "$(docker --version)"
}

main "$@"
