#!/bin/sh
# One fault on this host. Its undo is armed first, on this host; then it is injected, seen, and undone.
#
# usage: fault.sh ROOT arm ID FAULT SECONDS [WORD...]   `armed`; run from a file, a copy of which is kept for the undo
#        fault.sh ROOT inject ID                        `injected`
#        fault.sh ROOT observe ID                       `present` or `absent`, by other means than it was injected with
#        fault.sh ROOT revert ID                        `reverted`, however often it is said
#        fault.sh ROOT list                             `left ID FAULT armed|injected|half|orphan SECONDS` for each
# ROOT is "" on a real host. ID: 1 to 32 of a-z and 0-9. SECONDS: until the fault undoes itself (in list: that are left).
# Else it prints `refused WHY` (nothing was touched, nothing is left) or `failed WHY` (what is left is in the folder, for
# the next revert) and ends with 3. The verbs burn, eat and crash are the faults' own.
#
# WORDs: kill-service|hang-service SERVICE; kill-agent AGENT; partition both|in|out|udp PEER...; packet-loss PERCENT PEER...;
#        latency MS PEER...; fill-disk LEAVE_MB; burn-cpu CORES|all; eat-memory MB; skew-clock SECONDS;
#        corrupt-config PATH; stop-host none|reboot; none for kill-balancer, kill-consul, kill-primary,
#        stop-primary, freeze-primary, stop-docker. A PEER is an IPv4 address.
# The folder ROOT/var/lib/nexus/faults/ID holds `what` (fault, words, times, boot), this script, and the state before.
# shellcheck disable=SC2329  # check, inject, seen and undo of each family are called by its name
set -eu
umask 077
LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH

agents=' nexus-worker nexus-orchestrator nexus-balancer '
configs=' /etc/consul.d/consul.hcl /etc/nexus/worker.json /etc/nexus/orchestrator.json /etc/nexus/balancer.json '

# The reader may be gone (EPIPE): an undo goes on all the same.
say() { printf '%s\n' "$*" 2>/dev/null || :; }

refuse() {
  say "refused $*"
  exit 3
}

fail() {
  say "failed $*"
  exit 3
}

# Whatever hangs must not keep the undo from going on, nor (9) keep its lock.
ctl() { timeout 60 systemctl "$@" </dev/null 9<&-; }
engine() { timeout 20 docker "$@" </dev/null 2>&1 9<&-; }
launch() { timeout 30 systemd-run --quiet "$@" </dev/null 2>&1 9<&-; }

has() { command -v "$1" >/dev/null 2>&1; }

is_whole() { case "$1" in '' | *[!0-9]* | 0?* | ??????????*) return 1 ;; esac; }

# `within NAME VALUE LOW HIGH`
within() {
  if ! is_whole "$2" || [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then
    refuse "$1: ${2:-nothing} is not a whole number from $3 to $4"
  fi
}

is_in() { case "$2" in *" $1 "*) ;; *) return 1 ;; esac; }

# A container shares its machine's kernel, so the boot alone would not tell that it was started again.
this_boot() {
  read -r kernel </proc/sys/kernel/random/boot_id
  is_alive 1 || birth=-
  printf '%s:%s' "$kernel" "$birth"
}

same_boot() { [ "$boot" = "$(this_boot)" ]; }

is_container() {
  has systemd-detect-virt || refuse "systemd-detect-virt is not there to tell whether this host is a container"
  systemd-detect-virt --quiet --container
}

uptime_cs() {
  read -r up _ </proc/uptime
  printf '%s' "${up%.*}${up#*.}"
}

# --- processes and units ---------------------------------------------------------------------------------------------

# Sets `state` (R, S, T, ...) and `birth` (ticks since boot): a pid alone may have been given away again.
is_alive() {
  case "$1" in '' | 0 | *[!0-9]*) return 1 ;; esac
  stat=$(cat "/proc/$1/stat" 2>/dev/null) && [ -n "$stat" ] || return 1
  # shellcheck disable=SC2086  # fields; what stands before the last ) may hold anything
  set -- ${stat##*) }
  state=$1
  shift 19
  birth=$1
  case "$state" in Z | X) return 1 ;; esac
}

is_same() { is_alive "$1" && [ "$birth" = "$2" ]; }

property() { ctl show --property="$2" --value "$1" 2>/dev/null || :; }

# Sets `pid` and `birth` of the unit's main process.
is_up() {
  [ "$(property "$1" ActiveState)" = active ] || return 1
  pid=$(property "$1" MainPID)
  is_alive "$pid"
}

# `pid birth` of every process of the unit; /proc tells them for both kinds of cgroups.
members() {
  group=$(property "$1" ControlGroup)
  {
    printf '%s\n' "$pid"
    if [ -n "$group" ]; then grep -lsF ":$group" /proc/[0-9]*/cgroup | cut -d / -f 3; fi
  } | sort -u | while read -r member; do
    if is_alive "$member"; then printf '%s %s\n' "$member" "$birth"; fi
  done
}

unit_check() {
  is_up "$unit" || refuse "$unit does not run here"
  if grep -qs '^ExecStart=:"/usr/bin/docker"' "$root/run/systemd/system/$unit"; then
    [ "$(engine container inspect -f '{{.State.Running}}' "${unit%.service}")" = true ] ||
      refuse "the container ${unit%.service} does not run here"
    : >"$folder/contained"
  fi
}

is_contained() { [ -e "$folder/contained" ]; }

# --- kill: the process is gone, systemd is to bring it back ----------------------------------------------------------

kill_check() { unit_check; }

kill_inject() {
  is_up "$unit" || return 1
  printf '%s %s\n' "$pid" "$birth" >"$folder/victims" || return 1
  if is_contained; then engine kill "${unit%.service}" >/dev/null; else kill -KILL "$pid"; fi
}

kill_took() {
  read -r victim was <"$folder/victims" && ! is_same "$victim" "$was"
}

# What is no longer a unit here was moved by its orchestrator: nothing is left to come back.
kill_seen() {
  same_boot && read -r victim was 2>/dev/null <"$folder/victims" && [ "$(property "$unit" LoadState)" = loaded ] || return 1
  ! is_up "$unit" || [ "$pid $birth" = "$victim $was" ]
}

kill_undo() {
  is_gone_within 5 || ctl start --no-block "$unit"
}

# --- hang: all of the unit's processes stand still --------------------------------------------------------------------

hang_check() { unit_check; }

hang_inject() {
  is_up "$unit" || return 1
  if is_contained; then
    engine pause "${unit%.service}" >/dev/null
    return
  fi
  members "$unit" >"$folder/victims" || return 1
  ctl kill --signal=STOP "$unit" || return 1
  members "$unit" >>"$folder/victims"        # and those that were forked meanwhile
}

hang_took() { hang_seen; }

hang_seen() {
  same_boot || return 1
  if is_contained; then
    [ "$(engine container inspect -f '{{.State.Paused}}' "${unit%.service}")" = true ]
    return
  fi
  [ -f "$folder/victims" ] || return 1
  while read -r victim was; do
    if is_same "$victim" "$was" && [ "$state" = T ]; then return 0; fi
  done <"$folder/victims"
  return 1
}

hang_undo() {
  if is_contained; then
    engine unpause "${unit%.service}" >/dev/null
    return
  fi
  ctl kill --signal=CONT "$unit" 2>/dev/null || :
  [ -f "$folder/victims" ] || return 0
  while read -r victim was; do
    if is_same "$victim" "$was"; then kill -CONT "$victim" || :; fi
  done <"$folder/victims"
}

# --- net: an nftables table of the fault's own -------------------------------------------------------------------------

is_address() {
  case "$1" in *[!0-9.]* | .* | *. | *..* | 0.* | 127.*) return 1 ;; esac
  oldifs=$IFS
  IFS=.
  # shellcheck disable=SC2086  # four numbers
  set -- $1
  IFS=$oldifs
  [ $# -eq 4 ] || return 1
  for octet in "$@"; do is_whole "$octet" && [ "$octet" -le 255 ] || return 1; done
}

peers_check() {
  [ $# -gt 0 ] || refuse "no PEER: whom is it to be cut off from?"
  for peer in "$@"; do is_address "$peer" || refuse "$peer is not an IPv4 address of another host"; done
}

# The operator's door: where this very connection came in, and all that sshd listens on.
ssh_ports() {
  listens=$(sshd -T 2>/dev/null | sed -n 's/^port //p' || :)
  came=${SSH_CONNECTION:-}
  for port in 22 ${came##* } $listens; do printf '%s\n' "$port"; done | sort -un | paste -sd , -
}

rules() {
  kind=$1
  shift
  ports=$(ssh_ports)
  from='ip saddr @peers' to='ip daddr @peers' verdict=drop
  case "$fault:$kind" in
    packet-loss:100) ;;
    packet-loss:*) verdict="numgen random mod 100 < $kind drop" ;;
    partition:in) to= ;;
    partition:out) from= ;;
    partition:udp) verdict='meta l4proto udp drop' ;;
  esac
  peers=$(printf '%s,' "$@")
  printf 'table inet %s {\nset peers { type ipv4_addr; elements = { %s }; }\n' "$table" "${peers%,}"
  # forward: containers whose ports are published on this host
  for hook in input output forward; do
    printf 'chain %s {\ntype filter hook %s priority -200; policy accept;\n' "$hook" "$hook"
    printf 'tcp dport { %s } accept\ntcp sport { %s } accept\n' "$ports" "$ports"
    if [ "$hook" != output ] && [ -n "$from" ]; then printf '%s %s\n' "$from" "$verdict"; fi
    if [ "$hook" != input ] && [ -n "$to" ]; then printf '%s %s\n' "$to" "$verdict"; fi
    printf '}\n'
  done
  printf '}\n'
}

net_check() {
  case "$fault" in
    partition) is_in "${1:-}" ' both in out udp ' || refuse "${1:-nothing} is not a way (both, in, out, udp)" ;;
    *) within percent "${1:-}" 1 100 ;;
  esac
  has nft || refuse "nft is not installed (package nftables)"
  way=$1
  shift
  peers_check "$@"
  rules "$way" "$@" >"$folder/rules"
  why=$(nft -c -f "$folder/rules" 2>&1) || refuse "nft does not take the rules here: $(say "$why" | head -n 1)"
}

net_inject() { nft -f "$folder/rules" 2>&1; }
net_took() { net_seen; }
net_seen() { ! net_gone; }

# Where nft cannot be asked, nobody knows, and an undo that does not know has failed.
net_gone() {
  tables=$(nft list tables 2>/dev/null) || return 1
  case "
$tables
" in *"
table inet $table
"*) return 1 ;; esac
}

net_undo() { nft delete table inet "$table" 2>/dev/null || net_gone; }

# --- netem: a queue of the fault's own at each device that leads to a peer -----------------------------------------------

netem_check() {
  within ms "${1:-}" 1 10000
  shift
  for tool in tc ip unshare; do has "$tool" || refuse "$tool is not installed (packages iproute2, util-linux)"; done
  # in a network of its own, which is gone with the command
  unshare -n tc qdisc add dev lo root netem delay 1ms >/dev/null 2>&1 ||
    refuse "the kernel has no netem (sch_netem); packet-loss works without"
  peers_check "$@"
  for peer in "$@"; do
    way=$(ip -4 -o route get "$peer" 2>/dev/null) || refuse "there is no route to $peer"
    device=${way##* dev }
    printf '%s %s\n' "${device%% *}" "$peer"
  done >"$folder/routes"
  for device in $(devices); do
    [ "$device" != lo ] || refuse "a PEER is this host itself"
    # the kernel's own queues have no handle: these come back by themselves
    tc qdisc show dev "$device" | grep -q '^qdisc [a-z_]* 0: root' || refuse "$device has a queue of somebody else's (tc)"
  done
}

devices() { cut -d ' ' -f 1 "$folder/routes" 2>/dev/null | sort -u; }

# SSH stays in the quick bands: the filters are gone through by number.
netem_inject() {
  for device in $(devices); do
    tc qdisc add dev "$device" root handle 1fa0: prio bands 4 priomap 1 2 2 2 1 2 0 0 1 1 1 1 1 1 1 1 || return 1
    tc qdisc add dev "$device" parent 1fa0:4 handle 1fa1: netem delay "$1ms" || return 1
    for port in $(ssh_ports | tr , ' '); do
      for end in dport sport; do
        tc filter add dev "$device" parent 1fa0: protocol ip prio 1 u32 \
          match ip protocol 6 0xff match ip "$end" "$port" 0xffff flowid 1fa0:1 || return 1
      done
    done
  done
  while read -r device peer; do
    tc filter add dev "$device" parent 1fa0: protocol ip prio 2 u32 match ip dst "$peer/32" flowid 1fa0:4 || return 1
  done <"$folder/routes"
}

netem_took() { netem_seen; }

netem_seen() {
  has tc || return 0                         # as with nft: who cannot look must not call it gone
  for device in $(devices); do
    if tc qdisc show dev "$device" 2>/dev/null | grep -q ' 1fa0: root'; then return 0; fi
  done
  return 1
}

netem_undo() {
  for device in $(devices); do
    if tc qdisc show dev "$device" | grep -q ' 1fa0: root'; then tc qdisc del dev "$device" root; fi
  done
}

# --- fill: a file takes the room -----------------------------------------------------------------------------------------

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

# --- load: a unit of the fault's own burns or eats -----------------------------------------------------------------------

load_check() {
  if [ "$fault" = burn-cpu ]; then
    [ "${1:-}" = all ] || within cores "${1:-}" 1 256
    return
  fi
  within mb "${1:-}" 1 1000000
  has python3 || refuse "python3 is not installed"
  room=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)
  [ "$room" -gt $((($1 + 64) * 1024)) ] || refuse "only $((room / 1024)) MB of memory are free; 64 are to be left"
}

# It ends itself, too, should all else fail. Where memory runs short, it is the first to go.
load_inject() {
  amount=$1
  set -- --unit="nexus-fault-$id-load" --property=RuntimeMaxSec=$((ttl + 15))
  if [ "$fault" = burn-cpu ]; then
    [ "$amount" != all ] || amount=$(nproc)
    launch "$@" /bin/sh "$folder/fault.sh" "$root" burn "$id" "$amount" "$mark"
  else
    launch "$@" --property=MemoryMax=$((amount + 64))M --property=MemorySwapMax=0 --property=OOMScoreAdjust=1000 \
      /bin/sh "$folder/fault.sh" "$root" eat "$id" "$amount" "$mark"
  fi
}

load_took() { load_seen; }
load_seen() { grep -qsa "[l]oad-of-${id}[.]" /proc/[0-9]*/cmdline; }
load_undo() { ctl stop "nexus-fault-$id-load.service" 2>/dev/null || ! load_seen; }

burn() {
  left=$1
  while [ "$left" -gt 0 ]; do
    (while :; do :; done) &
    left=$((left - 1))
  done
  wait
}

eat() {
  # each page is written to, or it would take no memory
  exec python3 -I -c 'import sys, time
b = bytearray(int(sys.argv[1]) << 20)
for at in range(0, len(b), 4096):
    b[at] = 1
time.sleep(1e6)' "$1" "$mark"
}

# --- skew: the wall clock ------------------------------------------------------------------------------------------------

now_ms() { date +%s%3N; }

skew_check() {
  skew=${1:-}
  within 'seconds (forth, or back with a -)' "${skew#-}" 1 86400
  ! is_container || refuse "this host is a container: its clock is the machine's, and all on it would be hit"
  may=$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status)
  [ $(((0x$may >> 25) & 1)) = 1 ] || refuse "this host may not set its clock (CAP_SYS_TIME)"
}

skew_inject() {
  skew=$1
  printf '%s %s %s\n' "$(now_ms)" "$(uptime_cs)" "$skew" >"$folder/clock" || return 1
  put_clock $(($(now_ms) + skew * 1000))
}

put_clock() { date -s "@$(($1 / 1000)).$(printf '%03d' $(($1 % 1000)))" >/dev/null; }

# Sets `due`: what the clock would show, by the kernel's uptime, which a skew does not touch.
skew_seen() {
  same_boot && read -r then_ms then_cs skew 2>/dev/null <"$folder/clock" || return 1
  due=$((then_ms + ($(uptime_cs) - then_cs) * 10))
  off=$(($(now_ms) - due))
  [ $((2 * ${off#-})) -gt $((${skew#-} * 1000)) ]
}

skew_took() { skew_seen; }
skew_undo() { ! skew_seen || put_clock "$due"; }

# --- stop: units are stopped as by hand ----------------------------------------------------------------------------------

stop_check() {
  ctl is-active --quiet "$unit" || refuse "$unit does not run here"
  for one in $units; do
    if ctl is-active --quiet "$one"; then printf '%s\n' "$one"; fi
  done >"$folder/stopped"
}

# shellcheck disable=SC2086  # unit names
stop_inject() { ctl stop $units 2>&1; }
stop_took() { :; }                           # a service that wants Docker may have it back already

stop_seen() {
  same_boot || return 1
  if [ "$fault" = stop-docker ]; then engine version >/dev/null || return 0; else is_up "$unit" || return 0; fi
  return 1
}

stop_undo() {
  while read -r one; do ctl start "$one" || return 1; done <"$folder/stopped"
}

# --- corrupt: a configuration that cannot be read -------------------------------------------------------------------------

corrupt_check() {
  is_in "${1:-}" "$configs" || refuse "${1:-nothing} is none of$configs"
  if [ ! -f "$root$1" ] || [ -L "$root$1" ]; then refuse "there is no file $1 here"; fi
  cp -a "$root$1" "$folder/kept"
}

# By rename, with mode and owner of the old one: whoever reads it meanwhile reads one or the other.
corrupt_inject() {
  cp -a "$folder/kept" "$folder/broken" || return 1
  printf '\n}}{{ nexus fault %s: this is no configuration\n' "$id" >>"$folder/broken" || return 1
  corrupt_put "$folder/broken" "$root$1"
}

corrupt_put() {
  cp -a "$1" "$2.nexus-fault-$id" && mv -f "$2.nexus-fault-$id" "$2"
}

corrupt_took() { corrupt_seen; }

# What a deploy has put there since is not ours to take back.
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

# --- host: the machine goes down, without a word to anybody ----------------------------------------------------------------

host_check() {
  [ "${1:-}" = reboot ] || refuse "no way back was named for this host; where it starts again by itself: way-back=reboot"
  ! is_container || refuse "this host is a container: what runs it must stop and start it"
  [ -w "$root/proc/sysrq-trigger" ] || refuse "the kernel takes no /proc/sysrq-trigger here"
  for one in ssh.service sshd.service ssh.socket sshd.socket; do
    if ctl is-enabled --quiet "$one" 2>/dev/null; then return 0; fi
  done
  refuse "sshd is not enabled: nobody could log in after the restart"
}

# In a second, so that the answer still gets through.
host_inject() {
  launch --unit="nexus-fault-$id-load" --on-active=1 --timer-property=AccuracySec=100ms \
    /bin/sh "$folder/fault.sh" "$root" crash "$id"
}

host_took() { :; }
host_seen() { ctl is-active --quiet "nexus-fault-$id-load.timer"; }
host_undo() { ctl stop "nexus-fault-$id-load.timer" 2>/dev/null || ! host_seen; }

# Others' data is not what the drill is about: it goes to the disk first.
crash() {
  recall && same_boot && [ -e "$folder/injected" ] || return 0
  sync
  printf 'b\n' >"$root/proc/sysrq-trigger"
}

# --- the verbs -------------------------------------------------------------------------------------------------------------

# Which functions make the fault, and on which unit. Refuses a FAULT or a first WORD that is not known.
resolve() {
  unit=
  case "$fault" in
    kill-service | hang-service)
      family=${fault%-service}
      case "${1:-}" in '' | *[!a-z0-9_-]* | [!a-z0-9]*) refuse "${1:-nothing} is not the name of a service" ;; esac
      unit=nexus-svc-$1.service
      ;;
    kill-agent)
      family='kill'
      is_in "${1:-}" "$agents" || refuse "${1:-nothing} is none of$agents"
      unit=$1.service
      ;;
    kill-balancer) family='kill' unit=caddy.service ;;
    kill-consul) family='kill' unit=consul.service ;;
    kill-primary) family='kill' unit=nexus-orchestrator.service ;;
    freeze-primary) family=hang unit=nexus-orchestrator.service ;;
    stop-primary) family=stop unit=nexus-orchestrator.service units=$unit ;;
    stop-docker) family=stop unit=docker.service units='docker.socket docker.service' ;;
    partition | packet-loss) family=net ;;
    latency) family=netem ;;
    fill-disk) family=fill ;;
    burn-cpu | eat-memory) family=load ;;
    skew-clock) family=skew ;;
    corrupt-config) family=corrupt ;;
    stop-host) family=host ;;
    *) refuse "there is no fault $fault" ;;
  esac
}

# Reads `what` back; false where the folder is not whole.
recall() {
  fault='' words='' ttl=0 since=0 boot='' whole=''
  [ -f "$folder/what" ] || return 1
  while read -r key value; do
    case "$key" in
      fault) fault=$value ;;
      words) words=$value ;;
      ttl) ttl=$value ;;
      since) since=$value ;;
      boot) boot=$value ;;
      end) whole=yes ;;
    esac
  done <"$folder/what"
  [ -n "$whole" ] || return 1
  # shellcheck disable=SC2086  # no word has blanks, see door
  (resolve $words) >/dev/null && resolve $words
}

is_gone_within() {
  tries=$(($1 * 5))
  while "${family}_seen"; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || return 1
    sleep 0.2
  done
}

is_there_within() {
  tries=$(($1 * 5))
  until "${family}_took"; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || return 1
    sleep 0.2
  done
}

# One verb at a time on a fault. The undo waits its turn, but not for ever.
alone() {
  command exec 9<"$folder" || return 1      # `command`, or a folder that has just gone would end the shell
  flock -w "$1" 9
}

cleanup() {
  code=$?
  trap - EXIT
  if [ -n "$fresh" ]; then
    trap '' HUP INT TERM PIPE
    ctl stop "nexus-fault-$id.timer" 2>/dev/null || :
    discard
    case "$code" in 0 | 3) ;; *) say "refused a command failed with $code; nothing was touched" ;; esac
  fi
  exit "$code"
}

discard() {
  rm -rf "$folder"
  rmdir "$home" 2>/dev/null || :
}

door() {
  for word in "$@"; do
    case "$word" in '' | *[!A-Za-z0-9._:/-]*) refuse "a word holds what is none of A-Z a-z 0-9 . _ : / -" ;; esac
  done
}

arm() {
  [ $# -ge 2 ] || refuse "arm wants ID FAULT SECONDS"
  door "$@"
  fault=$1
  ttl=$2
  shift 2
  within seconds "$ttl" 1 3600
  resolve "$@"
  for tool in flock systemd-run systemctl timeout; do has "$tool" || refuse "$tool is not installed"; done
  [ "$(tail -n 1 "$0" 2>/dev/null)" = 'main "$@"' ] || refuse "arm must be run from the whole script, as a file"
  mkdir -p "$home"
  chmod 0700 "$root/var/lib/nexus" "$home"
  mkdir "$folder" 2>/dev/null || refuse "a fault $id is on this host already; or there is no room in $home"
  fresh=yes
  trap cleanup EXIT
  trap 'exit 129' HUP INT TERM PIPE
  boot=$(this_boot)
  "${family}_check" "$@"
  cp "$0" "$folder/fault.sh"
  up=$(uptime_cs)
  printf 'fault %s\nwords %s\nttl %s\nsince %s\nboot %s\nend\n' "$fault" "$*" "$ttl" "$((up / 100))" "$boot" >"$folder/what"
  arm_undo
  fresh=
  say armed
}

# An undo that fails is tried again every 5 s; 2 and 127 are the shell's own, when its script is gone.
arm_undo() {
  why=$(launch --unit="nexus-fault-$id" --on-active="$ttl" --timer-property=AccuracySec=100ms \
    --property=Restart=on-failure --property=RestartSec=5 --property='RestartPreventExitStatus=2 127' \
    /bin/sh "$folder/fault.sh" "$root" revert "$id" --timer) ||
    refuse "the undo could not be armed: $(say "$why" | head -n 1)"
  ctl is-active --quiet "nexus-fault-$id.timer" || refuse "the undo is not armed: its timer does not run"
}

inject() {
  trap '' HUP INT TERM PIPE                  # from here on, it runs to its end without the operator
  [ -d "$folder" ] || refuse "the fault $id is not armed on this host"
  alone 20 || refuse "another verb is at work on the fault $id"
  recall || refuse "the fault $id is not armed on this host"
  [ ! -e "$folder/injected" ] || refuse "the fault $id has been injected already"
  ctl is-active --quiet "nexus-fault-$id.timer" || refuse "the undo of the fault $id is not armed"
  uptime_cs >"$folder/injected"
  why=
  # shellcheck disable=SC2086  # no word has blanks, see door
  if "${family}_inject" $words >"$folder/said" && is_there_within 5; then
    say injected
    return
  fi
  why=$(head -n 1 "$folder/said")
  "${family}_undo" >/dev/null 2>&1 || :
  fail "$fault did not take; what there was of it is undone${why:+: $why}"
}

revert() {
  trap '' HUP INT TERM PIPE
  if [ -d "$folder" ]; then
    alone 20 || :                            # whoever hangs there must not keep the fault on the host
  fi
  if recall; then
    why=$("${family}_undo" 2>&1) || :
    is_gone_within 5 || fail "$fault is still there: ${why:-all was done to undo it}"
  else
    sweep
  fi
  ctl stop "nexus-fault-$id.timer" 2>/dev/null || :
  discard
  exec 9<&-                                  # the timer's own run may be waiting: it finds nothing to do
  if [ "${1:-}" != --timer ]; then ctl stop "nexus-fault-$id.service" 2>/dev/null || :; fi
  ctl reset-failed "nexus-fault-$id.service" "nexus-fault-$id-load.service" 2>/dev/null || :
  say reverted
}

# Without a folder to tell: all that bears the fault's id.
sweep() {
  ! has nft || nft delete table inet "$table" 2>/dev/null || net_gone || fail "the table $table does not go away"
  ctl stop "nexus-fault-$id-load.timer" "nexus-fault-$id-load.service" 2>/dev/null || :
  for path in $configs; do rm -f "$root$path.nexus-fault-$id"; done
}

observe() {
  if ! recall; then                          # who has no nft has never been given a table
    if { has nft && net_seen; } || load_seen; then say present; else say absent; fi
  elif [ ! -e "$folder/injected" ] || ! "${family}_seen"; then
    say absent
  else
    say present
  fi
}

list() {
  now=$(uptime_cs)
  seen=' '
  for folder in "$home"/*/; do
    folder=${folder%/}
    [ -d "$folder" ] || continue
    id=${folder##*/}
    seen="$seen$id "
    if ! recall; then
      say "left $id - half 0"
      continue
    fi
    left=$((since + ttl - now / 100))
    same_boot || left=0
    if [ -e "$folder/injected" ]; then say "left $id $fault injected $left"; else say "left $id $fault armed $left"; fi
  done
  for id in $(orphans); do
    if ! is_in "$id" "$seen"; then say "left $id - orphan 0"; fi
  done
}

orphans() {
  {
    nft list tables 2>/dev/null | sed -n 's/^table inet nexus_fault_\([a-z0-9]*\)$/\1/p'
    ctl list-units --all --plain --no-legend 'nexus-fault-*' 2>/dev/null | sed -n 's/^nexus-fault-\([a-z0-9]*\)[.-].*/\1/p'
  } | sort -u
}

main() {
  root=$1
  verb=$2
  home=$root/var/lib/nexus/faults
  fresh=
  if [ "$verb" = list ]; then
    list
    return
  fi
  id=${3:-}
  case "$id" in '' | *[!a-z0-9]* | ?????????????????????????????????*) refuse "an ID is 1 to 32 of a-z and 0-9" ;; esac
  folder=$home/$id
  table=nexus_fault_$id
  mark=load-of-$id.
  shift 3
  case "$verb" in
    arm) arm "$@" ;;
    inject) inject ;;
    observe) observe ;;
    revert) revert "$@" ;;
    burn | eat) "$verb" "$1" ;;
    crash) crash ;;
    *) exit 64 ;;
  esac
}

main "$@"
