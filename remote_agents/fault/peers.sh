# PEERs and the ports of SSH: helpers of the families net and netem, which hit this host's network.

is_address() {
  case "$1" in *[!0-9.]* | .* | *. | *..* | 0.* | 127.*) return 1 ;; esac
  oldifs=$IFS
  IFS=.
  # shellcheck disable=SC2086  # four numbers
  set -- $1
  IFS=$oldifs
  [ $# -eq 4 ] || return 1
  for octet in "$@"; do is_whole "$octet" && [ "$octet" -le 255 ] || return 1; done
}

peers_check() {
  [ $# -gt 0 ] || refuse "no PEER: whom is it to be cut off from?"
  for peer in "$@"; do is_address "$peer" || refuse "$peer is not an IPv4 address of another host"; done
}

# What stays open for the operator: 22, the port of this very connection, and all ports that sshd listens on.
ssh_ports() {
  listen_ports=$(sshd -T 2>/dev/null | sed -n 's/^port //p' || :)
  connection=${SSH_CONNECTION:-}
  for port in 22 ${connection##* } $listen_ports; do printf '%s\n' "$port"; done | sort -un | paste -sd , -
}
