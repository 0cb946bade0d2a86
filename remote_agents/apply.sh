#!/bin/sh
# Brings a host from one generation to the next, all or nothing.
#
# usage: apply.sh DIR ROOT         DIR holds the unpacked payload: manifest, actions, blobs/SHA256[.gz]
#        apply.sh --finish ROOT    completes a commit that a power cut interrupted (nexus-recover.service)
#
# Up to `commit` nothing outside our own state folder and `*.nexus-new-ID` files has been touched, and every exit
# cleans these up. From `commit` on, the journal (the link `pending`) is set and hang-ups are ignored: the rest
# is renames and unit restarts, and runs to its end without the operator.
#
# manifest (TAB-separated): user NAME HOME | dir PATH MODE OWNER GROUP | file PATH MODE OWNER GROUP SHA256
#                           | unit NAME ENABLED ACTIVE RESTART_STAMP RELOAD_STAMP
# actions  (TAB-separated): base ID | id ID | who TEXT | put PATH | drop PATH | check KIND PATH
#                           | unit NAME start|restart|reload|stop | end
# Prints `step WORD ITEM` as it goes, `failed TEXT` and `log LINE` when it must stop, `done ID` at the end.
set -eu
umask 077
LC_ALL=C
export LC_ALL
tab=$(printf '\t')

# The reader may be gone (EPIPE): a commit goes on all the same.
tell() { printf '%s\n' "$*" 2>/dev/null || :; }

fail() {
  tell "failed $*"
  exit 3                                     # 3: said already; any other failure is reported by cleanup
}

# `picked KIND FILE` prints the fields after the kind, one line each.
picked() { sed -n "s/^$1$tab//p" "$2"; }

chosen() { picked "$1" "$dir/actions" | head -n 1; }

ctl() { if [ -z "$root" ]; then systemctl "$@"; fi; }

own() { if [ "$(id -u)" = 0 ]; then chown "$1:$2" "$3"; fi; }

link() {
  rm -f "$2.$$"
  ln -s "$1" "$2.$$"
  mv -T "$2.$$" "$2"
}

cleanup() {
  code=$?
  trap - EXIT
  trap '' HUP INT TERM PIPE                  # or a reader that has gone would end the cleaning half way
  case "$code" in 0 | 3) ;; *) tell "failed stopped by a command that failed with $code; $outcome" ;; esac
  [ -z "$id" ] || picked put "$dir/actions" 2>/dev/null | while read -r path; do rm -f "$root$path.nexus-new-$id" "$root$path.nexus-new-$id.part"; done
  rm -rf "$dir" "$state"/store/.new.*
  exit "$code"
}

preflight() {
  grep -q '^end$' "$dir/actions" 2>/dev/null || fail "the payload arrived incomplete; nothing was changed"
  base=$(chosen base)
  actual=$(readlink "$state/current" 2>/dev/null || echo generations/-)
  [ "${actual##*/}" = "$base" ] ||
    fail "the host changed after the plan was made (it has ${actual##*/}, the plan knew $base); deploy again"
}

# One apply at a time on a host: whoever was cut off from its operator is waited for.
alone() {
  exec 8>"$state/.apply.lock"
  flock "$@" 8
}

# Every blob is verified before it may be called by its sum.
receive() {
  mkdir -p "$state/store" "$state/generations" "$state/stamps"
  for blob in "$dir"/blobs/*; do
    [ -f "$blob" ] || continue
    sum=${blob##*/}
    sum=${sum%.gz}
    fresh=$state/store/.new.$sum
    case "$blob" in
      *.gz) gzip -dc "$blob" >"$fresh" || fail "no room to unpack $sum: $(df -h "$state" | tail -n 1)" ;;
      *) cp "$blob" "$fresh" || fail "no room for $sum: $(df -h "$state" | tail -n 1)" ;;
    esac
    rm -f "$blob"
    actual=$(sha256sum <"$fresh")
    [ "${actual%% *}" = "$sum" ] || fail "a file arrived damaged ($sum); nothing was changed"
    mv "$fresh" "$state/store/$sum"
    received="$received $sum"
  done
}

# A blob from an earlier deploy may have been damaged since: a power cut, or an edit in place of a file that shares
# its inode. It is thrown away, so that the next deploy uploads it again.
recheck() {
  picked put "$dir/actions" | while read -r path; do
    sum=$(picked file "$dir/manifest" | sed -n "s|^$path$tab.*$tab||p")
    case " $received " in *" $sum "*) continue ;; esac
    [ -f "$state/store/$sum" ] || fail "the payload lacks $path ($sum); deploy again"
    actual=$(sha256sum <"$state/store/$sum")
    if [ "${actual%% *}" != "$sum" ]; then
      rm -f "$state/store/$sum"
      fail "the host's kept copy of $path was damaged and is thrown away; nothing was changed; deploy again"
    fi
  done
}

# A copy of the whole new generation under DIR/tree, for the programs that check their own configuration.
grow_tree() {
  tree=$dir/tree
  picked file "$dir/manifest" | while IFS=$tab read -r path mode _ _ sum; do
    [ -f "$state/store/$sum" ] || fail "the payload lacks $path ($sum)"
    mkdir -p "$tree${path%/*}"
    # A program is only linked, and its inode (which may be the live one) left untouched: the ledger records its ctime.
    case "$mode" in
      *[1357]*)
        [ -x "$state/store/$sum" ] || chmod "$mode" "$state/store/$sum"
        ln -s "$(cd "$state/store" && pwd)/$sum" "$tree$path"
        ;;
      *) cp "$state/store/$sum" "$tree$path" ;;
    esac
  done
}

check_one() {
  case "$1" in
    consul) "$tree/usr/local/bin/consul" validate "$tree$2" ;;
    nft) nft -c -f "$tree$2" ;;
    caddy) HOME=$dir "$tree/usr/local/bin/caddy" validate --adapter caddyfile --config "$tree$2" ;;
    *) printf 'unknown check %s\n' "$1"; return 1 ;;
  esac
}

# All units in one call, since systemd loads its whole world for each. A program that comes with this very payload is
# not in its place yet: that one complaint is expected.
check_units() {
  set --
  while read -r path; do
    if [ -n "$path" ]; then set -- "$@" "$tree$path"; fi
  done <<EOF
$(picked check "$dir/actions" | sed -n "s/^unit$tab//p")
EOF
  if [ $# -eq 0 ] || [ -n "$root" ]; then return 0; fi
  systemd-analyze verify "$@" 2>&1 | grep -v 'is not executable: No such file' >"$dir/check" || :
  for path in "$@"; do
    if ! grep -F "${path##*/}" "$dir/check" >"$dir/complaints"; then continue; fi
    while read -r line; do tell "log $line"; done <"$dir/complaints"
    fail "${path#"$tree"} did not pass systemd's own check; nothing was changed"
  done
  tell "step check units"
}

check() {
  check_units
  picked check "$dir/actions" | while IFS=$tab read -r kind path; do
    if [ "$kind" = unit ]; then continue; fi
    if [ -n "$root" ] && [ "$kind" = nft ]; then continue; fi
    if ! check_one "$kind" "$path" >"$dir/check" 2>&1 </dev/null; then
      sed 's/^/log /' "$dir/check" | tail -n 20
      fail "$path did not pass ${kind}'s own check; nothing was changed"
    fi
    tell "step check $path"
  done
  rm -rf "$tree"
}

accounts() {
  [ -z "$root" ] || return 0
  picked user "$dir/manifest" | while IFS=$tab read -r name home; do
    id -u "$name" >/dev/null 2>&1 ||
      useradd --system --user-group --no-create-home --home-dir "$home" --shell /usr/sbin/nologin "$name"
  done
}

folders() {
  picked dir "$dir/manifest" | while IFS=$tab read -r path mode owner group; do
    mkdir -p "$root$path"
    own "$owner" "$group" "$root$path"
    chmod "$mode" "$root$path"
  done
}

# What stands in a place that we take over and did not put there ourselves is kept, never overwritten for good.
keep_displaced() {
  [ -f "$root$1" ] || return 0
  theirs=$(sha256sum <"$root$1")
  [ ! -f "$state/store/${theirs%% *}" ] || return 0
  mkdir -p "$state/generations/$id/displaced${1%/*}"
  cp --preserve=ownership,timestamps "$root$1" "$state/generations/$id/displaced$1"   # the umask makes its mode 0600
  tell "step keep $state/generations/$id/displaced$1"
}

# Everything that can run out of room happens here, beside the old file. A big file shares the store's inode.
lay_out() {
  while read -r path; do
    line=$(picked file "$dir/manifest" | grep "^$path$tab")
    IFS=$tab read -r _ mode owner group sum <<EOF
$line
EOF
    fresh=$root$path.nexus-new-$id
    (umask 022 && mkdir -p "$root${path%/*}")
    keep_displaced "$path"
    rm -f "$fresh" "$fresh.part"
    if [ "$(stat -c %s "$state/store/$sum")" -lt 1048576 ] || ! ln "$state/store/$sum" "$fresh" 2>/dev/null; then
      cp "$state/store/$sum" "$fresh.part"   # a copy that is cut off must not bear the name that a commit renames
      own "$owner" "$group" "$fresh.part"
      chmod "$mode" "$fresh.part"
      mv "$fresh.part" "$fresh"
    fi
    own "$owner" "$group" "$fresh"
    chmod "$mode" "$fresh"
  done <<EOF
$(picked put "$dir/actions")
EOF
}

# A new firewall may shut its own operator out. So its undo is armed, and seen armed, before anything changes; only a
# new connection from outside disarms it (edge/firewall.py).
arm_firewall_undo() {
  grep -q "^unit${tab}nexus-firewall.service" "$dir/actions" && [ -z "$root" ] || return 0
  if [ -f /etc/nexus/firewall.ufw ] || grep -q /etc/nexus/firewall.ufw "$dir/manifest"; then return 0; fi
  command -v nft >/dev/null 2>&1 ||
    fail "nftables is not installed; install the package, or set firewall: false in hosts.yml; nothing was changed"
  cp -p /etc/nexus/firewall.nft "$state/firewall.before" 2>/dev/null || : >"$state/firewall.before"
  nft list table inet nexus >"$state/firewall.ruleset" 2>/dev/null || : >"$state/firewall.ruleset"
  cp "$dir/firewall-undo.sh" "$state/firewall-undo.sh"
  systemctl stop nexus-firewall-undo.timer 2>/dev/null || :
  systemd-run --quiet --unit=nexus-firewall-undo --on-active=45 --timer-property=AccuracySec=100ms \
    /bin/sh "$state/firewall-undo.sh" "$state" || fail "the firewall's own undo could not be armed; nothing was changed"
  systemctl is-active --quiet nexus-firewall-undo.timer ||
    fail "the firewall's own undo is not armed; nothing was changed"
  tell "step arm the firewall's undo (45 s)"
}

# By rename: a generation that is applied again (a rollback) is current or previous while we write.
keep() {
  cp "$1" "$2.$$"
  mv "$2.$$" "$2"
}

prepare() {
  picked put "$dir/actions" >"$dir/puts"
  [ ! -s "$dir/puts" ] || lay_out
  mkdir -p "$state/generations/$id"
  keep "$dir/manifest" "$state/generations/$id/manifest"
  keep "$dir/actions" "$state/generations/$id/actions"
  keep "$dir/apply.sh" "$state/apply.sh"
  arm_firewall_undo
  sync -f "$state"
}

swap() {
  picked put "$1/actions" | while read -r path; do
    fresh=$root$path.nexus-new-$id
    if [ -f "$fresh" ] && [ "$(stat -c %d:%i "$fresh")" = "$(stat -c %d:%i "$root$path" 2>/dev/null)" ]; then
      rm -f "$fresh"                         # one inode: lay_out has set its mode, and rename would do nothing
    elif [ -f "$fresh" ]; then
      mv -f "$fresh" "$root$path"
    fi
    tell "step put $path"
  done
  picked drop "$1/actions" | while read -r path; do
    rm -f "$root$path"
    if [ "$path" = /etc/nexus/firewall.nft ] && [ -z "$root" ]; then nft delete table inet nexus 2>/dev/null || :; fi
    tell "step drop $path"
  done
}

mark_current() {
  before=$(readlink "$state/current" 2>/dev/null || :)
  if [ -n "$before" ] && [ "$before" != "generations/$id" ]; then link "$before" "$state/previous"; fi
  link "generations/$id" "$state/current"
}

# One unit's verb. Its stamp is written only when that worked, so that a failure is seen again by the next plan.
turn() {
  unit=$1
  verb=$2
  ctl enable --quiet "$unit" || return 1
  # shellcheck disable=SC2086  # empty or one option
  ctl $wait "$verb" "$unit" </dev/null || return 1
  stamp=$(picked unit "$generation/manifest" | sed -n "s/^${unit}${tab}[^${tab}]*${tab}[^${tab}]*${tab}//p" | tr '\t' ' ')
  printf '%s\n' "$stamp" >"$state/stamps/.$unit" && mv "$state/stamps/.$unit" "$state/stamps/$unit"
}

# A unit that goes is stopped while its file is still there: what stops it may stand in the file.
stop_units() {
  bad=
  picked unit "$generation/actions" | sed -n "s/${tab}stop\$//p" | while read -r unit; do
    if ctl disable --quiet --now "$unit" 2>/dev/null; then rm -f "$state/stamps/$unit"; fi
    tell "step stop $unit"
  done
}

turn_units() {
  if grep -q "^put$tab/etc/systemd/\|^drop$tab/etc/systemd/" "$generation/actions"; then ctl daemon-reload; fi
  while IFS=$tab read -r unit verb; do
    if [ -z "$unit" ] || [ "$verb" = stop ]; then continue; fi
    if turn "$unit" "$verb" 2>"$state/.err"; then
      tell "step $verb $unit"
    else
      bad="$bad $unit"
      while read -r line; do tell "log $line"; done <"$state/.err"
      ctl status --no-pager --lines 20 "$unit" 2>&1 | while read -r line; do tell "log $line"; done
    fi
  done <<EOF
$(picked unit "$generation/actions")
EOF
  rm -f "$state/.err"
}

# inode, size and times of what we placed, beside its sum: lets the probe skip hashing 100 MB each time.
write_ledger() {
  # what a boot finished is not vouched for: it may have found some of it swapped before, unseen
  if [ -z "$wait" ]; then picked put "$generation/actions" >"$state/.puts"; else : >"$state/.puts"; fi
  picked file "$generation/manifest" | while IFS=$tab read -r path _ _ _ sum; do
    if grep -qxF "$path" "$state/.puts"; then
      printf '%s|%s|%s\n' "$path" "$(stat -c '%i|%s|%y|%z' "$root$path")" "$sum"
    else
      [ -n "$wait" ] || grep -F "$path|" "$state/sums" 2>/dev/null || :
    fi
  done >"$state/.sums"
  mv "$state/.sums" "$state/sums"
  rm -f "$state/.puts"
}

prune() {
  keep=" $(readlink "$state/current") $(readlink "$state/previous" 2>/dev/null || :) "
  for old in "$state"/generations/*; do
    case "$keep" in *" generations/${old##*/} "*) ;; *)
      [ -d "$old/displaced" ] || rm -rf "$old" ;;
    esac
  done
  for blob in "$state"/store/*; do
    grep -qsF "${blob##*/}" "$state/current/manifest" "$state/previous/manifest" || rm -f "$blob"
  done
}

# An interrupted commit that this one replaces: what it had laid out is of no more use.
forget_older_journal() {
  older=$(readlink "$state/pending" 2>/dev/null) || return 0
  [ "${older##*/}" != "$id" ] || return 0
  picked put "$state/$older/actions" | while read -r path; do
    rm -f "$root$path.nexus-new-${older##*/}" "$root$path.nexus-new-${older##*/}.part"
  done
}

commit() {
  trap '' HUP INT TERM PIPE
  outcome='the change is half done: deploy again to finish it'
  generation=$state/generations/$id
  forget_older_journal
  link "generations/$id" "$state/pending"
  stop_units
  swap "$generation"
  mark_current
  turn_units
  prune
  write_ledger
  rm -f "$state/pending"
  printf '%s %s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$id" "$(picked who "$generation/actions" | head -n 1)" >>"$state/history"
  [ -z "$bad" ] || fail "not running after the change:$bad"
  tell "done $id"
}

finish() {
  [ -L "$state/pending" ] || return 0
  alone -n || return 0                       # a deploy is at it: its restarts have pulled us in
  id=$(readlink "$state/pending")
  id=${id##*/}
  dir=$state/generations/$id
  # whatever came between may have taken away what was laid out: the store still has it
  [ -z "$(picked put "$dir/actions")" ] || lay_out
  wait=--no-block                            # we run before these units at boot: waiting for them would never end
  commit
}

main() {
  root=$2
  state=$root/var/lib/nexus
  wait=
  id=
  outcome='nothing was changed'
  if [ "$1" = --finish ]; then
    finish
    return
  fi
  dir=$1
  trap cleanup EXIT
  trap 'exit 129' HUP INT TERM PIPE
  received=
  alone -w 60 || fail "another change has been at work on this host for a minute; nothing was changed"
  preflight
  id=$(chosen id)
  receive
  recheck
  grow_tree
  check
  accounts
  folders
  prepare
  commit
}

main "$@"
