# Step commit: sets the journal, renames the staged files into place, runs the units' verbs; `finish` does it after a boot.

# Renames each file to put, removes each file to drop.
swap() {
  rows put "$generation/actions" | while read -r path; do
    staged=$root$path.nexus-new-$id
    # shellcheck disable=SC3013  # in POSIX since 2024, and in dash, bash and busybox long before
    if [ "$staged" -ef "$root$path" ]; then
      rm -f "$staged"                        # one inode: its mode is set already, and rename would do nothing
    elif [ -f "$staged" ]; then
      mv -f "$staged" "$root$path"
    fi
    say "step put $path"
  done
  rows drop "$generation/actions" | while read -r path; do
    rm -f "$root$path"
    if [ "$path" = /etc/nexus/firewall.nft ] && [ -z "$root" ]; then nft delete table inet nexus 2>/dev/null || :; fi
    say "step drop $path"
  done
}

# Moves the links `previous` and `current`.
mark_current() {
  before=$(readlink "$state/current" 2>/dev/null || :)
  if [ -n "$before" ] && [ "$before" != "generations/$id" ]; then replace_link "$before" "$state/previous"; fi
  replace_link "generations/$id" "$state/current"
}

# This commit replaces an interrupted one: removes the files that the other one staged.
drop_older_journal() {
  older=$(readlink "$state/pending" 2>/dev/null) || return 0
  [ "${older##*/}" = "$id" ] || remove_staged "${older##*/}" "$state/$older"
}

commit() {
  trap '' HUP INT TERM PIPE
  outcome='the change is half done: deploy again to finish it'
  generation=$state/generations/$id
  drop_older_journal
  replace_link "generations/$id" "$state/pending"
  stop_units
  swap
  mark_current
  run_verbs
  prune
  write_ledger
  rm -f "$state/pending"
  printf '%s %s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$id" "$(rows who "$generation/actions" | head -n 1)" \
    >>"$state/history"
  [ -z "$failed_units" ] || fail "not running after the change:$failed_units"
  say "done $id"
}

finish() {
  [ -L "$state/pending" ] || return 0
  take_lock -n || return 0                   # a deploy is running: one of its restarts has started us
  id=$(readlink "$state/pending")
  id=${id##*/}
  dir=$state/generations/$id
  files=$(files_to_put "$dir")
  stage_files                                # a later deploy may have removed them; the store still has the bytes
  no_block=--no-block                        # at boot these units wait for us: to wait for them would never end
  commit
}
