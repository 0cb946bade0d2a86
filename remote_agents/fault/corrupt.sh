# Family corrupt: a configuration file gets a line that no parser takes.
# faults: corrupt-config PATH
families="$families corrupt"
configs=' /etc/consul.d/consul.hcl /etc/nexus/worker.json /etc/nexus/orchestrator.json /etc/nexus/balancer.json '

corrupt_claims() { case "$fault" in corrupt-config) ;; *) return 1 ;; esac; }

corrupt_check() {
  is_in "${1:-}" "$configs" || refuse "${1:-nothing} is none of$configs"
  if [ ! -f "$root$1" ] || [ -L "$root$1" ]; then refuse "there is no file $1 here"; fi
  cp -a "$root$1" "$folder/kept"
}

# By rename, with mode and owner of the old one: a reader gets the old file or the new one, never a mixture.
corrupt_inject() {
  cp -a "$folder/kept" "$folder/broken" || return 1
  printf '\n}}{{ nexus fault %s: this is no configuration\n' "$id" >>"$folder/broken" || return 1
  corrupt_put "$folder/broken" "$root$1"
}

corrupt_put() {
  cp -a "$1" "$2.nexus-fault-$id" && mv -f "$2.nexus-fault-$id" "$2"
}

corrupt_took() { corrupt_seen; }

# A file that a deploy has put there since counts as mended: the undo leaves it alone.
# shellcheck disable=SC2086  # the path has no blanks
corrupt_seen() {
  set -- $words
  [ -f "$folder/broken" ] && [ "$(sha256sum 2>/dev/null <"$root$1")" = "$(sha256sum <"$folder/broken")" ]
}

# shellcheck disable=SC2086  # the path has no blanks
corrupt_undo() {
  set -- $words
  rm -f "$root$1.nexus-fault-$id"
  ! corrupt_seen || corrupt_put "$folder/kept" "$root$1"
}

corrupt_sweep() {
  for path in $configs; do rm -f "$root$path.nexus-fault-$id"; done
}
