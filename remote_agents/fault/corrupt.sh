# Family corrupt: a configuration file gets a line that no parser takes, and its program is made to read it: Consul by a
# reload, as after a bad edit; an agent, which reads its file only when it starts, by a restart.
# faults: corrupt-config PATH
families="$families corrupt"
configs=' /etc/consul.d/consul.hcl /etc/nexus/worker.json /etc/nexus/orchestrator.json /etc/nexus/balancer.json '

corrupt_claims() {
  case "$fault" in corrupt-config) ;; *) return 1 ;; esac
  case "${1:-}" in
    /etc/nexus/*.json) unit=${1##*/} unit=nexus-${unit%.json}.service ;;
    *) unit=consul.service ;;
  esac
}

corrupt_check() {
  is_in "${1:-}" "$configs" || refuse "${1:-nothing} is none of$configs"
  if [ ! -f "$root$1" ] || [ -L "$root$1" ]; then refuse "there is no file $1 here"; fi
  is_up "$unit" || refuse "$unit does not run here: nobody would read the file"
  cp -a "$root$1" "$folder/kept"
}

# By rename, with mode and owner of the old one: a reader gets the old file or the new one, never a mixture.
corrupt_inject() {
  is_up "$unit" || return 1
  printf '%s %s\n' "$pid" "$birth" >"$folder/victims" || return 1
  cp -a "$folder/kept" "$folder/broken" || return 1
  printf '\n}}{{ nexus fault %s: this is no configuration\n' "$id" >>"$folder/broken" || return 1
  corrupt_put "$folder/broken" "$root$1" || return 1
  if [ "$unit" = consul.service ]; then corrupt_reload; else corrupt_restart; fi >"$folder/met"
}

corrupt_put() {
  cp -a "$1" "$2.nexus-fault-$id" && mv -f "$2.nexus-fault-$id" "$2"
}

# Prints what became of the program, for the drill's record.
corrupt_reload() {
  asked=$(date +%s)
  ctl reload "$unit" || return 1
  sleep 1                                    # it takes milliseconds
  if ! is_survivor; then
    say "$unit did not survive the reload"
    return
  fi
  words_of_it=
  if has journalctl; then
    words_of_it=$(timeout 10 journalctl --unit "$unit" --since "@$asked" --no-pager --quiet --output cat </dev/null \
      2>/dev/null 9<&- | grep -i 'reload' | tail -n 1 | cut -c 1-200) || :
  fi
  say "$unit was reloaded and goes on with what it had${words_of_it:+: $words_of_it}"
}

corrupt_restart() {
  ctl restart --no-block "$unit" || return 1
  tries=100
  until ! is_survivor && [ "$(property "$unit" Result)" != success ]; do
    tries=$((tries - 1))
    if [ "$tries" -eq 0 ]; then
      say "$unit was restarted; after 20 s it is $(property "$unit" ActiveState)"
      return
    fi
    sleep 0.2
  done
  say "$unit was restarted and cannot start with this file; systemd tries again and again"
}

is_survivor() { read -r victim victim_birth <"$folder/victims" && is_same "$victim" "$victim_birth"; }

corrupt_took() { corrupt_seen && [ -s "$folder/met" ]; }

# A file that a deploy has put there since counts as mended: the undo leaves it alone.
# shellcheck disable=SC2086  # the path has no blanks
corrupt_seen() {
  set -- $words
  [ -f "$folder/broken" ] && [ "$(sha256sum 2>/dev/null <"$root$1")" = "$(sha256sum <"$folder/broken")" ]
}

# The program does not wait for systemd's next try, and reads the whole file before anybody else makes it do so.
# shellcheck disable=SC2086  # the path has no blanks
corrupt_undo() {
  set -- $words
  rm -f "$root$1.nexus-fault-$id"
  if corrupt_seen; then corrupt_put "$folder/kept" "$root$1" || return 1; fi
  [ -e "$folder/victims" ] || return 0
  if ! is_up "$unit"; then
    ctl restart --no-block "$unit"
  elif [ "$unit" = consul.service ]; then
    ctl reload "$unit"
  fi
}

corrupt_sweep() {
  for path in $configs; do rm -f "$root$path.nexus-fault-$id"; done
}
