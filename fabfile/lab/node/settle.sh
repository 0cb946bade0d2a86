#!/bin/sh
# Runs inside a node (docker exec, as root): settle.sh KEY USERS
# Lets exactly the users of the comma-separated USERS log in with KEY, waits for the boot to end and for sshd.
# Prints two lines: systemd's verdict (running, degraded, …) and the public host key.
set -eu

authorize() {
  file=$(getent passwd "$1" | cut -d: -f6)/.ssh/authorized_keys
  case ",$3," in
    *,"$1",*)
      [ "$(cat "$file" 2>/dev/null)" != "$2" ] || return 0
      install -d -m 0700 -o "$1" -g "$1" "${file%/*}"
      printf '%s\n' "$2" >"$file.new"
      chown "$1:$1" "$file.new"
      chmod 0600 "$file.new"
      mv "$file.new" "$file"
      ;;
    *) rm -f "$file" ;;
  esac
}

booted() {
  # systemd answers only after its first moments; until then the call fails and says nothing
  for _ in $(seq 300); do
    state=$(systemctl is-system-running 2>/dev/null || true)
    case "$state" in
      running | degraded | maintenance) return 0 ;;
    esac
    sleep 0.1
  done
  printf 'systemd is still "%s" after 30 s\n' "$state" >&2
  return 1
}

main() {
  authorize root "$1" "$2"
  authorize ops "$1" "$2"
  booted
  systemctl is-active --quiet ssh.service || systemctl start ssh.service
  printf '%s\n' "$state"
  cat /etc/ssh/ssh_host_ed25519_key.pub
}

main "$@"
