# The units' part of commit: stop, enable, daemon-reload, then start, restart or reload; and the stamps.

# `unit_failed UNIT`: notes it, and prints what systemctl answered and the unit's log.
unit_failed() {
  failed_units="$failed_units $1"
  while read -r line; do say "log $line"; done <"$state/.err"
  ctl status --no-pager --lines 20 "$1" 2>&1 | while read -r line; do say "log $line"; done
}

# Stops the units that go while their files are still there: a unit's stop commands stand in its file.
stop_units() {
  rows unit "$generation/actions" | sed -n "s/${tab}stop\$//p" | while read -r unit; do
    if ctl disable --quiet --now "$unit" 2>/dev/null; then rm -f "$state/stamps/$unit"; fi
    say "step stop $unit"
  done
}

# All at once and without a reload: else systemd loads every unit of the host again after each.
enable_units() {
  ctl enable --quiet --no-reload "$@" 2>/dev/null || for unit; do
    ctl enable --quiet --no-reload "$unit" 2>"$state/.err" || unit_failed "$unit"
  done
}

# Only where systemd has another text of a unit than its file, or holds a unit of ours for broken or gone: then it would not
# even start it. Somebody had systemd read its files again while that one was away. A new unit is read when it starts.
reload_systemd() {
  placed=$(rows file "$generation/manifest" | sed -n "s|^/etc/systemd/system/\([^$tab]*\).*|\1|p" | tr '\n' ' ')
  # shellcheck disable=SC2046  # names of units; for a drop-in the name of its unit, which the host may lack
  if grep -q "^drop$tab/etc/systemd/" "$generation/actions" ||
    ctl show -p Id -p LoadState -p NeedDaemonReload -- $(printf '%s\n' "$placed" | sed 's|[.]d/[^ ]*||g') |
    awk -v placed="$placed" '
      BEGIN { split(placed, names, " "); for (n in names) units["Id=" names[n]] }
      /^Id=/ { ours = $0 in units }
      $0 == "NeedDaemonReload=yes" || ours && /^LoadState=(not-found|error|bad-setting)$/ { due = 1 }
      END { exit !due }'; then
    ctl daemon-reload
  fi
}

# `run_verb UNIT VERB`. It writes the stamp only after success, so that the next plan sees a failure again.
run_verb() {
  # shellcheck disable=SC2086  # empty or one option
  ctl $no_block "$2" "$1" </dev/null || return 1
  while IFS=$tab read -r name _ _ restart reload; do
    if [ "$name" = "$1" ]; then printf '%s %s\n' "$restart" "$reload" >"$state/stamps/.$1"; fi
  done <<EOF
$(rows unit "$generation/manifest")
EOF
  mv "$state/stamps/.$1" "$state/stamps/$1"
}

run_verbs() {
  verbs=$(rows unit "$generation/actions" | sed "/${tab}stop\$/d")
  # shellcheck disable=SC2046  # names of units, one a line
  [ -z "$verbs" ] || enable_units $(printf '%s\n' "$verbs" | cut -f 1)
  reload_systemd
  while IFS=$tab read -r unit verb; do
    case "$unit $failed_units " in " "* | *" $unit "*) continue ;; esac
    if run_verb "$unit" "$verb" 2>"$state/.err"; then say "step $verb $unit"; else unit_failed "$unit"; fi
  done <<EOF
$verbs
EOF
  rm -f "$state/.err"
}
