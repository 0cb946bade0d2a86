#!/bin/sh
# Brings a host from one generation to the next, all or nothing.
#
# usage: apply.sh DIR ROOT         DIR holds the unpacked payload: blobs/SHA256[.gz], firewall-undo.sh, apply.sh, manifest,
#                                  actions
#        apply.sh --finish ROOT    after a boot (nexus-recover.service): undoes the faults that drills left here, and
#                                  completes a commit that a power cut interrupted
# ROOT is "" on a real host. It needs root there.
#
# The steps, one file each: receive, check, accounts, prepare, commit (with units and ledger). Before `commit`, no file of
# the host changes: the script writes to its state folder and to `PATH.nexus-new-ID` files, and creates accounts and
# folders. Every exit removes the `nexus-new` files. `commit` sets the journal (the link `pending`) and ignores hang-ups:
# the rest is renames and unit verbs, and runs to its end without the operator.
#
# manifest (TAB-separated): user NAME HOME | dir PATH MODE OWNER GROUP | file PATH MODE OWNER GROUP SHA256
#                           | unit NAME ENABLED ACTIVE RESTART_STAMP RELOAD_STAMP
# actions  (TAB-separated): base ID | id ID | who TEXT | put PATH | drop PATH | check KIND PATH
#                           | unit NAME start|restart|reload|stop | end
# Prints `step WORD ITEM` for each step, and `done ID` at the end. On trouble it prints `log LINE`s and `failed TEXT`, and
# exits with 3.
set -eu
umask 077
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH

# main sets the variables that all parts share:
#   root, state, store      ROOT, ROOT/var/lib/nexus, its store of blobs
#   dir                     the payload; for --finish the folder of the generation
#   id                      the generation's id; empty until it is known
#   files                   one line for each file to put: `PATH MODE OWNER GROUP SUM`, TAB-separated
#   received_sums           the sums of the blobs that arrived with this payload
#   failed_units            the units whose verb failed, each after a space
#   no_block                `--no-block` for --finish, else empty
#   outcome                 what an unexpected end means for the host
#   uid, tab                who runs this; a TAB

# A reader that is gone (EPIPE) must not stop a commit.
say() { printf '%s\n' "$*" 2>/dev/null || :; }

fail() {
  say "failed $*"
  exit 3                                     # 3: the reason is printed; cleanup prints one for any other failure
}

# `rows KIND FILE`: the rows of that kind, without the kind.
rows() { sed -n "s/^$1$tab//p" "$2"; }

# `action_value KIND`: the first row of that kind in the payload's actions.
action_value() { rows "$1" "$dir/actions" | head -n 1; }

ctl() { if [ -z "$root" ]; then systemctl "$@"; fi; }

# `-o OWNER -g GROUP` for install; nothing where we are not root.
owner_options() { if [ "$uid" = 0 ]; then printf -- '-o %s -g %s' "$1" "$2"; fi; }

# `set_owner OWNER GROUP PATH`
set_owner() { if [ "$uid" = 0 ]; then chown "$1:$2" "$3"; fi; }

# `replace_link TARGET LINK`, in one rename.
replace_link() {
  ln -sfn "$1" "$2.$$"
  mv -T "$2.$$" "$2"
}

# `replace_file FROM TO`, in one rename: TO may belong to the current or previous generation (a rollback).
replace_file() {
  cp "$1" "$2.$$"
  mv "$2.$$" "$2"
}

# `SUM  FILE` for each file. Python, which every host has, takes a fifth of the time of Debian 12's sha256sum.
hash_files() {
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

# `files_to_put DIR`: the value of `files`, from the actions and the manifest of that folder.
files_to_put() {
  awk -F '\t' 'NR == FNR { if ($1 == "put") puts[$2]; next }
    $1 == "file" && ($2 in puts) { print $2 "\t" $3 "\t" $4 "\t" $5 "\t" $6 }' "$1/actions" "$1/manifest"
}

# `remove_staged ID DIR`: removes the `nexus-new` files of that generation, whose actions are in DIR.
remove_staged() {
  rows put "$2/actions" 2>/dev/null | while read -r path; do
    if [ -e "$root$path.nexus-new-$1" ]; then rm -f "$root$path.nexus-new-$1"; fi
  done
}
