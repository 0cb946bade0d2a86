"""A command that is told to end puts back what it holds: with real processes and signals."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fabfile.cli.console.signals import Terminated, signals_deferred, signals_raised
from fabfile.core.resources import ROOT

SERVICES = "services:\n  web: {command: run, port: 8080, replicas: 1}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A cluster of one host, whose SSH port takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as silent:
        host = f"{{ssh: 127.0.0.1, port: {silent.getsockname()[1]}, roles: [manager, worker]}}"
        (tmp_path / "hosts.yml").write_text(f"cluster: c\nhosts:\n  m1: {host}\n")
        (tmp_path / "services.yml").write_text(SERVICES)
        yield tmp_path


def _heed_all() -> None:
    """As in a terminal: under nohup, or in the background of a script, the tests' own process ignores some."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def started(folder: Path, file: str, *words: str) -> subprocess.Popen[bytes]:
    """The command, once it has changed the file."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("NEXUS_")}
    env |= {"PYTHONPATH": str(ROOT), "HOME": str(folder)}
    before = (folder / file).read_text()
    argv = [sys.executable, "-m", "fabfile.cli.program", *words]
    run = subprocess.Popen(argv, cwd=folder, env=env, stderr=subprocess.PIPE, preexec_fn=_heed_all)
    until = time.monotonic() + 60
    while (folder / file).read_text() == before:
        assert run.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    return run


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize(
    ("file", "words"), [
        ("services.yml", ("service.scale", "web", "3", "--yes")),
        ("hosts.yml", ("add-worker", "localhost", "--port", "{port}")),
    ],
)  # fmt: skip
def test_files_are_as_they_were(folder: Path, number: signal.Signals, file: str, words: tuple[str, ...]) -> None:
    """Midway, SIGTERM, a closed terminal and Ctrl-C put the file back, and that is told; the shell's exit code."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as other:
        old = (folder / file).read_bytes()
        run = started(folder, file, *(word.format(port=other.getsockname()[1]) for word in words))
        run.send_signal(number)
        said = run.communicate(timeout=60)[1].decode()
    assert (folder / file).read_bytes() == old
    assert run.returncode == 128 + number
    assert f"{file} is as it was\n" in said
    assert "Traceback" not in said


def test_a_terminal_that_is_gone_hinders_nothing(folder: Path) -> None:
    """When stderr takes no words any more, the file is put back all the same."""
    run = started(folder, "services.yml", "service.scale", "web", "3", "--yes")
    assert run.stderr
    run.stderr.close()
    run.send_signal(signal.SIGHUP)
    run.send_signal(signal.SIGHUP)
    assert run.wait(60) in (128 + signal.SIGHUP, 128 + signal.SIGPIPE)
    assert (folder / "services.yml").read_text() == SERVICES


def test_a_signal_is_raised_once_and_handlers_come_back() -> None:
    """The first one raises; later ones do not break into what is put back; afterwards all is as before."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)

    def told_to_end_again_and_again() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGHUP)

    with pytest.raises(Terminated) as ended, signals_raised():
        told_to_end_again_and_again()
    assert ended.value.code == 143
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)) == before


def test_an_ignored_signal_stays_ignored() -> None:
    """`nohup inv deploy` outlives its terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_raised():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_deferred_signal_comes_at_the_end() -> None:
    """What must not be cut in two is not; the signal is not lost, either."""
    done = []

    def interrupted() -> None:
        with signals_deferred():
            signal.raise_signal(signal.SIGTERM)
            done.append(1)
        done.append(2)

    with pytest.raises(Terminated), signals_raised():
        interrupted()
    assert done == [1]
