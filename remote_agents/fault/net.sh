# Family net: packets from and to the PEERs are dropped, by an nftables table of the fault's own. SSH stays open.
# faults: partition both|in|out|udp PEER...; packet-loss PERCENT PEER...
families="$families net"

net_claims() { case "$fault" in partition | packet-loss) ;; *) return 1 ;; esac; }

# `net_rules DIRECTION|PERCENT PEER...`: the table, as nft reads it.
net_rules() {
  kind=$1
  shift
  ports=$(ssh_ports)
  from='ip saddr @peers' to='ip daddr @peers' verdict=drop
  case "$fault:$kind" in
    packet-loss:100) ;;
    packet-loss:*) verdict="numgen random mod 100 < $kind drop" ;;
    partition:in) to= ;;
    partition:out) from= ;;
    partition:udp) verdict='meta l4proto udp drop' ;;
  esac
  peers=$(printf '%s,' "$@")
  printf 'table inet %s {\nset peers { type ipv4_addr; elements = { %s }; }\n' "nexus_fault_$id" "${peers%,}"
  # forward: containers whose ports are published on this host
  for hook in input output forward; do
    printf 'chain %s {\ntype filter hook %s priority -200; policy accept;\n' "$hook" "$hook"
    printf 'tcp dport { %s } accept\ntcp sport { %s } accept\n' "$ports" "$ports"
    if [ "$hook" != output ] && [ -n "$from" ]; then printf '%s %s\n' "$from" "$verdict"; fi
    if [ "$hook" != input ] && [ -n "$to" ]; then printf '%s %s\n' "$to" "$verdict"; fi
    printf '}\n'
  done
  printf '}\n'
}

net_check() {
  case "$fault" in
    partition) is_in "${1:-}" ' both in out udp ' || refuse "${1:-nothing} is not a way (both, in, out, udp)" ;;
    *) within percent "${1:-}" 1 100 ;;
  esac
  has nft || refuse "nft is not installed (package nftables)"
  kind=$1
  shift
  peers_check "$@"
  net_rules "$kind" "$@" >"$folder/rules"
  why=$(nft -c -f "$folder/rules" 2>&1) || refuse "nft does not take the rules here: $(say "$why" | head -n 1)"
}

net_inject() { nft -f "$folder/rules" 2>&1; }
net_took() { net_seen; }
net_seen() { ! net_gone; }

# Where nft does not answer, the table counts as present: an undo must not succeed without knowing.
net_gone() {
  tables=$(nft list tables 2>/dev/null) || return 1
  case "
$tables
" in *"
table inet nexus_fault_$id
"*) return 1 ;; esac
}

net_undo() { nft delete table inet "nexus_fault_$id" 2>/dev/null || net_gone; }

# A host without nft never had a table.
net_stray() { has nft && net_seen; }
net_sweep() { ! has nft || net_undo || fail "the table nexus_fault_$id does not go away"; }
net_orphans() { nft list tables 2>/dev/null | sed -n 's/^table inet nexus_fault_\([a-z0-9]*\)$/\1/p'; }
