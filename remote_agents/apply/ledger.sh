# The records' part of commit: the ledger of placed files, and the removal of old generations and blobs.

# The ledger has inode, size, times and sum of each file that we placed: it spares the probe hashing 100 MB each time.
write_ledger() {
  if [ -n "$no_block" ]; then                # --finish: some files were swapped before this run, so it records none
    : >"$state/.sums"
  else
    set --
    while IFS=$tab read -r path _; do
      if [ -n "$path" ] && [ -f "$root$path" ]; then set -- "$@" "$root$path"; fi
    done <<EOF
$files
EOF
    { [ $# -eq 0 ] || stat -c '%n|%i|%s|%y|%z' -- "$@"; } | ledger_lines >"$state/.sums"
  fi
  mv "$state/.sums" "$state/sums"
}

# Reads `PATH|INODE|SIZE|MTIME|CTIME` of the files just placed, and adds the manifest's sum. The manifest's other files
# keep their line of the old ledger, if they have one.
ledger_lines() {
  touch "$state/sums"
  awk -v skip="${#root}" '
    part == "old" { path = $0; sub(/[|].*/, "", path); old[path] = $0; next }
    part == "new" { line = substr($0, skip + 1); path = line; sub(/[|].*/, "", path); new[path] = line; next }
    { split($0, f, "\t") }
    f[1] == "file" && (f[2] in new) { print new[f[2]] "|" f[6]; next }
    f[1] == "file" && (f[2] in old) { print old[f[2]] }
    ' part=old "$state/sums" part=new - part=wanted "$generation/manifest"
}

# Keeps the current and the previous generation, and every one with displaced files; and the blobs of the first two.
prune() {
  kept=" $(readlink "$state/current") $(readlink "$state/previous" 2>/dev/null || :) "
  needed=$(cat "$state/current/manifest" "$state/previous/manifest" 2>/dev/null || :)
  for old in "$state"/generations/*; do
    case "$kept" in *" generations/${old##*/} "*) ;; *)
      [ -d "$old/displaced" ] || rm -rf "$old" ;;
    esac
  done
  for blob in "$store"/*; do
    case "$needed" in *"${blob##*/}"*) ;; *) rm -f "$blob" ;; esac
  done
}
