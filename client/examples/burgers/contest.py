"""Starts the sides of one seed, watches them and keeps their CPU time equal.

Processes are forked from one that has PyTorch loaded (a fork server): what is
counted is the training, from the first to the last instruction of each process.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any, Callable, Optional

import torch

from burgers import baselines, worker
from burgers.contestant import Failed, Finished, Recipe, Report, Seat
from burgers.network import LOSSES
from burgers.problem import TestGrid
from burgers.server import Server

_POLL = 0.1  # Seconds between two looks at the processes.
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sample:
    """One point of a side's history."""

    cpu: float
    report: Report


@dataclass
class Side:
    """One method: what it has used and reached so far, and in the end."""

    name: str
    history: list[Sample] = field(default_factory=list)
    iteration: int = 0
    cpu: float = 0.0  # Seconds, all its processes.
    wall: float = 0.0
    done: bool = False
    digests: list[str] = field(default_factory=list)
    prediction: Optional[torch.Tensor] = None

    @property
    def error(self) -> float:
        """The last one taken, never the best."""
        return self.history[-1].report.error


CONCORD = "Concord, 3 workers"
ADAM = "Adam on the sum"
EMBEDDED = "Concord, in-process"


def _main(function: Callable[..., None], seat: Seat, *arguments: Any) -> None:
    """Of every training process: reports a failure in place of a silent end."""
    torch.set_num_threads(1)
    os.environ["CONCORD_THREADS"] = "1"
    try:
        function(seat, *arguments)
    except BaseException:
        import traceback

        seat.messages.send(Failed(traceback.format_exc()))
        raise


def _cpu_of(pid: int) -> float:
    """Seconds of user and system time of a running process (to 10 ms)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@dataclass
class _Member:
    """A training process, as the watcher sees it."""

    process: BaseProcess
    messages: Connection
    iteration: Synchronized
    cpu: float = 0.0
    finished: bool = False

    def used(self) -> float:
        if not self.finished:
            self.cpu = max(self.cpu, _cpu_of(self.process.pid or 0))
        return self.cpu


class Contest:
    """One seed."""

    def __init__(self, recipe: Recipe, grid: TestGrid) -> None:
        self._recipe = recipe
        self._grid = grid
        self._on_change: Callable[[], None] = lambda: None
        self._context = multiprocessing.get_context("forkserver")
        # torch.optim loads the last one at its first step, a second of CPU time.
        self._context.set_forkserver_preload(
            ["burgers.worker", "burgers.baselines", "torch._dynamo"]
        )
        self.sides = {name: Side(name) for name in (CONCORD, ADAM, EMBEDDED)}

    def run(self, program: Path, log: Path, on_change: Callable[[], None]) -> None:
        """The workers with their server and Adam side by side; the in-process one follows.

        `on_change` is called about ten times a second, for a display.
        """
        self._on_change = on_change
        budget = self._context.Value("d", 0.0)
        budget_is_final = self._context.Value("b", 0)
        with self._processes() as start:
            with Server(program, log) as server:
                workers = [start(worker.train, server.address, rank) for rank in range(len(LOSSES))]
                adam = [start(baselines.train_adam, budget, budget_is_final)]
                concord_side, adam_side = self.sides[CONCORD], self.sides[ADAM]
                begin = time.monotonic()
                while not concord_side.done:
                    self._watch(concord_side, workers, begin, _cpu_of(server.process.pid))
                    self._watch(adam_side, adam, begin)
                    if concord_side.iteration >= min(50, self._recipe.iterations):
                        share = concord_side.iteration / self._recipe.iterations
                        budget.value = concord_side.cpu / share
                    self._pause(workers + adam)
                budget.value = concord_side.cpu
                budget_is_final.value = 1
            # The server's own account, its end included.
            concord_side.cpu = sum(member.cpu for member in workers) + server.cpu
            if len(set(concord_side.digests)) != 1:
                raise RuntimeError(f"the replicas differ: {concord_side.digests}")
            # A core is free again, while Adam uses up its time.
            embedded_side = self.sides[EMBEDDED]
            alone = [start(baselines.train_embedded)]
            embedded_begin = time.monotonic()
            while not (adam_side.done and embedded_side.done):
                self._watch(adam_side, adam, begin)
                self._watch(embedded_side, alone, embedded_begin)
                self._pause(adam + alone)
        self._on_change()

    @contextmanager
    def _processes(self) -> Iterator[Callable[..., _Member]]:
        """Yields a starter of training processes; none is left at the end."""
        members: list[_Member] = []

        def start(function: Callable[..., None], *arguments: Any) -> _Member:
            mine, theirs = self._context.Pipe(duplex=False)
            iteration = self._context.Value("q", 0, lock=True)
            seat = Seat(self._recipe, self._grid, theirs, iteration)
            process = self._context.Process(target=_main, args=(function, seat, *arguments))
            process.start()
            theirs.close()
            members.append(_Member(process, mine, iteration))
            return members[-1]

        try:
            yield start
            for member in members:
                member.process.join()
        finally:
            for member in members:
                member.process.kill()
                member.process.join()
                member.messages.close()

    def _watch(
        self, side: Side, members: list[_Member], begin: float, server_cpu: float = 0.0
    ) -> None:
        """Takes what a side's processes have to say."""
        if side.done:
            return
        side.iteration = max(member.iteration.value for member in members)
        side.cpu = sum(member.used() for member in members) + server_cpu
        side.wall = time.monotonic() - begin
        for member in members:
            while not member.finished and member.messages.poll():
                try:
                    message = member.messages.recv()
                except EOFError:
                    raise RuntimeError(
                        f"a process of {side.name!r} ended with {member.process.exitcode}"
                    ) from None
                if isinstance(message, Failed):
                    raise RuntimeError(f"a process of {side.name!r} failed:\n{message.traceback}")
                if isinstance(message, Report):
                    side.history.append(Sample(side.cpu, message))
                elif isinstance(message, Finished):
                    member.finished, member.cpu = True, message.cpu
                    side.digests.append(message.digest)
                    if message.prediction is not None:
                        side.prediction = torch.from_numpy(message.prediction)
        if all(member.finished for member in members):
            side.cpu = sum(member.cpu for member in members) + server_cpu
            side.iteration = max(member.iteration.value for member in members)
            side.done = True

    def _pause(self, members: list[_Member]) -> None:
        self._on_change()
        wait([m.messages for m in members if not m.finished], timeout=_POLL)
        time.sleep(0.02)
