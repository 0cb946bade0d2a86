"""Carries out the plan of one host: one exec; the payload is a tar that streams in on the same channel."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ...core.errors import ApplyError, HostError
from ...core.state.plan import HostPlan, actions
from ...core.state.scripts import script
from ..ssh.connection import Remote
from ..ssh.exec_channel import Limit, command_fault

LIMIT = Limit(silence=180, whole=7200)  # an upload over a slow line takes its time
_CHUNK = 1 << 17
_ENDS = 90  # seconds in which the host may end a change by itself, after the connection was lost

# Unpacks into a new folder and runs apply.sh there. A payload that breaks off leaves nothing behind.
_RECEIVE = """set -eu; umask 077; s=/var/lib/nexus; mkdir -p $s; chmod 0700 $s
find $s -maxdepth 1 -name 'in.*' -mmin +10 -exec rm -rf {} +
d=$(mktemp -d $s/in.XXXXXX)
trap 'rm -rf "$d"' EXIT
trap 'exit 129' HUP INT TERM PIPE
tar -xmf - -C "$d" || {
  rm -rf "$d"
  echo 'failed the payload broke off (connection or disk); nothing was changed'
  exit 3
}
trap - EXIT
exec sh "$d/apply.sh" "$d" ''
"""


def apply_plan(remote: Remote, plan: HostPlan, who: str, on_step: Callable[[str], None]) -> None:
    """Applies the plan. `who` goes into the host's history; `on_step` is called with each step as the host takes it.

    ApplyError, with the host's log, when the host did not finish.
    """
    output: list[str] = []

    def on_line(line: str) -> None:
        output.append(line)
        word, _, rest = line.partition(" ")
        if word == "step":
            on_step(rest)

    result = remote.run(["sh", "-c", _RECEIVE], payload(plan, who), on_line=on_line, limit=LIMIT)
    failed = [line[7:] for line in output if line.startswith("failed ")]
    if result.code == 0 and output and output[-1] == f"done {plan.wanted.id}":
        return
    log = "\n".join(line[4:] for line in output if line.startswith("log "))
    if failed:
        raise ApplyError(remote.host.name, failed[-1], _hint(remote, output), log or result.err.strip())
    if result.code == -1:
        what = f"the connection was lost while the change was made; {_what_is_left(remote, plan)}"
        raise ApplyError(remote.host.name, what, "deploy again: it finishes what is left", log)
    fault = command_fault(remote.host, result)
    raise ApplyError(remote.host.name, fault.message.partition(": ")[2], fault.hint, log)


def _what_is_left(remote: Remote, plan: HostPlan) -> str:
    """What the host says over a new connection, once its apply.sh has ended; nothing is done there again."""
    try:
        answer = remote.script(script("generation"), "", str(_ENDS), timeout=_ENDS + 30, repeat=True).out.decode()
    except HostError as error:
        return f"what is there now is not known ({error.message})"
    found = dict(line.split(" ", 1) for line in answer.splitlines() if " " in line)
    if "running" in found:
        return f"the host is still at it after {_ENDS} s, and goes on by itself"
    if "pending" in found:
        return "the host did not finish it: some of its files are new, some are old"
    if found.get("current") == plan.wanted.id:
        return "the host went on by itself and has the new generation"
    return "the host has changed nothing: it has the generation of before"


def _hint(remote: Remote, output: list[str]) -> str:
    if any(line.startswith("step put") or line.startswith("step drop") for line in output):
        return f"mend the cause and deploy again, or go back: inv rollback --hosts {remote.host.name}"
    return "mend the cause and deploy again"


def payload(plan: HostPlan, who: str) -> Iterator[bytes]:
    """The tar as chunks. The list of actions comes last; its last line says that the payload is complete."""
    for file in plan.missing_blobs():
        if file.content is not None:
            yield from _member(f"blobs/{file.sha256}", file.content)
        elif file.packed is not None:
            yield from _packed(f"blobs/{file.sha256}.gz", file.packed)
    yield from _member("firewall-undo.sh", script("firewall-undo").encode())
    yield from _member("apply.sh", script("apply").encode())
    yield from _member("manifest", plan.wanted.text().encode())
    yield from _member("actions", actions(plan, who).encode())
    yield bytes(2 * tarfile.BLOCKSIZE)


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info.tobuf()


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)


def _member(name: str, content: bytes) -> Iterator[bytes]:
    yield _header(name, len(content)) + content + _padding(len(content))


def _packed(name: str, path: Path) -> Iterator[bytes]:
    size = path.stat().st_size
    yield _header(name, size)
    with path.open("rb") as reader:
        while chunk := reader.read(_CHUNK):
            yield chunk
    yield _padding(size)


def upload_size(plan: HostPlan) -> int:
    """The size of the payload's files in bytes, for the progress line."""
    return sum(
        len(f.content) if f.content is not None else f.packed.stat().st_size if f.packed else 0
        for f in plan.missing_blobs()
    )
