# Family load: a systemd unit of the fault's own keeps the processors busy, or takes memory.
# faults: burn-cpu CORES|all; eat-memory MB
families="$families load"

load_claims() { case "$fault" in burn-cpu | eat-memory) ;; *) return 1 ;; esac; }

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

# The last WORD marks the processes: load_seen looks for it in every command line of this host.
# RuntimeMaxSec ends the unit where all else fails. OOMScoreAdjust: where memory runs short, it is killed first.
load_inject() {
  amount=$1
  set -- --unit="nexus-fault-$id-load" --property=RuntimeMaxSec=$((ttl + 15))
  if [ "$fault" = burn-cpu ]; then
    [ "$amount" != all ] || amount=$(nproc)
    launch "$@" /bin/sh "$folder/fault.sh" "$root" run "$id" burn "$amount" "load-of-$id."
  else
    launch "$@" --property=MemoryMax=$((amount + 64))M --property=MemorySwapMax=0 --property=OOMScoreAdjust=1000 \
      /bin/sh "$folder/fault.sh" "$root" run "$id" eat "$amount" "load-of-$id."
  fi
}

load_took() { load_seen; }
load_seen() { grep -qsa "[l]oad-of-${id}[.]" /proc/[0-9]*/cmdline; }
load_undo() { ctl stop "nexus-fault-$id-load.service" 2>/dev/null || ! load_seen; }

load_run() {
  case "$1" in
    burn) burn "$2" ;;
    eat) eat "$2" "$3" ;;
  esac
}

burn() {
  loops=$1
  while [ "$loops" -gt 0 ]; do
    (while :; do :; done) &
    loops=$((loops - 1))
  done
  wait
}

# Each page is written to: an untouched one takes no memory.
eat() {
  exec python3 -I -c 'import sys, time
b = bytearray(int(sys.argv[1]) << 20)
for at in range(0, len(b), 4096):
    b[at] = 1
time.sleep(1e6)' "$1" "$2"
}

load_stray() { load_seen; }
load_sweep() { ctl stop "nexus-fault-$id-load.service" 2>/dev/null || :; }
