# The command line: checks the ID, then calls the verb. Nothing runs before its last line.

main() {
  root=$1
  verb=$2
  home=$root/var/lib/nexus/faults
  fresh=
  no_block=
  if [ "$verb" = list ]; then
    list
    return
  fi
  id=${3:-}
  case "$id" in '' | *[!a-z0-9]* | ?????????????????????????????????*) refuse "an ID is 1 to 32 of a-z and 0-9" ;; esac
  folder=$home/$id
  shift 3
  case "$verb" in
    arm | inject | observe | revert | run) "$verb" "$@" ;;
    *) exit 64 ;;
  esac
}

main "$@"
