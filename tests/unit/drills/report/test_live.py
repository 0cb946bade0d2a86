"""The live view: lines that stay, lines that move on a terminal only, and never a reason for a drill to end."""

from __future__ import annotations

import io
import os
import pty
import sys
import threading
import time
from contextlib import suppress

import pytest

from fabfile.drills.report import live as module
from fabfile.drills.report.live import LiveView


def test_a_pipe_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, in order, with the seconds; nothing on stdout, which is for data."""
    with LiveView("kill-service on api on w1", on_terminal=False) as view:
        view.moment(0.0, "phase", "steady state")
        view.moment(6.14, "fault", "kill-service")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "kill-service on api on w1",
        "    0.0 s phase      steady state",
        "    6.1 s fault      kill-service",
    ]


def test_requests_are_told_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A log is no film: each ten seconds, at the first failure, and at the end."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with LiveView("x", on_terminal=False) as view:
        view.moment(0.0, "phase", "steady state")
        for number in range(1, 251):
            now[0] += 0.125
            view.requests(number, max(0, number - 150), None if number < 3 else 12.0)
    assert [line for line in capsys.readouterr().err.splitlines() if "requests" in line] == [
        "    0.1 s requests   1 sent, 0 failed",
        "   10.1 s requests   81 sent, 0 failed, half within 12 ms",
        "   18.9 s requests   151 sent, 1 failed, half within 12 ms",
        "   28.9 s requests   231 sent, 81 failed, half within 12 ms",
        "   31.2 s requests   250 sent, 100 failed, half within 12 ms",
    ]


def test_foreign_text_moves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """An escape sequence in a host's answer is shown, not obeyed; a line stays one line."""
    with LiveView("a\x1b[2Jb", on_terminal=False) as view:
        view.moment(1.0, "note", "x\x1b]0;title\x07\ny")
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert err.count("\n") == 2


class Gone(io.StringIO):
    """A pipe that nobody reads."""

    def write(self, _: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("on_terminal", [False, True])
def test_a_view_that_cannot_be_shown_ends_nothing(monkeypatch: pytest.MonkeyPatch, on_terminal: bool) -> None:
    """The drill goes on, for it has something to heal."""
    closed = io.StringIO()
    closed.close()
    for stream in (Gone(), closed):
        monkeypatch.setattr(sys, "stderr", stream)
        with LiveView("x", on_terminal=on_terminal) as view:
            view.moment(0.0, "phase", "steady state")
            view.requests(1, 1, None)
            view.moment(1.0, "fault", "x")


def test_a_fault_of_the_drill_passes_through(capsys: pytest.CaptureFixture[str]) -> None:
    """The view hides no error."""
    with pytest.raises(KeyboardInterrupt), LiveView("x", on_terminal=False):
        raise KeyboardInterrupt


def test_threads_do_not_mix_their_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """The prober and the load tell at once."""
    with LiveView("x", on_terminal=False) as view:
        def work(name: str) -> None:
            for number in range(200):
                view.moment(float(number), "event", name * 50)
                view.requests(number, 0, 1.0)

        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    told = [line.split()[-1] for line in capsys.readouterr().err.splitlines() if " event " in line]
    assert sorted(told) == sorted([name * 50 for name in "abcd"] * 200)


def on_a_terminal(act, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a real terminal of 60 columns receives on stderr."""
    main, other = pty.openpty()
    found: list[bytes] = []

    def read() -> None:
        with suppress(OSError):
            while chunk := os.read(main, 65536):
                found.append(chunk)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    for name, value in {"COLUMNS": "60", "LINES": "24", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    with os.fdopen(other, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        act()
        terminal.flush()
        time.sleep(0.1)
    reader.join(2)
    os.close(main)
    return b"".join(found).decode()


def test_a_terminal_shows_phase_and_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeline stays, what moves is erased at the end, the last count stays, and the cursor comes back."""

    def act() -> None:
        with LiveView("kill-service", on_terminal=True) as view:
            view.moment(0.0, "phase", "steady state")
            view.requests(120, 3, 11.0)
            time.sleep(0.5)
            view.moment(0.5, "fault", "x" * 100)

    text = on_a_terminal(act, monkeypatch)
    assert "steady state" in text
    assert "120 sent, 3 failed, half within 11 ms" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert text.split("\x1b[?25h")[-1].count("120 sent") == 1


def test_what_moves_never_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A phase longer than the line is cut: a wrapped line would leave its traces."""

    def act() -> None:
        with LiveView("x", on_terminal=True) as view:
            view.moment(0.0, "phase", "y" * 300)
            time.sleep(0.5)

    moving = [part for part in on_a_terminal(act, monkeypatch).replace("\r", "\n").split("\n") if " now " in part]
    assert moving
    assert all(part.count("y") < 60 for part in moving)
