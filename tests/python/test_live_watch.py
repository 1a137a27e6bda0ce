"""`concord watch` in a terminal: a real one (a pty), a real server that dies."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
import torch

import concord

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "chaos"))

from job import Server  # noqa: E402

CONCORD = Path(os.environ.get("CONCORD_BUILD", ROOT / "build")) / "bin" / "concord"
M, N = 3, 50
LATEST = 30.0  # Seconds; on a busy machine.


class Terminal:
    """A pty of that size, with `concord watch` in it."""

    def __init__(self, where, name, columns, rows, *flags):
        self._end, self._own = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(self._own)
        self.process = subprocess.Popen(
            [CONCORD, "watch", name, f"--server={where}", *flags],
            stdin=self._own,
            stdout=self._own,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.output = b""

    def resize(self, columns, rows):
        fcntl.ioctl(self._own, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys):
        os.write(self._end, keys)

    def read_until(self, pattern):
        """What has come since the last call, up to the first place that fits."""
        deadline = time.monotonic() + LATEST
        while True:
            # Colours stand between the words.
            bare = re.sub(rb"\x1b\[[0-9;]*m", b"", self.output).decode(errors="ignore")
            if re.search(pattern, bare):
                self.output = b""
                return bare
            left = deadline - time.monotonic()
            assert left > 0, f"no {pattern!r} in {bare[-3000:]!r}"
            if select.select([self._end], [], [], min(left, 0.1))[0]:
                self.output += os.read(self._end, 65536)

    def end(self):
        """The exit code, once the screen is left."""
        deadline = time.monotonic() + LATEST
        rest = b""
        while self.process.poll() is None and time.monotonic() < deadline:
            if select.select([self._end], [], [], 0.05)[0]:
                rest += os.read(self._end, 65536)
        while select.select([self._end], [], [], 0)[0]:
            rest += os.read(self._end, 65536)
        self.left_screen = b"\x1b[?25h\x1b[?1049l" in rest
        return self.process.wait(timeout=LATEST)

    def settings(self):
        return termios.tcgetattr(self._own)

    def close(self):
        self.process.kill()
        self.process.communicate()
        os.close(self._end)
        os.close(self._own)


@pytest.fixture
def server(tmp_path):
    one = Server(tmp_path)
    one.start()
    yield one
    one.stop()


@pytest.fixture
def session(server):
    return concord.Session(f"unix:{server.socket}", "live", num_vectors=M, num_parameters=N)


def take(session, step):
    generator = torch.Generator().manual_seed(step)
    return session.step(dict(enumerate(torch.randn(M, N, generator=generator))))


@pytest.fixture
def open_terminal(server):
    terminals = []

    def start(columns=80, rows=24, *flags, name="live"):
        terminals.append(Terminal(f"unix:{server.socket}", name, columns, rows, *flags))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


@pytest.mark.parametrize("keys", [b"q", b"\x03", b"\x04"])
def test_a_key_ends_it_and_the_terminal_is_as_it_was(open_terminal, session, keys):
    take(session, 1)
    terminal = open_terminal()
    shown = terminal.read_until(r"step 1\b[\s\S]*q quits")
    assert "sessions/live" in shown and "conflict-free" in shown
    assert terminal.settings() != terminal.before
    terminal.press(keys)
    assert terminal.end() == 0
    assert terminal.left_screen and terminal.settings() == terminal.before


def test_a_signal_leaves_the_terminal_as_it_was(open_terminal, session):
    take(session, 1)
    terminal = open_terminal()
    terminal.read_until(r"q quits")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.end() == 0
    assert terminal.left_screen and terminal.settings() == terminal.before


def test_steps_appear_as_they_are_committed(open_terminal, session):
    take(session, 1)
    terminal = open_terminal()
    terminal.read_until(r"step 1\b")
    take(session, 2)
    terminal.read_until(r"step 2\b")
    take(session, 3)
    assert "worst pair" in terminal.read_until(r"step 3\b[\s\S]*q quits")


def test_another_size_is_another_picture(open_terminal, session):
    take(session, 1)
    terminal = open_terminal(40, 10)
    assert "cosines between" not in terminal.read_until(r"q quits")
    terminal.resize(200, 50)
    os.kill(terminal.process.pid, signal.SIGWINCH)
    terminal.read_until(r"cosines between losses")


def test_it_outlives_the_servers_death(open_terminal, server, session):
    take(session, 1)
    terminal = open_terminal()
    terminal.read_until(r"conflict-free")
    server.kill()
    terminal.read_until(r"gone for \d")
    server.start()
    take(session, 2)
    terminal.read_until(r"step 2\b[^\n]*[\r\n]+conflict-free")
    terminal.press(b"q")
    assert terminal.end() == 0


def test_a_session_that_is_not_there_is_said_and_leaves_the_terminal(open_terminal):
    terminal = open_terminal(name="nobody")
    assert terminal.end() == 3
    assert terminal.settings() == terminal.before
    assert b"nobody" in terminal.process.stderr.read()


def test_lines_are_to_be_had_in_a_terminal_too(open_terminal, session):
    take(session, 1)
    terminal = open_terminal(80, 24, "--lines")
    assert "\x1b[?1049h" not in terminal.read_until(r"step 1 ")
