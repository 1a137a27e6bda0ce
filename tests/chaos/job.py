"""The processes of a job: a server that may die, and workers that may."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Optional

import concord

ROOT = Path(__file__).resolve().parents[2]
SERVER = Path(os.environ.get("CONCORD_BUILD", ROOT / "build")) / "bin" / "concord-server"


class Server:
    """A concord-server on a Unix socket, with a state directory; dies and comes back."""

    def __init__(self, directory: Path, *options: str, shared_memory: bool = False) -> None:
        self._options = (f"--shared-memory={'on' if shared_memory else 'off'}", *options)
        self.socket = str(directory / "socket")
        self._state = directory / "state"
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._log = open(directory / "server.log", "ab")  # noqa: SIM115

    def start(self, crash_at: str = "") -> None:
        command = [
            str(SERVER),
            f"--listen=unix:{self.socket}",
            "--device=cpu",
            "--threads=1",
            f"--state-dir={self._state}",
            *self._options,
        ]
        if crash_at:
            command.append(f"--crash-at={crash_at}")
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def is_dead(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None

    def kill(self) -> None:
        """kill -9, unless it is dead already."""
        assert self._process is not None
        self._process.kill()
        self.wait(-signal.SIGKILL)

    def wait(self, status: int) -> None:
        assert self._process is not None
        found = self._process.wait(timeout=60)
        if found != status:
            raise RuntimeError(f"the server ended with {found} instead of {status}")

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self.wait(0)
        self._log.close()


class Worker:
    """One rank; what it has applied so far, over all its processes."""

    def __init__(self, arguments: list[str], rank: int, last: int, progress: threading.Condition):
        self.updates: list[str] = []
        self.attempts = 0
        self._arguments = arguments
        self._rank = rank
        self._last = last
        self._progress = progress
        self._error: Optional[str] = None
        self.start()

    def start(self) -> None:
        server, name, ranks, length, options = self._arguments
        sizes = [self._rank, ranks, length, self._last, len(self.updates)]
        script = str(Path(__file__).with_name("worker.py"))
        self._process = subprocess.Popen(
            [sys.executable, script, server, name, *map(str, sizes), options],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,))
        self._reader.start()

    def _read(self, lines: Any) -> None:
        for line in lines:
            step, told, attempts = line.split()
            with self._progress:
                if int(step) != len(self.updates) + 1:
                    self._error = f"rank {self._rank} applied {step} after {len(self.updates)}"
                self.updates.append(told)
                self.attempts += int(attempts)
                self._progress.notify_all()
        lines.close()
        with self._progress:
            self._progress.notify_all()

    def check(self) -> None:
        """Raises where the worker has failed."""
        status = self._process.poll()
        if self._error is not None:
            raise RuntimeError(self._error)
        if status is not None and status not in (0, -signal.SIGKILL):
            raise RuntimeError(f"rank {self._rank} ended with {status}")

    def kill(self) -> None:
        self._process.kill()
        self.join()

    def join(self) -> None:
        self._process.wait(timeout=600)
        self._reader.join()
        self.check()


class Job:
    """Ranks of one loss each, in one session."""

    def __init__(self, server: str, ranks: int, length: int, steps: int, options: dict[str, Any]):
        self.steps = steps
        self.progress = threading.Condition()
        arguments = [server, "job", str(ranks), str(length), json.dumps(options)]
        self.workers = [Worker(arguments, rank, steps, self.progress) for rank in range(ranks)]

    def done(self) -> int:
        """The last step that all have applied."""
        return min(len(worker.updates) for worker in self.workers)

    def await_steps(self, count: int, until: Any = lambda: False) -> None:
        """Waits for `count` more steps, the end of the job, or `until()`."""
        goal = min(self.done() + count, self.steps)
        deadline = time.monotonic() + 300
        with self.progress:
            while self.done() < goal and not until():
                for worker in self.workers:
                    worker.check()
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no progress after step {self.done()}")
                self.progress.wait(0.005)

    def finish(self) -> list[list[str]]:
        """What every worker has applied, to the last step."""
        for worker in self.workers:
            worker.join()
        return [worker.updates for worker in self.workers]

    def abandon(self) -> None:
        """After a failure: leaves no process behind."""
        for worker in self.workers:
            worker._process.kill()
            worker._process.wait()
            worker._reader.join()


def state(server: str) -> dict[str, Any]:
    """The session's vectors and numbers."""
    with concord.Session(server, "job") as session:
        found = session.state_dict()
    found.pop("metadata")
    return found
