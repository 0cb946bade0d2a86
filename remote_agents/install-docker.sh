#!/bin/sh
# Installs a container engine from the host's own package sources, where there is none. Docker publishes ports past other
# firewall rules; ours (templates/firewall/nexus.nft.j2) open them to the cluster only.
#
# usage: install-docker.sh ROOT
set -eu
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
export DEBIAN_FRONTEND=noninteractive

# Another apt may be at work: the host's own upgrades, or the one of a deploy that was killed. Waits for it, 5 minutes at
# most. apt itself waits for the lock of dpkg, but not for the one of the lists.
update_lists() {
  tries=60
  while ! said=$(apt-get update -qq 2>&1); do
    tries=$((tries - 1))
    case $tries:$said in
      0:*) break ;;
      *"ould not get lock"* | *"nable to lock"*) sleep 5 ;;
      *) break ;;
    esac
  done
  [ -z "$said" ] || printf '%s\n' "$said" >&2 # the source that does not answer may be another one than docker.io's
}

main() {
  if command -v dockerd >/dev/null 2>&1; then return 0; fi
  if ! command -v apt-get >/dev/null 2>&1; then
    printf 'this is no Debian or Ubuntu: install Docker here yourself, then deploy again\n' >&2
    exit 1
  fi
  update_lists
  # a unit that cannot start yet must not fail the installation: the first service starts it
  apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 docker.io >/dev/null
  printf 'installed %s\n' "$(docker --version)"
}

main "$@"
