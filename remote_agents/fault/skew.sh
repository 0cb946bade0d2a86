# Family skew: the wall clock of this host is set forward, or back with a negative number.
# faults: skew-clock SECONDS
families="$families skew"

skew_claims() { case "$fault" in skew-clock) ;; *) return 1 ;; esac; }

now_ms() { date +%s%3N; }

skew_check() {
  skew=${1:-}
  within 'seconds (forth, or back with a -)' "${skew#-}" 1 86400
  ! is_container || refuse "this host is a container: its clock is the machine's, and all on it would be hit"
  capabilities=$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status)
  [ $(((0x$capabilities >> 25) & 1)) = 1 ] || refuse "this host may not set its clock (CAP_SYS_TIME)"
}

skew_inject() {
  skew=$1
  printf '%s %s %s\n' "$(now_ms)" "$(uptime_cs)" "$skew" >"$folder/clock" || return 1
  put_clock $(($(now_ms) + skew * 1000))
}

put_clock() { date -s "@$(($1 / 1000)).$(printf '%03d' $(($1 % 1000)))" >/dev/null; }

# Sets `due`: the right time in ms, by the kernel's uptime, which a skew does not change.
skew_seen() {
  same_boot && read -r then_ms then_cs skew 2>/dev/null <"$folder/clock" || return 1
  due=$((then_ms + ($(uptime_cs) - then_cs) * 10))
  off=$(($(now_ms) - due))
  [ $((2 * ${off#-})) -gt $((${skew#-} * 1000)) ]
}

skew_took() { skew_seen; }
skew_undo() { ! skew_seen || put_clock "$due"; }
