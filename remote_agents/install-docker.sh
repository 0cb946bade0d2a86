#!/bin/sh
# Installs a container engine from the host's own package sources, where there is none, and the engine's client, where that
# is missing: the services' units call it. Docker publishes ports past other firewall rules; ours
# (templates/firewall/nexus.nft.j2) open them to the cluster only.
#
# usage: install-docker.sh ROOT       ROOT is "" on a real host
set -eu
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
export DEBIAN_FRONTEND=noninteractive

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

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

# A unit that cannot start yet must not fail the installation: `check_client` starts it, and says why it cannot.
install_packages() { apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "$@" >/dev/null; }

# From Debian 13 on, docker.io comes without its client, and only recommends it.
client_package() { ! apt-cache show docker-cli >/dev/null 2>&1 || printf docker-cli; }

# The client of an engine that is here. `--reinstall`: the package may be there, and only its file gone.
add_client() {
  owner=$(dpkg-query -S '*bin/dockerd' 2>/dev/null | sed 's/:.*//;q')
  case $owner in
    docker-ce) install_packages --reinstall docker-ce-cli ;;
    docker.io)
      package=$(client_package)
      if [ -n "$package" ]; then install_packages --reinstall "$package"; else unpack_client; fi
      ;;
    *) fail "the Docker here is of no package that we know, and its client is not at $client: put it there, or a link to it" ;;
  esac
}

# Installing docker.io again would restart the engine and end every container: only this one file is taken from it.
unpack_client() {
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  version=$(dpkg-query -W -f '${Version}' docker.io)
  # apt's warning that it downloads as root would hide a real failure
  (cd "$folder" && { apt-get download -qq "docker.io=$version" 2>/dev/null || apt-get download -qq docker.io; })
  dpkg-deb --fsys-tarfile "$folder"/docker.io_*.deb | tar -x -C "$folder" ./usr/bin/docker
  mv "$folder/usr/bin/docker" "$client"
}

# An engine that nobody can talk to runs no service, and nothing else would notice.
check_client() {
  [ -x "$client" ] || fail "the packages brought no client: $client is not there"
  if has systemctl; then systemctl start docker.service >/dev/null 2>&1 || :; fi
  tries=30
  until said=$("$client" version --format '{{.Server.Version}}' 2>&1); do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || fail "$client cannot talk to the engine (systemctl status docker): $said"
    sleep 1
  done
}

main() {
  client=$1/usr/bin/docker # the path that the units call
  if has dockerd && [ -x "$client" ]; then return 0; fi
  has apt-get || fail "this is no Debian or Ubuntu: install Docker with its client $client here yourself, then deploy again"
  update_lists
  # shellcheck disable=SC2046  # no word, or one
  if has dockerd; then add_client; else install_packages docker.io $(client_package); fi
  check_client
  printf 'installed %s\n' "$("$client" --version)"
}

main "$@"
