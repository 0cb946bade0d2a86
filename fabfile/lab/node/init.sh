#!/bin/sh
# First process of a node: makes the container's own cgroup tree writable, then becomes systemd.
# Docker mounts it read-only. On cgroup v2 systemd does not even start like that; on v1 systemd starts, but Docker
# inside the node does not. In a private cgroup namespace this reaches nothing of the machine's own.
# The settings of the node's own network (/proc/sys/net) are its own as well; the rest of /proc/sys stays read-only.
set -eu

main() {
  while read -r _ target kind _; do
    case "$target:$kind" in
      /sys/fs/cgroup:* | /sys/fs/cgroup/*) mount -o remount,rw,bind "$target" ;;
    esac
  done </proc/self/mounts
  if mount --bind /proc/sys/net /proc/sys/net; then mount -o remount,rw,bind /proc/sys/net; fi
  exec /lib/systemd/systemd "$@"
}

main "$@"
