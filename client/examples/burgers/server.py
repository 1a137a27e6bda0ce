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

import concord

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
        try:
            concord.server_info(self.address, timeout=_START)
        except BaseException:
            self._stop()
            print(self._log.read_text(errors="replace"))
            raise
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        value: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        status = self._stop()
        if kind is None and status != 0:
            raise RuntimeError(f"concord-server ended with status {status}; see {self._log}")

    def _stop(self) -> int:
        """Asks it to drain, then takes what it has used."""
        process = self.process
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + _STOP
            # Not Popen.wait: the resource usage comes with the status.
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            while pid == 0:
                if time.monotonic() > deadline:
                    process.kill()
                time.sleep(0.01)
                pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            process.returncode = os.waitstatus_to_exitcode(status)
            self.cpu = usage.ru_utime + usage.ru_stime
        self._directory.cleanup()
        return process.returncode
