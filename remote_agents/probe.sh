#!/bin/sh
# All facts of a host in one trip. Reads only. Runs as root (the caller puts sudo in front).
#
# usage: probe.sh ROOT UNITS [--previous] PATH...
#        ROOT is "" on a real host; UNITS is one word, names joined by commas
# Prints `key value` lines, then the line `contents`, then a tar of the small managed files.
# A file's sum comes from the ledger that apply.sh keeps, while inode, size, mtime and ctime all match. Any other file is
# hashed here and now, so an edit by hand always shows.
set -eu
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH

say() { printf '%s\n' "$*"; }

# A process costs a millisecond, a command substitution another one. So programs print their own words where that is
# enough, and core/state/probe_output.py parses them. awk reads the longer files: a shell's `read` takes one byte a
# system call.
machine() {
  date '+now %s.%N'
  printf 'machine '
  uname -m
  printf 'bits '
  getconf LONG_BIT 2>/dev/null || say 64
  printf 'python '
  python3 -V 2>/dev/null || say
  stat -f -c 'disk %a %S' "$root/var/lib"
  set -- /proc/meminfo /proc/cpuinfo /proc/net/route "$root/etc/passwd"
  for file in "$root/etc/os-release" "$state/current/manifest"; do
    [ ! -r "$file" ] || set -- "$@" "$file"
  done
  awk '
    FILENAME ~ /meminfo$/ && $1 == "MemTotal:" { print "memory_kb", $2 }
    FILENAME ~ /cpuinfo$/ && $1 == "processor" { cpus++ }
    # the kernel knows the default route by its destination 00000000
    FILENAME ~ /route$/ && $2 == "00000000" { print "route dev", $1 }
    FILENAME ~ /passwd$/ { sub(/:.*/, ""); users = users " " $0 }
    # what the last deploy placed: ours to compare and, when no longer wanted, to remove
    FILENAME ~ /manifest$/ { print "current-manifest " $0 }
    FILENAME ~ /os-release$/ && /^(ID|VERSION_ID|PRETTY_NAME)=/ { gsub(/"/, ""); sub(/=/, " "); print "os." $0 }
    END { print "users" users; print "cpus", cpus + 0 }' "$@"
  if read -r boot </proc/sys/kernel/random/boot_id; then say "boot $boot"; fi
}

network() {
  if command -v ip >/dev/null 2>&1; then ip -4 -o addr show scope global 2>/dev/null || :; fi
}

# Reads lines `path|inode|size|mtime|ctime|mode|owner|group`. Prints `sum|path|size|mode|owner|group`; sum is `-` where the
# ledger (`path|inode|size|mtime|ctime|sum`) does not know this state of the file. awk: a shell needs 0.25 s for it.
with_sums() {
  awk -F '|' -v root="$root" -v ledger="$state/sums" '
    BEGIN {
      while ((getline line < ledger) > 0) { split(line, f, "|"); sums[f[1] "|" f[2] "|" f[3] "|" f[4] "|" f[5]] = f[6] }
    }
    { path = substr($1, length(root) + 1)
      key = path "|" $2 "|" $3 "|" $4 "|" $5
      print ((key in sums) ? sums[key] : "-") "|" path "|" $3 "|" $6 "|" $7 "|" $8 }'
}

files() {
  fresh=
  for path in "$@"; do
    [ -f "$root$path" ] || [ ! -e "$root$path" ] || say "odd $path"
    [ -f "$root$path" ] && set -- "$@" "$root$path"
    shift
  done
  [ $# -gt 0 ] || return 0
  found=$(stat -L -c '%n|%i|%s|%y|%z|%a|%U|%G' -- "$@" | with_sums)
  oldifs=$IFS
  IFS='|'
  while read -r sum path size mode owner group; do
    [ "$sum" != - ] || fresh="$fresh
$root$path"
    say "file $path $mode $owner $group $size $sum"
    if [ "$size" -le 65536 ]; then small="$small
${path#/}"; fi
  done <<EOF
$found
EOF
  IFS=$oldifs
  [ -z "$fresh" ] || printf '%s\n' "${fresh#?}" | xargs sha256sum -- | while read -r sum path; do
    say "sum ${path#"$root"} $sum"
  done
}

has_file() {
  for folder in /etc/systemd/system /run/systemd/system /run/systemd/generator.late /usr/local/lib/systemd/system \
    /usr/lib/systemd/system /lib/systemd/system; do
    if [ -e "$root$folder/$1" ]; then return 0; fi
  done
  return 1
}

# Whether a boot would start it.
enabled() {
  for link in "$root"/etc/systemd/system/*.wants/"$1" "$root"/etc/systemd/system/*.requires/"$1"; do
    if [ -L "$link" ]; then return 0; fi
  done
  return 1
}

# `list-units` gives the states of all units in one short answer; `show` takes some milliseconds a unit.
units() {
  [ -n "$1" ] && command -v systemctl >/dev/null 2>&1 || return 0
  version=
  for library in /usr/lib/systemd/libsystemd-shared-*.so /usr/lib/*/systemd/libsystemd-shared-*.so; do
    [ ! -e "$library" ] || version=${library##*-shared-}   # the version without a process
  done
  version=${version%.so}
  [ -n "$version" ] || version=$(systemctl --version | { read -r _ version _ && say "$version"; })
  say "systemd $version"
  oldifs=$IFS
  IFS=,
  # shellcheck disable=SC2086  # the names are split at commas on purpose
  set -- $1
  IFS=$oldifs
  for unit in "$@"; do
    shift
    if ! has_file "$unit"; then continue; fi
    set -- "$@" "$unit"
    if enabled "$unit"; then say "unit $unit enabled"; else say "unit $unit disabled"; fi
  done
  [ $# -gt 0 ] || return 0
  systemctl list-units --all --plain --no-legend --no-pager -- "$@" 2>/dev/null || :
  systemctl show -p Id -p NeedDaemonReload -- "$@" 2>/dev/null || :
  words "$@"
}

# The firewall's rules: the sums of their file and of what was in force when they were loaded (firewall.sh records both),
# and the sum of what is in force now.
firewall() {
  [ -f "$root/etc/systemd/system/nexus-firewall.service" ] || return 0
  if [ -f "$root/run/nexus-firewall.loaded" ]; then
    while read -r sum _; do say "rules-loaded $sum"; done <"$root/run/nexus-firewall.loaded"
  fi
  if [ -f "$root/etc/nexus/firewall.ufw" ]; then
    rules=$(ufw status 2>/dev/null | sed -n '/^Status: active$/p; s/ *# nexus$//p')
    case "$rules" in "Status: active"*) ;; *) rules= ;; esac
  else
    rules=$(nft list table inet nexus 2>/dev/null) || rules=
  fi
  if [ -z "$rules" ]; then say "rules-now -"; else say "rules-now $(printf '%s\n' "$rules" | sha256sum)"; fi
}

# Who else filters what comes in, in the programs' own words: the chains and verdicts of each table of nft (that of
# iptables-nft, too) that has a chain hooked to `input`, and of iptables-legacy where its module is in use. Of a long chain
# the first rules, and the last. core/state/other_firewalls.py judges them. `firewalls known`: nft has told all.
other_firewalls() {
  if command -v nft >/dev/null 2>&1; then
    { nft -s -t list ruleset 2>/dev/null && say complete; } | awk '
      function keep() { kept = kept "nft " substr($0, 1, 300) "\n" }
      $0 == "complete" { print "firewalls known" }
      /^table / { skipped = ($2 != "ip" && $2 != "inet") || $3 == "nexus"; hooked = chain = chains = 0; kept = ""; keep(); next }
      skipped { next }
      /^}/ { if (hooked) printf "%s", kept; next }
      /^\tchain / { rules = 0; last = ""; chain = chains++ < 300; if (chain) keep(); next }
      /^\t}/ { kept = kept last; chain = 0; last = ""; next }
      !chain { next }
      /type filter hook input / { hooked = 1; keep(); next }
      /drop|reject|jump|goto|DROP|REJECT/ || /^[\t ]*(counter [a-z0-9 ]*)?accept/ {
        if (rules++ < 100) keep()
        else last = "nft " substr($0, 1, 300) "\n"
      }'
  fi
  if grep -qx filter /proc/net/ip_tables_names 2>/dev/null; then
    { iptables-legacy -S 2>/dev/null || iptables -S 2>/dev/null || :; } | awk '
      ($1 == "-P" && $2 == "INPUT") || $1 == "-A" { if (rules++ < 2000) print "legacy " substr($0, 1, 300) }'
  fi
}

# What our agents say of themselves: `said UNIT TEXT`. The only units that are asked one by one.
words() {
  for unit in "$@"; do
    shift
    case $unit in nexus-orchestrator.service | nexus-worker.service | nexus-balancer.service) set -- "$@" "$unit" ;; esac
  done
  [ $# -gt 0 ] || return 0
  systemctl show --property=Id,StatusText -- "$@" 2>/dev/null | awk '
    function tell() { if (text != "") print "said", unit, text; unit = text = "" }
    /^Id=/ { unit = substr($0, 4) }
    /^StatusText=/ { text = substr($0, 12) }
    /^$/ { tell() }
    END { tell() }'
}

kept() {
  if [ -d "$state" ]; then find "$state" -maxdepth 1 -type l -printf '%f %l\n'; fi
  for stamp in "$state"/stamps/*; do
    if [ -f "$stamp" ]; then read -r value <"$stamp" || :; say "stamp ${stamp##*/} $value"; fi
  done
  blobs=
  for blob in "$state"/store/*; do
    if [ -f "$blob" ]; then blobs="$blobs ${blob##*/}"; fi
  done
  say "store$blobs"
  if [ -f "$state/lock" ]; then
    while read -r line; do say "lock $line"; done <"$state/lock"
  fi
}

# Faults that drills left here, in the words of their own script: `left ID FAULT STAGE SECONDS`.
faults() {
  for kept in "$state"/faults/*/fault.sh; do
    if [ -f "$kept" ]; then
      timeout 10 /bin/sh "$kept" "$root" list 2>/dev/null </dev/null || :
      return
    fi
  done
}

managed_paths() {
  [ -f "$state/current/manifest" ] || return 0
  sed -n 's/^file	\([^	]*\)	.*/\1/p' "$state/current/manifest"
}

# What `inv rollback` would restore, and its small files: the operator's side shows the difference.
kept_blobs() {
  [ -f "$state/previous/manifest" ] || return 0
  sed 's/^/previous-manifest /' "$state/previous/manifest"
  while IFS='	' read -r kind _ _ _ _ sum; do
    if [ "$kind" != file ] || [ ! -f "$state/store/$sum" ]; then continue; fi
    size=$(stat -c %s "$state/store/$sum")
    if [ "$size" -le 65536 ]; then small="$small
var/lib/nexus/store/$sum"; fi
  done <"$state/previous/manifest"
}

# The address and port of this SSH connection, what else filters packets here, and the container engine.
access() {
  # shellcheck disable=SC2086  # four words: client address, client port, own address, own port
  set -- ${SSH_CONNECTION:-}
  if [ $# -eq 4 ]; then say "ssh $1 $4"; fi
  if [ -f "$root/etc/ufw/ufw.conf" ] && grep -q '^ENABLED=yes' "$root/etc/ufw/ufw.conf"; then say "ufw active"; fi
  if command -v dockerd >/dev/null 2>&1; then
    # the path that the services' units call; on Debian 13 the client is a package of its own
    if [ -x "$root/usr/bin/docker" ]; then say "docker ready"; else say "docker clientless"; fi
  fi
}

main() {
  root=$1
  unit_names=$2
  state=$root/var/lib/nexus
  small=
  shift 2
  say "nexus-probe 1"
  machine
  network
  access
  kept
  units "$unit_names"
  firewall
  faults
  other_firewalls
  for path in $(managed_paths); do
    case " $* " in *" $path "*) ;; *) set -- "$@" "$path" ;; esac
  done
  if [ "${1:-}" = --previous ]; then
    shift
    kept_blobs
  fi
  if [ $# -gt 0 ]; then files "$@"; fi
  say contents
  [ -z "$small" ] || printf '%s\n' "${small#?}" | tar -cf - -C "$root/" --no-recursion -h -T - 2>/dev/null
}

main "$@"
