"""What the processes of a contest share with the one that watches them."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import Synchronized
from typing import Any, Optional, Protocol

import numpy as np
import torch

from burgers.network import Network
from burgers.problem import TestGrid


@dataclass(frozen=True)
class Recipe:
    """One training, the same for every method."""

    seed: int
    iterations: int  # Of M-ConFIG. Adam gets the CPU time that these take.
    reports: int = 50  # How often the error is taken on the way.


@dataclass(frozen=True)
class Report:
    """From a training process, `reports` times and at its end."""

    iteration: int
    error: float  # Mean squared error on the test grid.
    losses: list[float]
    cosines: list[float] = field(default_factory=list)  # Between losses 0-1, 0-2, 1-2.


@dataclass(frozen=True)
class Finished:
    """The last message of a process."""

    cpu: float  # Seconds of user and system time, of its whole life.
    digest: str  # Of the parameters.
    prediction: Optional[np.ndarray] = None  # On the test grid.


@dataclass(frozen=True)
class Failed:
    traceback: str


class Messages(Protocol):
    """Where reports go: the pipe to the watcher, or whoever else takes them."""

    def send(self, obj: Any, /) -> None: ...


@dataclass(frozen=True)
class Seat:
    """A process's place in the contest."""

    recipe: Recipe
    grid: TestGrid
    messages: Messages
    iteration: Synchronized  # Written by the process.


def cosine_triple(cosines: torch.Tensor) -> list[float]:
    """Between losses 0-1, 0-2 and 1-2; empty before every loss has been seen."""
    if cosines.shape != (3, 3):
        return []
    return [float(cosines[0, 1]), float(cosines[0, 2]), float(cosines[1, 2])]


def error(network: Network, grid: TestGrid) -> float:
    with torch.no_grad():
        return grid.error(network(grid.inputs))


def finish(seat: Seat, network: Network, with_prediction: bool = True) -> None:
    with torch.no_grad():
        prediction = network(seat.grid.inputs).numpy() if with_prediction else None
    digest = hashlib.sha256(network.flat.numpy().tobytes()).hexdigest()
    seat.messages.send(Finished(time.process_time(), digest, prediction))
