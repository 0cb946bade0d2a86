"""Consul with pyinfra, as its users write it: run by pyinfra, in pyinfra's own environment."""

from pyinfra import host  # type: ignore[import-not-found]
from pyinfra.operations import files, server, systemd  # type: ignore[import-not-found]
from pyinfra.operations.util import any_changed  # type: ignore[import-not-found]

server.user(  # noqa: S604  `shell` is the user's login shell
    name="user",
    user="consul",
    system=True,
    home="/var/lib/consul",
    shell="/usr/sbin/nologin",
    ensure_home=False,
    create_home=False,
)
for item in host.data.folders:
    files.directory(
        name=item["path"], path=item["path"], user=item["owner"], group=item["group"], mode=item["mode"].lstrip("0")
    )
binary = files.put(
    name="binary", src=host.data.binary, dest="/usr/local/bin/consul", user="root", group="root", mode="755"
)
configs = [
    files.put(
        name=item["path"],
        src=f"{host.data.files}/{item['source']}",
        dest=item["path"],
        user=item["owner"],
        group=item["group"],
        mode=item["mode"].lstrip("0"),
    )
    for item in host.data.configs
]
unit = files.put(
    name="unit",
    src=f"{host.data.files}/etc_systemd_system_consul.service",
    dest="/etc/systemd/system/consul.service",
    user="root",
    group="root",
    mode="644",
)
systemd.daemon_reload(name="reload", _if=unit.did_change)
# `restarted` does nothing to a stopped unit: on a bare host the next operation starts it, once
systemd.service(
    name="restart", service="consul.service", restarted=True, running=None, _if=any_changed(binary, unit, *configs)
)
systemd.service(name="service", service="consul.service", running=True, enabled=True)
