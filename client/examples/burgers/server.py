"""A concord-server of one's own on a Unix socket, for as long as a `with` lasts."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Optional

from concord.errors import ConcordError
from concord.session import server_info

_START = 20.0  # Seconds.
_STOP = 20.0

REPOSITORY = Path(__file__).resolve().parents[3]
DEFAULT_PROGRAM = REPOSITORY / "build" / "bin" / "concord-server"


class Server:
    """`address` is for clients; `cpu` is complete once it has stopped."""

    def __init__(self, program: Path, log: Path) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="concord-")
        self._log = log
        self.address = f"unix:{self._directory.name}/concord.sock"
        self.cpu = 0.0
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [str(program), f"--listen={self.address}", "--device=cpu", "--threads=1"],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is ours to handle.
            )

    def __enter__(self) -> Server:
        deadline = time.monotonic() + _START
        while True:
            try:
                server_info(self.address, timeout=1.0)
                return self
            except BaseException as error:
                waiting = isinstance(error, ConcordError) and time.monotonic() < deadline
                if waiting and not self._ended():
                    continue
                self._stop()
                if not isinstance(error, ConcordError):
                    raise
                log = self._log.read_text(errors="replace")
                raise RuntimeError(
                    f"concord-server did not start (status {self.process.returncode}):\n{log}"
                ) from error

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        value: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        status = self._stop()
        if kind is None and status != 0:
            raise RuntimeError(f"concord-server ended with status {status}; see {self._log}")

    def _ended(self) -> bool:
        """Whether the process is gone; takes what it has used. Not Popen.poll:
        the resource usage comes with the status."""
        if self.process.returncode is None:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid != 0:
                self.process.returncode = os.waitstatus_to_exitcode(status)
                self.cpu = usage.ru_utime + usage.ru_stime
        return self.process.returncode is not None

    def _stop(self) -> int:
        """Asks it to drain."""
        if not self._ended():
            self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _STOP
        while not self._ended():
            if time.monotonic() > deadline:
                self.process.kill()
            time.sleep(0.01)
        self._directory.cleanup()
        return self.process.returncode
