# Step check: each program checks its own new configuration, in a copy of the new generation, before a file changes.

# Builds the copy under DIR/tree: the programs, and the files that are checked.
build_tree() {
  tree=$dir/tree
  checks="$(rows check "$dir/actions")
"
  rows file "$dir/manifest" | while IFS=$tab read -r path mode _ _ sum; do
    [ -f "$store/$sum" ] || fail "the payload lacks $path ($sum)"
    copy='cp'
    case "$path" in
      # A program is only linked. Its inode may be the live one and stays untouched: the ledger records its ctime.
      /usr/local/bin/*)
        [ -x "$store/$sum" ] || chmod "$mode" "$store/$sum"
        copy='ln -s'
        ;;
      *) case "$checks" in *"$tab$path
"* | *"$tab${path%/*}
"*) ;; *) continue ;; esac ;;
    esac
    [ -d "$tree${path%/*}" ] || mkdir -p "$tree${path%/*}"
    $copy "$store/$sum" "$tree$path"
  done
}

# `check_one KIND PATH`: PATH is a file or a folder.
check_one() {
  case "$1" in
    consul) "$tree/usr/local/bin/consul" validate "$tree$2" ;;
    nft) nft -c -f "$tree$2" ;;
    caddy) HOME=$dir "$tree/usr/local/bin/caddy" validate --adapter caddyfile --config "$tree$2" ;;
    *) printf 'unknown check %s\n' "$1"; return 1 ;;
  esac
}

# Checks all units in one call: systemd loads every unit of the host for each call. A program of this payload is not in
# its place yet, so the complaint about that is expected.
check_units() {
  set --
  while read -r path; do
    if [ -n "$path" ]; then set -- "$@" "$tree$path"; fi
  done <<EOF
$(rows check "$dir/actions" | sed -n "s/^unit$tab//p")
EOF
  if [ $# -eq 0 ] || [ -n "$root" ]; then return 0; fi
  systemd-analyze verify "$@" 2>&1 | grep -v 'is not executable: No such file' >"$dir/check" || :
  for path in "$@"; do
    if ! grep -F "${path##*/}" "$dir/check" >"$dir/complaints"; then continue; fi
    while read -r line; do say "log $line"; done <"$dir/complaints"
    fail "${path#"$tree"} did not pass systemd's own check; nothing was changed"
  done
  say "step check units"
}

check() {
  check_units
  rows check "$dir/actions" | while IFS=$tab read -r kind path; do
    if [ "$kind" = unit ]; then continue; fi
    if [ -n "$root" ] && [ "$kind" = nft ]; then continue; fi
    if ! check_one "$kind" "$path" >"$dir/check" 2>&1 </dev/null; then
      sed 's/^/log /' "$dir/check" | tail -n 20
      fail "$path did not pass ${kind}'s own check; nothing was changed"
    fi
    say "step check $path"
  done
  rm -rf "$tree"
}
