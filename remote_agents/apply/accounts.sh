# Steps accounts and folders: the system users, and the folders with owner and mode, that the manifest names.

accounts() {
  [ -z "$root" ] || return 0
  rows user "$dir/manifest" | while IFS=$tab read -r name home; do
    id -u "$name" >/dev/null 2>&1 ||
      useradd --system --user-group --no-create-home --home-dir "$home" --shell /usr/sbin/nologin "$name"
  done
}

folders() {
  rows dir "$dir/manifest" | while IFS=$tab read -r path mode owner group; do
    # shellcheck disable=SC2046  # no word or four
    install -d -m "$mode" $(owner_options "$owner" "$group") "$root$path"
  done
}
