"""What a session's steps found, for anyone who wants to look.

    for told in concord.watch("127.0.0.1:7070", "heat"):
        print(told.result.step, told.result.cosines, told.ranks)

The latest value wins: who looks slowly misses steps (`told.steps`), and no step
waits for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

from concord import _native, _process
from concord._options import resolve_server
from concord.results import StepResult, step_result

__all__ = ["StepDiagnostics", "StepWatch", "watch"]


@dataclass(frozen=True)
class StepDiagnostics:
    """One committed step, as all its ranks have found it."""

    result: StepResult  # Without update; `timings` has solve and commit.
    epoch: int
    # Who contributed: {"receive": seconds, "wait": seconds}, from its header to its
    # last byte and from then to the solve. Who was late has waited least.
    ranks: Mapping[int, Mapping[str, float]]
    commit_time: float  # Seconds since 1970, on the server; 0: not known.
    steps: int  # Steps committed since the last one told, this one included.


class StepWatch:
    """Iterates over a session's steps, from the last committed one on.

    Ends with the exception that says why: `SessionNotFound` when the session was
    deleted, `UnavailableError` when the server has gone. Used by one thread at a time.
    """

    def __init__(
        self,
        server: Optional[str] = None,
        name: str = "",
        *,
        uid: str = "",
        timeout: Optional[float] = None,
    ) -> None:
        address = resolve_server(server)
        if address is None:
            raise ValueError("a watch needs a server, by server= or CONCORD_SERVER")
        self.name = f"sessions/{name.removeprefix('sessions/')}"
        self._timeout = math.inf if timeout is None else timeout
        self._native: Optional[_native.StepWatch] = _native.StepWatch(address, self.name, uid)
        self._generation = _process.generation

    def __iter__(self) -> StepWatch:
        return self

    def __next__(self) -> StepDiagnostics:
        if self._native is None:
            raise StopIteration
        if self._generation != _process.generation:
            raise RuntimeError(
                "this watch belongs to the parent process; a forked child needs one of its own"
            )
        told = self._native.next(self._timeout)
        told["result"] = step_result(told["result"], None)
        return StepDiagnostics(**told)

    def close(self) -> None:
        """Stops looking. Idempotent."""
        self._native = None

    def __enter__(self) -> StepWatch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def watch(
    server: Optional[str] = None, name: str = "", *, timeout: Optional[float] = None
) -> StepWatch:
    """Follows a session of a server.

    Args:
        server: "HOST:PORT" or "unix:/path"; default CONCORD_SERVER.
        name: The session's id.
        timeout: Most seconds to wait for a next step, then `DeadlineExceeded`; None:
            for ever.
    """
    return StepWatch(server, name, timeout=timeout)
