#!/bin/sh
# Runs once, inside the root file system of the node image: turns a minimal Debian with packages into a server.
# The files beside this script (init.sh, nexus-lab-hostkey.service) lie in the folder given as $1.
set -eu

make_user() {
  useradd --create-home --shell /bin/bash ops
  usermod --password '*' ops                 # no password, yet not locked: keys may log in
  usermod --password '*' root
  printf 'ops ALL=(ALL) NOPASSWD: ALL\n' >/etc/sudoers.d/ops
  chmod 0440 /etc/sudoers.d/ops
}

configure_ssh() {
  rm -f /etc/ssh/ssh_host_*                  # each node makes its own at first boot, or all would be one host
  mkdir -p /etc/ssh/sshd_config.d
  cat >/etc/ssh/sshd_config.d/00-nexus-lab.conf <<'END'
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
UseDNS no
# many short connections at once are what the lab is for
MaxStartups 200
MaxSessions 100
END
  install -m 0644 "$1/nexus-lab-hostkey.service" /etc/systemd/system/
  systemctl enable ssh.service nexus-lab-hostkey.service
}

quiet_units() {
  # the operator's deploy decides when Docker runs, as on a server where it is merely installed
  systemctl disable docker.service docker.socket containerd.service
  # nothing of a node's own may load the machine that all of them share, nor fail for lack of hardware
  systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer getty.target console-getty.service systemd-logind.service \
    systemd-udevd.service systemd-udev-trigger.service systemd-udevd-kernel.socket \
    systemd-udevd-control.socket dev-hugepages.mount sys-kernel-config.mount sys-kernel-debug.mount \
    sys-kernel-tracing.mount proc-sys-fs-binfmt_misc.automount systemd-modules-load.service
  systemctl set-default multi-user.target
}

configure_journal() {
  mkdir -p /etc/systemd/journald.conf.d
  printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=64M\nRateLimitBurst=0\n' >/etc/systemd/journald.conf.d/nexus-lab.conf
}

main() {
  make_user
  configure_ssh "$1"
  quiet_units
  configure_journal
  install -m 0755 "$1/init.sh" /usr/local/sbin/nexus-lab-init
  # empty, not "uninitialized": the latter is a first boot, which would enable every unit again
  : >/etc/machine-id
}

main "$@"
