# Family netem: packets to the PEERs wait, in a queue of the fault's own on each device that leads to a PEER.
# faults: latency MS PEER...
families="$families netem"

netem_claims() { case "$fault" in latency) ;; *) return 1 ;; esac; }

netem_check() {
  within ms "${1:-}" 1 10000
  shift
  for tool in tc ip unshare; do has "$tool" || refuse "$tool is not installed (packages iproute2, util-linux)"; done
  # in a network namespace that ends with the command
  unshare -n tc qdisc add dev lo root netem delay 1ms >/dev/null 2>&1 ||
    refuse "the kernel has no netem (sch_netem); packet-loss works without"
  peers_check "$@"
  for peer in "$@"; do
    route=$(ip -4 -o route get "$peer" 2>/dev/null) || refuse "there is no route to $peer"
    device=${route##* dev }
    printf '%s %s\n' "${device%% *}" "$peer"
  done >"$folder/routes"
  for device in $(devices); do
    [ "$device" != lo ] || refuse "a PEER is this host itself"
    # the kernel's own queues (handle 0:) come back by themselves
    tc qdisc show dev "$device" | grep -q '^qdisc [a-z_]* 0: root' || refuse "$device has a queue of somebody else's (tc)"
  done
}

devices() { cut -d ' ' -f 1 "$folder/routes" 2>/dev/null | sort -u; }

# SSH stays in the fast bands: the kernel tries the filters in the order of their prio.
netem_inject() {
  for device in $(devices); do
    tc qdisc add dev "$device" root handle 1fa0: prio bands 4 priomap 1 2 2 2 1 2 0 0 1 1 1 1 1 1 1 1 || return 1
    tc qdisc add dev "$device" parent 1fa0:4 handle 1fa1: netem delay "$1ms" || return 1
    for port in $(ssh_ports | tr , ' '); do
      for end in dport sport; do
        tc filter add dev "$device" parent 1fa0: protocol ip prio 1 u32 \
          match ip protocol 6 0xff match ip "$end" "$port" 0xffff flowid 1fa0:1 || return 1
      done
    done
  done
  while read -r device peer; do
    tc filter add dev "$device" parent 1fa0: protocol ip prio 2 u32 match ip dst "$peer/32" flowid 1fa0:4 || return 1
  done <"$folder/routes"
}

netem_took() { netem_seen; }

netem_seen() {
  has tc || return 0                         # as with nft: without tc nobody knows that the queue is gone
  for device in $(devices); do
    if tc qdisc show dev "$device" 2>/dev/null | grep -q ' 1fa0: root'; then return 0; fi
  done
  return 1
}

netem_undo() {
  for device in $(devices); do
    if tc qdisc show dev "$device" | grep -q ' 1fa0: root'; then tc qdisc del dev "$device" root; fi
  done
}
