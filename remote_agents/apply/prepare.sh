# Step prepare: writes every new file beside its final place, records the generation, and arms the firewall's undo.

# `keep_displaced PATH`: keeps a copy of a file that we are about to replace and that is not ours.
keep_displaced() {
  [ -f "$root$1" ] || return 0
  displaced_sum=$(sha256sum <"$root$1")
  [ ! -f "$store/${displaced_sum%% *}" ] || return 0
  mkdir -p "$state/generations/$id/displaced${1%/*}"
  cp --preserve=ownership,timestamps "$root$1" "$state/generations/$id/displaced$1"   # the umask makes its mode 0600
  say "step keep $state/generations/$id/displaced$1"
}

# Writes each file as PATH.nexus-new-ID. All that can run out of room happens here. A big file is a hard link into the
# store. The same run that commits has staged every file itself: it never renames a copy that was cut off.
stage_files() {
  big=$(cd "$store" && find . -size +2047 -type f | tr '\n' ' ')
  remove_staged "$id" "$dir"
  while IFS=$tab read -r path mode owner group sum; do
    [ -n "$path" ] || continue
    staged=$root$path.nexus-new-$id
    [ -d "$root${path%/*}" ] || (umask 022 && mkdir -p "$root${path%/*}")
    keep_displaced "$path"
    case " $big" in
      *" ./$sum "*) if ln "$store/$sum" "$staged" 2>/dev/null; then
        set_owner "$owner" "$group" "$staged"
        chmod "$mode" "$staged"
        continue
      fi ;;
    esac
    # shellcheck disable=SC2046  # no word or four
    install -m "$mode" $(owner_options "$owner" "$group") "$store/$sum" "$staged"
  done <<EOF
$files
EOF
}

# New firewall rules can shut the operator out. So a timer that undoes them runs, and is seen to run, before anything
# changes. Only a new connection from outside stops it (edge/deploy/firewall_undo.py).
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
  say "step arm the firewall's undo (45 s)"
}

prepare() {
  stage_files
  mkdir -p "$state/generations/$id"
  replace_file "$dir/manifest" "$state/generations/$id/manifest"
  replace_file "$dir/actions" "$state/generations/$id/actions"
  replace_file "$dir/apply.sh" "$state/apply.sh"
  arm_firewall_undo
  sync -f "$state"
}
