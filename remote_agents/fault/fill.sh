# Family fill: a file in the fault's folder takes the free space of the disk, but for LEAVE_MB.
# faults: fill-disk LEAVE_MB
families="$families fill"

fill_claims() { case "$fault" in fill-disk) ;; *) return 1 ;; esac; }

free_kb() {
  df -Pk "$folder" | { read -r _ && read -r _ _ _ room _ && printf '%s' "$room"; }
}

fill_check() {
  within leave "${1:-}" 1 1000000
  # a tmpfs has a size of its own
  if is_container && [ "$(stat -f -c %T "$folder")" != tmpfs ]; then
    refuse "this host is a container: its disk is the machine's, and all on it would be hit"
  fi
  fallocate -l 4096 "$folder/fill" 2>/dev/null || refuse "the file system of $home cannot set room aside (fallocate)"
  rm -f "$folder/fill"
  [ "$(free_kb)" -gt $(((${1} + 1) * 1024)) ] || refuse "only $(($(free_kb) / 1024)) MB are free in $home already"
}

fill_inject() { fallocate -l "$(($(free_kb) - $1 * 1024))K" "$folder/fill" 2>&1; }
fill_took() { fill_seen; }
fill_seen() { [ -e "$folder/fill" ] && [ "$(stat -c %b "$folder/fill")" -gt 0 ]; }
fill_undo() { rm -f "$folder/fill"; }
