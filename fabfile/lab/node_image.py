"""Builds the node images: a minimal Debian that boots systemd and sshd. One build for each recipe; Docker keeps it.

On Debian and Ubuntu no registry is needed (mmdebstrap, from the machine's apt sources; another release of Debian from
the machine's Debian mirror). Elsewhere Docker builds the same recipe on `debian:12` or `debian:13`.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from ..core.errors import NexusError
from ..edge.artifacts.debian import mirror_sites
from . import debian_packages as packages
from . import releases
from .debian_packages import Say
from .engine import Engine
from .releases import OWN, SUITES

REPOSITORY = "nexus-lab-node"
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "openssh-server", "python3", "iproute2", "nftables", "curl",
    "ca-certificates", "procps", "sudo", "docker.io", "iptables", "busybox-static", "xz-utils", "gzip",
)  # fmt: skip
# From Debian 13 on the client of docker.io is a package of its own. apt installs nothing for it where there is none
_CLIENT = "?exact-name(docker-cli)"
_NODE = Path(__file__).parent / "node"
_IMAGE_FILES = ("setup.sh", "init.sh", "nexus-lab-hostkey.service")
_INIT = '["/usr/local/sbin/nexus-lab-init"]'
_EXCLUDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
_WORK = "/root/nexus-lab"  # in the root file system, during the build


def tag(release: str = OWN) -> str:
    """`nexus-lab-node:HASH`, `nexus-lab-node:debian13-HASH`: of all inputs, so that a new recipe gives a new image."""
    recipe = hashlib.sha256("\0".join((*PACKAGES, _CLIENT, _INIT, *_EXCLUDED)).encode())
    for name in _IMAGE_FILES:
        recipe.update((_NODE / name).read_bytes())
    return f"{REPOSITORY}:{'' if release == OWN else f'debian{release}-'}{recipe.hexdigest()[:12]}"


def release_of(image: str) -> str:
    """The release that `tag` was given; OWN for an image that this version would not build."""
    name, dash, _ = image.removeprefix(f"{REPOSITORY}:").partition("-")
    number = name.removeprefix("debian")
    return number if dash and number in SUITES else OWN


def ensure(engine: Engine, root: Path, say: Say, release: str = OWN) -> str:
    """The tag of the node image. Builds the image if Docker does not have it, in one to two minutes on two cores.

    NoMirror: no apt mirror of this machine has the release.
    """
    wanted = tag(release)
    if engine.run("images", "--quiet", wanted).strip():
        return wanted
    began = time.monotonic()
    name = "node image" if release == OWN else f"node image of Debian {release}"
    say(f"building the {name} (once; about a minute)")
    if shutil.which("mmdebstrap") is None and packages.can_install():
        packages.install(["mmdebstrap"], say)
    machine = packages.os_release()
    if shutil.which("mmdebstrap") and (suite := _apt_suite(machine, release)):
        source = "" if release == OWN else releases.source_line(release, mirror_sites())
        _bootstrap(engine, bootstrap_command(suite, source), wanted, root / "image.log")
    else:
        number = releases.own_number(machine) if release == OWN else release
        _docker_build(engine, wanted, number if number in SUITES else "12")
    say(f"{name} ready in {time.monotonic() - began:.0f} s")
    return wanted


def _apt_suite(machine: Mapping[str, str], release: str) -> str:
    """The suite that mmdebstrap builds here; empty where apt has none of Debian's."""
    if release != OWN:
        return SUITES[release] if machine.get("ID") == "debian" else ""
    return machine.get("VERSION_CODENAME", "") if packages.is_debian_like(machine) else ""


def prune(engine: Engine) -> None:
    """Removes images of older recipes, except those that a container still uses."""
    listed = engine.run("images", "--format", "{{.Repository}}:{{.Tag}}", REPOSITORY).split()
    for old in set(listed) - {tag(release) for release in (OWN, *SUITES)}:
        with contextlib.suppress(NexusError):
            engine.run("rmi", old)


def bootstrap_command(suite: str, source: str = "") -> list[str]:
    """mmdebstrap's command line, which writes the root file system as a tar. Without a `source`: the machine's own."""
    files = " ".join(_IMAGE_FILES)
    hooks = (
        f'mkdir "$1{_WORK}"',
        f'cp {files} "$1{_WORK}/"',
        f'chroot "$1" sh {_WORK}/setup.sh {_WORK}',
        f'rm -r "$1{_WORK}"',
    )
    return [
        "mmdebstrap", "--variant=minbase", "--format=tar", f"--include={','.join(PACKAGES)}", f"--include={_CLIENT}",
        *(f"--dpkgopt=path-exclude={path}" for path in _EXCLUDED),
        *(f"--customize-hook={hook}" for hook in hooks),
        suite, "-", *([source] if source else []),
    ]  # fmt: skip


def dockerfile(number: str = "12") -> str:
    """The same recipe for `docker build`, with the folder node/ as its context."""
    exclude = "\\n".join(f"path-exclude={path}" for path in _EXCLUDED)
    return "\n".join((
        f"FROM debian:{number}",
        f"RUN printf '{exclude}\\n' >/etc/dpkg/dpkg.cfg.d/99-nexus-lab",
        "RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive "
        f"apt-get install -y -qq --no-install-recommends {' '.join(PACKAGES)} '{_CLIENT}' && rm -rf /var/lib/apt/lists/*",
        f"COPY {' '.join(_IMAGE_FILES)} {_WORK}/",
        f"RUN sh {_WORK}/setup.sh {_WORK} && rm -r {_WORK}",
        f"CMD {_INIT}",
        "",
    ))  # fmt: skip


def _bootstrap(engine: Engine, command: list[str], wanted: str, log: Path) -> None:
    with log.open("wb") as log_file:
        source = subprocess.Popen(
            command, cwd=_NODE,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log_file,
        )  # fmt: skip
        try:
            sink = subprocess.run(
                ["docker", "import", "--change", f"CMD {_INIT}", "-"],
                env=engine.env,
                stdin=source.stdout,
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            if source.stdout:
                source.stdout.close()
            failed = source.wait() != 0  # on Ctrl-C or a closed pipe mmdebstrap cleans up and ends by itself
    image = sink.stdout.strip()
    if failed or sink.returncode != 0:
        if image:  # the tar may have ended early, and Docker accepts half a system
            engine.run("rmi", image)
        reason = sink.stderr.strip() if sink.returncode else _reason(log)
        raise NexusError(f"the node image could not be built: {reason}", f"read {log}")
    engine.run("tag", image, wanted)


def _docker_build(engine: Engine, wanted: str, number: str) -> None:
    try:
        engine.run("build", "--tag", wanted, "--file", "-", str(_NODE), stdin=dockerfile(number), timeout=1800)
    except NexusError as fault:
        raise NexusError(
            f"the node image could not be built: {fault.message}",
            f"Docker must be able to pull debian:{number}; as root on Debian or Ubuntu, the lab does without",
        ) from fault


def _reason(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    errors = [line for line in lines if line.startswith("E:")]
    return (errors or lines[-1:] or ["no reason given"])[0]  # the first error causes the later ones
