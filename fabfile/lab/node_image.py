"""Builds the node image: a minimal Debian that boots systemd and sshd. One build for each recipe; Docker keeps it.

On Debian and Ubuntu no registry is needed (mmdebstrap, from the machine's apt sources). Elsewhere Docker builds the
same recipe on `debian:12`.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import time
from pathlib import Path

from ..core.errors import NexusError
from . import debian_packages as packages
from .debian_packages import Say
from .engine import Engine

REPOSITORY = "nexus-lab-node"
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "openssh-server", "python3", "iproute2", "nftables", "curl",
    "ca-certificates", "procps", "sudo", "docker.io", "iptables", "busybox-static", "xz-utils", "gzip",
)  # fmt: skip
_NODE = Path(__file__).parent / "node"
_IMAGE_FILES = ("setup.sh", "init.sh", "nexus-lab-hostkey.service")
_INIT = '["/usr/local/sbin/nexus-lab-init"]'
_EXCLUDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
_WORK = "/root/nexus-lab"  # in the root file system, during the build


def tag() -> str:
    """`nexus-lab-node:HASH`, with a hash of all inputs of the image: a new recipe gives a new image."""
    recipe = hashlib.sha256("\0".join((*PACKAGES, _INIT, *_EXCLUDED)).encode())
    for name in _IMAGE_FILES:
        recipe.update((_NODE / name).read_bytes())
    return f"{REPOSITORY}:{recipe.hexdigest()[:12]}"


def ensure(engine: Engine, root: Path, say: Say) -> str:
    """The tag of the node image. Builds the image if Docker does not have it, in under a minute on two cores."""
    wanted = tag()
    if engine.run("images", "--quiet", wanted).strip():
        return wanted
    began = time.monotonic()
    say("building the node image (once; about a minute)")
    if shutil.which("mmdebstrap") is None and packages.can_install():
        packages.install(["mmdebstrap"], say)
    suite = packages.os_release().get("VERSION_CODENAME")
    if suite and shutil.which("mmdebstrap") and packages.is_debian_like(packages.os_release()):
        _bootstrap(engine, suite, wanted, root / "image.log")
    else:
        _docker_build(engine, wanted)
    say(f"node image ready in {time.monotonic() - began:.0f} s")
    return wanted


def prune(engine: Engine) -> None:
    """Removes images of older recipes, except those that a container still uses."""
    listed = engine.run("images", "--format", "{{.Repository}}:{{.Tag}}", REPOSITORY).split()
    for old in set(listed) - {tag()}:
        with contextlib.suppress(NexusError):
            engine.run("rmi", old)


def bootstrap_command(suite: str) -> list[str]:
    """mmdebstrap's command line. It builds from the machine's apt sources and writes the root file system as a tar."""
    files = " ".join(_IMAGE_FILES)
    hooks = (
        f'mkdir "$1{_WORK}"',
        f'cp {files} "$1{_WORK}/"',
        f'chroot "$1" sh {_WORK}/setup.sh {_WORK}',
        f'rm -r "$1{_WORK}"',
    )
    return [
        "mmdebstrap", "--variant=minbase", "--format=tar", f"--include={','.join(PACKAGES)}",
        *(f"--dpkgopt=path-exclude={path}" for path in _EXCLUDED),
        *(f"--customize-hook={hook}" for hook in hooks),
        suite, "-",
    ]  # fmt: skip


def dockerfile() -> str:
    """The same recipe for `docker build`, with the folder node/ as its context."""
    exclude = "\\n".join(f"path-exclude={path}" for path in _EXCLUDED)
    return "\n".join((
        "FROM debian:12",
        f"RUN printf '{exclude}\\n' >/etc/dpkg/dpkg.cfg.d/99-nexus-lab",
        "RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive "
        f"apt-get install -y -qq --no-install-recommends {' '.join(PACKAGES)} && rm -rf /var/lib/apt/lists/*",
        f"COPY {' '.join(_IMAGE_FILES)} {_WORK}/",
        f"RUN sh {_WORK}/setup.sh {_WORK} && rm -r {_WORK}",
        f"CMD {_INIT}",
        "",
    ))  # fmt: skip


def _bootstrap(engine: Engine, suite: str, wanted: str, log: Path) -> None:
    with log.open("wb") as log_file:
        source = subprocess.Popen(
            bootstrap_command(suite), cwd=_NODE,
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


def _docker_build(engine: Engine, wanted: str) -> None:
    try:
        engine.run("build", "--tag", wanted, "--file", "-", str(_NODE), stdin=dockerfile(), timeout=1800)
    except NexusError as fault:
        raise NexusError(
            f"the node image could not be built: {fault.message}",
            "Docker must be able to pull debian:12; as root on Debian or Ubuntu, the lab does without",
        ) from fault


def _reason(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    errors = [line for line in lines if line.startswith("E:")]
    return (errors or lines[-1:] or ["no reason given"])[0]  # the first error causes the later ones
