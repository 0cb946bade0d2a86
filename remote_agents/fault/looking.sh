# The verbs that only look: observe and list.

is_stray() {
  for each in $families; do
    if has "${each}_stray" && "${each}_stray"; then return 0; fi
  done
  return 1
}

observe() {
  if ! read_what; then
    if is_stray; then say present; else say absent; fi
  elif [ ! -e "$folder/injected" ] || ! "${family}_seen"; then
    say absent
  else
    say present
  fi
}

# Whether the timer waits, or its undo is at work (or waits to be tried again).
is_armed() {
  same_boot || return 1
  ! ctl is-active --quiet "nexus-fault-$id.timer" || return 0
  case "$(property "nexus-fault-$id.service" ActiveState)" in '' | inactive | failed) return 1 ;; esac
}

list() {
  now=$(uptime_cs)
  listed=' '
  for folder in "$home"/*/; do
    folder=${folder%/}
    [ -d "$folder" ] || continue
    id=${folder##*/}
    listed="$listed$id "
    if ! read_what; then
      say "left $id - half 0"
      continue
    fi
    left=$((since + ttl - now / 100))
    same_boot || left=0
    stage=armed
    [ ! -e "$folder/injected" ] || stage=injected
    is_armed || stage=lost
    say "left $id $fault $stage $left"
  done
  for id in $(orphans); do
    if ! is_in "$id" "$listed"; then say "left $id - orphan 0"; fi
  done
}

# The ids of every unit of a fault, and of what the families find besides.
orphans() {
  {
    ctl list-units --all --plain --no-legend 'nexus-fault-*' 2>/dev/null | sed -n 's/^nexus-fault-\([a-z0-9]*\)[.-].*/\1/p'
    for each in $families; do
      if has "${each}_orphans"; then "${each}_orphans"; fi
    done
  } | sort -u
}
