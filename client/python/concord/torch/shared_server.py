"""One server for all ranks of a machine, found or started once.

    with SharedServer() as server:                # On every rank.
        session = server.session("heat", num_vectors=3)
        cf = ConflictFree(network, session)
        ...

A server that is named, by `address` on rank 0 or there by CONCORD_SERVER, is used by all
ranks. Otherwise the lowest rank of each machine starts `concord-server` on a Unix socket
and tells the others through the process group: one server a machine, never one a rank.
Each has a session of its machine's ranks, and as their gradients have been averaged over
all, every machine's server finds the same update. per="job" refuses more than one
machine, as a server that other machines reach is a matter of addresses and certificates
(docs/SECURITY.md): start that one beforehand, and name it.

A started server ends with the object (`close`, `with`, the end of the program), and where
the rank that started it dies, with that. Sessions are in its memory alone: what has to
outlive the job is `session.state_dict()`'s.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Optional

from concord import _programs
from concord._options import resolve_server
from concord.session import Session
from concord.torch._rank_group import RankGroup

__all__ = ["SharedServer"]

_STOP = 40.0  # Seconds for a server to end by itself; its open rounds have 30.

# Becomes the server, which is ended by the kernel when the process that started it is:
# PR_SET_PDEATHSIG. The parent may be gone before that was said.
_LAUNCH = """
import ctypes, os, signal, sys
parent = int(sys.argv[1])
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != parent:
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class SharedServer:
    """A server's address, and this rank's place among those that use it.

    Args:
        process_group: The ranks; None: all of the job, or this process alone.
        per: "node": a server for each machine; "job": one, on one machine.
        address: A server that runs already.
        options: More flags for servers that are started, as `--threads=2`.

    Collective, like `close`. `with` closes; after an exception only this rank's own.
    """

    def __init__(
        self,
        process_group: Any = None,
        *,
        per: Literal["node", "job"] = "node",
        address: Optional[str] = None,
        options: Sequence[str] = (),
    ) -> None:
        if per not in ("node", "job"):
            raise ValueError(f"per = {per!r}; accepted: node, job")
        self._group = RankGroup.of(None, process_group)
        self.started = False
        self._stop: Any = None
        found = self._group.hand_out(resolve_server(address))
        if found is not None:
            self.address: str = found
            self.rank, self.num_workers = self._group.rank, self._group.size
            return
        machines = self._group.gather_objects(_machine())
        if per == "job" and len(set(machines)) > 1:
            raise ValueError(
                f"per = 'job' with ranks on {len(set(machines))} machines; accepted: one machine, "
                "or a server that was started beforehand and is named by address="
            )
        members = [rank for rank, machine in enumerate(machines) if machine == _machine()]
        self.rank, self.num_workers = members.index(self._group.rank), len(members)
        told: Any = None
        if self.rank == 0:
            try:
                told = self._start(options)
            except (OSError, RuntimeError) as error:
                told = error
        answers = self._group.gather_objects(told)
        failed = next((a for a in answers if isinstance(a, Exception)), None)
        if failed is not None:
            self._end()
            raise failed
        self.address = answers[members[0]]

    def _start(self, options: Sequence[str]) -> str:
        """This machine's server; its address."""
        program = _programs.path_of("concord-server")
        directory = tempfile.mkdtemp(prefix="concord-")
        address = f"unix:{directory}/server"
        log = Path(directory, "log")
        command = [str(os.getpid()), str(program), f"--listen={address}", *options]
        try:
            with log.open("wb") as output:
                process = subprocess.Popen(
                    [sys.executable, "-S", "-c", _LAUNCH, *command],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=output,
                    start_new_session=True,  # Ctrl-C is for the ranks.
                )
            assert process.stdout is not None
            with process.stdout as said:
                ready = said.readline().startswith(b"listening on ")
            if not ready:
                status = process.wait(timeout=_STOP)
                text = log.read_text(errors="replace").strip()
                raise RuntimeError(f"concord-server ended with status {status}:\n{text}")
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        self.started = True
        self._stop = weakref.finalize(self, _stop, process, directory)
        return address

    def session(self, name: str, **options: Any) -> Session:
        """A Session of the ranks that use this server. `options`: those of concord.Session
        but server, name, rank and num_workers."""
        return Session(self.address, name, rank=self.rank, num_workers=self.num_workers, **options)

    def close(self) -> None:
        """Ends a server that was started, once every rank has come here. Idempotent."""
        group, self._group = self._group, RankGroup(None)
        try:
            group.barrier()
        finally:
            self._end()

    def _end(self) -> None:
        if self._stop is not None:
            self._stop()

    def __enter__(self) -> SharedServer:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        value: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if kind is None:
            self.close()
        else:
            # Other ranks may never come.
            self._end()


def _machine() -> str:
    """The same for all processes of one machine, and of no other: the kernel's boot."""
    name = os.uname().nodename
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{name} {boot.read_text().strip() if boot.exists() else ''}"


def _stop(process: subprocess.Popen[bytes], directory: str) -> None:
    process.terminate()
    try:
        process.wait(timeout=_STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    shutil.rmtree(directory, ignore_errors=True)
