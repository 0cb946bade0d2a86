# Step receive: is the payload whole and made for this host, and are all blobs what their names say?

# The payload is complete, and the host still has the generation that the plan was made against.
preflight() {
  grep -q '^end$' "$dir/actions" 2>/dev/null || fail "the payload arrived incomplete; nothing was changed"
  base=$(action_value base)
  actual=$(readlink "$state/current" 2>/dev/null || echo generations/-)
  [ "${actual##*/}" = "$base" ] ||
    fail "the host changed after the plan was made (it has ${actual##*/}, the plan knew $base); deploy again"
}

# Verifies every blob before it goes into the store under its sum.
receive() {
  mkdir -p "$store" "$state/generations" "$state/stamps"
  for blob in "$dir"/blobs/*.gz; do
    [ -f "$blob" ] || continue
    gzip -d "$blob" || fail "no room to unpack ${blob##*/}: $(df -h "$state" | tail -n 1)"
  done
  set -- "$dir"/blobs/*
  [ -f "$1" ] || return 0
  hash_files "$@" | while read -r actual blob; do
    [ "$actual" = "${blob##*/}" ] || fail "a file arrived damaged (${blob##*/}); nothing was changed"
  done
  for blob; do received_sums="$received_sums ${blob##*/}"; done
  if ! mv "$@" "$store/"; then               # no half blob may stay there
    for blob; do rm -f "$store/${blob##*/}"; done
    fail "no room for what arrived: $(df -h "$state" | tail -n 1)"
  fi
}

# Verifies the blobs that an earlier deploy stored. They can be damaged since then: by a power cut, or by an edit in place
# of a file that shares the inode. A damaged one is removed, so that the next deploy uploads it again.
recheck() {
  set --
  while IFS=$tab read -r path _ _ _ sum; do
    case "$path $received_sums " in " "* | *" $sum "*) continue ;; esac
    [ -f "$store/$sum" ] || fail "the payload lacks $path ($sum); deploy again"
    set -- "$@" "$store/$sum"
  done <<EOF
$files
EOF
  [ $# -gt 0 ] || return 0
  hash_files "$@" | while read -r actual blob; do
    if [ "$actual" = "${blob##*/}" ]; then continue; fi
    rm -f "$blob"
    path=$(printf '%s\n' "$files" | sed -n "s/$tab.*$tab${blob##*/}\$//p" | head -n 1)
    fail "the host's kept copy of $path was damaged and is thrown away; nothing was changed; deploy again"
  done
}
