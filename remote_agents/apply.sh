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

# `-o OWNER -g GROUP` for install, where that is ours to say.
rights() { if [ "$uid" = 0 ]; then printf -- '-o %s -g %s' "$1" "$2"; fi; }

own() { if [ "$uid" = 0 ]; then chown "$1:$2" "$3"; fi; }

link() {
  ln -sfn "$1" "$2.$$"
  mv -T "$2.$$" "$2"
}

# `SUM  FILE` for each file. Python, which every host has, takes a fifth of the time of Debian 12's sha256sum.
sums() {
  python3 -I -S -c '
import hashlib, sys
def digest(path):
    seen = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            seen.update(chunk)
    return seen.hexdigest()
print("\n".join(f"{digest(path)}  {path}" for path in sys.argv[1:]))' "$@" 2>/dev/null || sha256sum -- "$@"
}

# `PATH MODE OWNER GROUP SUM`, TAB-separated, of every file that the actions of folder $1 put in its place.
placed() {
  awk -F '\t' 'NR == FNR { if ($1 == "put") puts[$2]; next }
    $1 == "file" && ($2 in puts) { print $2 "\t" $3 "\t" $4 "\t" $5 "\t" $6 }' "$1/actions" "$1/manifest"
}

# What was laid out beside the final places by generation $1, whose actions are in folder $2.
sweep() {
  picked put "$2/actions" 2>/dev/null | while read -r path; do
    if [ -e "$root$path.nexus-new-$1" ]; then rm -f "$root$path.nexus-new-$1"; fi
  done
}

cleanup() {
  code=$?
  trap - EXIT
  trap '' HUP INT TERM PIPE                  # or a reader that has gone would end the cleaning half way
  case "$code" in 0 | 3) ;; *) tell "failed stopped by a command that failed with $code; $outcome" ;; esac
  [ -z "$id" ] || sweep "$id" "$dir"
  rm -rf "$dir"
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

# Every blob is verified before it may lie in the store under its sum.
receive() {
  mkdir -p "$store" "$state/generations" "$state/stamps"
  for blob in "$dir"/blobs/*.gz; do
    [ -f "$blob" ] || continue
    gzip -d "$blob" || fail "no room to unpack ${blob##*/}: $(df -h "$state" | tail -n 1)"
  done
  set -- "$dir"/blobs/*
  [ -f "$1" ] || return 0
  sums "$@" | while read -r actual blob; do
    [ "$actual" = "${blob##*/}" ] || fail "a file arrived damaged (${blob##*/}); nothing was changed"
  done
  for blob; do received="$received ${blob##*/}"; done
  if ! mv "$@" "$store/"; then               # a half one must not lie there
    for blob; do rm -f "$store/${blob##*/}"; done
    fail "no room for what arrived: $(df -h "$state" | tail -n 1)"
  fi
}

# A blob from an earlier deploy may have been damaged since: a power cut, or an edit in place of a file that shares
# its inode. It is thrown away, so that the next deploy uploads it again.
recheck() {
  set --
  while IFS=$tab read -r path _ _ _ sum; do
    case "$path $received " in " "* | *" $sum "*) continue ;; esac
    [ -f "$store/$sum" ] || fail "the payload lacks $path ($sum); deploy again"
    set -- "$@" "$store/$sum"
  done <<EOF
$files
EOF
  [ $# -gt 0 ] || return 0
  sums "$@" | while read -r actual blob; do
    if [ "$actual" = "${blob##*/}" ]; then continue; fi
    rm -f "$blob"
    path=$(printf '%s\n' "$files" | sed -n "s/$tab.*$tab${blob##*/}\$//p" | head -n 1)
    fail "the host's kept copy of $path was damaged and is thrown away; nothing was changed; deploy again"
  done
}

# A copy of what is checked of the new generation under DIR/tree, for the programs that check their own configuration.
grow_tree() {
  tree=$dir/tree
  checks="$(picked check "$dir/actions")
"
  picked file "$dir/manifest" | while IFS=$tab read -r path mode _ _ sum; do
    [ -f "$store/$sum" ] || fail "the payload lacks $path ($sum)"
    copy='cp'
    case "$path" in
      # A program is only linked, and its inode (which may be the live one) left untouched: the ledger records its ctime.
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
    # shellcheck disable=SC2046  # no word or four
    install -d -m "$mode" $(rights "$owner" "$group") "$root$path"
  done
}

# What stands in a place that we take over and did not put there ourselves is kept, never overwritten for good.
keep_displaced() {
  [ -f "$root$1" ] || return 0
  theirs=$(sha256sum <"$root$1")
  [ ! -f "$store/${theirs%% *}" ] || return 0
  mkdir -p "$state/generations/$id/displaced${1%/*}"
  cp --preserve=ownership,timestamps "$root$1" "$state/generations/$id/displaced$1"   # the umask makes its mode 0600
  tell "step keep $state/generations/$id/displaced$1"
}

# Everything that can run out of room happens here, beside the old file. A big file shares the store's inode. Whoever
# commits has laid everything out himself, in the same run: a copy that was cut off is never renamed.
lay_out() {
  big=$(cd "$store" && find . -size +2047 -type f | tr '\n' ' ')
  sweep "$id" "$dir"
  while IFS=$tab read -r path mode owner group sum; do
    [ -n "$path" ] || continue
    fresh=$root$path.nexus-new-$id
    [ -d "$root${path%/*}" ] || (umask 022 && mkdir -p "$root${path%/*}")
    keep_displaced "$path"
    case " $big" in
      *" ./$sum "*) if ln "$store/$sum" "$fresh" 2>/dev/null; then
        own "$owner" "$group" "$fresh"
        chmod "$mode" "$fresh"
        continue
      fi ;;
    esac
    # shellcheck disable=SC2046  # no word or four
    install -m "$mode" $(rights "$owner" "$group") "$store/$sum" "$fresh"
  done <<EOF
$files
EOF
}

# A new firewall may shut its own operator out. So its undo is armed, and seen armed, before anything changes; only a
# new connection from outside disarms it (edge/deploy/firewall_undo.py).
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
  lay_out
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
    # shellcheck disable=SC3013  # in POSIX since 2024, and in dash, bash and busybox long before
    if [ "$fresh" -ef "$root$path" ]; then
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

# Enabled all at once and without a reload, for systemd would read its whole world anew after each.
enable_units() {
  ctl enable --quiet --no-reload "$@" 2>/dev/null || for unit; do
    ctl enable --quiet --no-reload "$unit" 2>"$state/.err" || broken "$unit"
  done
}

# Only where a unit's file is another one than systemd has read: one that it never heard of, it reads when it is started.
reload_units() {
  if grep -q "^drop$tab/etc/systemd/" "$generation/actions" || ctl show -p NeedDaemonReload -- "$@" | grep -q yes; then
    ctl daemon-reload
  fi
}

broken() {
  bad="$bad $1"
  while read -r line; do tell "log $line"; done <"$state/.err"
  ctl status --no-pager --lines 20 "$1" 2>&1 | while read -r line; do tell "log $line"; done
}

# One unit's verb. Its stamp is written only when that worked, so that a failure is seen again by the next plan.
turn() {
  # shellcheck disable=SC2086  # empty or one option
  ctl $wait "$2" "$1" </dev/null || return 1
  while IFS=$tab read -r name _ _ restart reload; do
    if [ "$name" = "$1" ]; then printf '%s %s\n' "$restart" "$reload" >"$state/stamps/.$1"; fi
  done <<EOF
$(picked unit "$generation/manifest")
EOF
  mv "$state/stamps/.$1" "$state/stamps/$1"
}

# A unit that goes is stopped while its file is still there: what stops it may stand in the file.
stop_units() {
  picked unit "$generation/actions" | sed -n "s/${tab}stop\$//p" | while read -r unit; do
    if ctl disable --quiet --now "$unit" 2>/dev/null; then rm -f "$state/stamps/$unit"; fi
    tell "step stop $unit"
  done
}

turn_units() {
  turning=$(picked unit "$generation/actions" | sed "/${tab}stop\$/d")
  # shellcheck disable=SC2046  # names of units, one a line
  [ -z "$turning" ] || enable_units $(printf '%s\n' "$turning" | cut -f 1)
  # shellcheck disable=SC2046
  reload_units $(picked file "$generation/manifest" | sed -n "s|^/etc/systemd/system/\([^$tab]*\).*|\1|p")
  while IFS=$tab read -r unit verb; do
    case "$unit $bad " in " "* | *" $unit "*) continue ;; esac
    if turn "$unit" "$verb" 2>"$state/.err"; then tell "step $verb $unit"; else broken "$unit"; fi
  done <<EOF
$turning
EOF
  rm -f "$state/.err"
}

# inode, size and times of what we placed, beside its sum: lets the probe skip hashing 100 MB each time.
write_ledger() {
  if [ -n "$wait" ]; then                    # a boot found some of it swapped before, unseen: it vouches for nothing
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

# For each file of the manifest: what stat just said of it (stdin) with the manifest's sum, or what the ledger has.
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

# An interrupted commit that this one replaces: what it had laid out is of no more use.
forget_older_journal() {
  older=$(readlink "$state/pending" 2>/dev/null) || return 0
  [ "${older##*/}" = "$id" ] || sweep "${older##*/}" "$state/$older"
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
  files=$(placed "$dir")
  lay_out                                    # whatever came between may have taken it away: the store still has it
  wait=--no-block                            # we run before these units at boot: waiting for them would never end
  commit
}

main() {
  root=$2
  state=$root/var/lib/nexus
  store=$state/store
  uid=$(id -u)
  bad=
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
  files=$(placed "$dir")
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
