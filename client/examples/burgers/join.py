"""One rank as a program of its own, for a server that runs already.

    python -m burgers.join --server=trainer:50051 --rank=0

One process for each of the ranks 0, 1 and 2, on any machines; all of them with the
same seed and iterations. Ends with the digest of its parameters, which is the same
on all of them. deploy/compose.yaml runs it so.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import torch
from concord.errors import ConcordError

from burgers import worker
from burgers.contestant import Finished, Recipe, Report, Seat
from burgers.memory import Memory
from burgers.network import LOSSES
from burgers.problem import LOSS_NAMES, TestGrid


class Printer:
    """Takes a worker's reports, a line each."""

    def __init__(self, rank: int, iterations: int) -> None:
        self._rank = rank
        self._iterations = iterations

    def send(self, message: Any, /) -> None:
        if isinstance(message, Report):
            losses = ", ".join(
                f"{name} {loss:.2e}" for name, loss in zip(LOSS_NAMES, message.losses)
            )
            self.say(
                f"{message.iteration} of {self._iterations}, MSE {message.error:.5f}, {losses}"
            )
        elif isinstance(message, Finished):
            self.say(f"done, SHA-256 of the parameters {message.digest}")

    def say(self, text: str) -> None:
        print(f"rank {self._rank}: {text}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="burgers.join",
        description="One of the three workers that learn Burgers' equation through a "
        "concord-server.",
    )
    parser.add_argument("--server", help="HOST:PORT or unix:/path; default CONCORD_SERVER")
    parser.add_argument("--rank", type=int, required=True, choices=range(len(LOSSES)))
    parser.add_argument("--seed", type=int, default=1, help="default: 1")
    parser.add_argument("--iterations", type=int, default=10_000, help="default: 10000")
    parser.add_argument(
        "--memory",
        type=Path,
        help="a folder, by which a worker that is started again goes on where it was",
    )
    arguments = parser.parse_args()
    if arguments.iterations < len(LOSSES):
        parser.error(f"--iterations must be at least {len(LOSSES)}: one per loss")
    if arguments.memory and not arguments.memory.is_dir():
        parser.error(f"--memory: there is no folder {arguments.memory}")
    return arguments


def main() -> int:
    arguments = _arguments()
    torch.set_num_threads(1)
    rank, recipe = arguments.rank, Recipe(arguments.seed, arguments.iterations)
    printer = Printer(rank, recipe.iterations)
    memory = None
    if arguments.memory:
        memory = Memory(arguments.memory / f"burgers-{recipe.seed}-rank-{rank}.pt")
    seat = Seat(recipe, TestGrid.make(), printer, multiprocessing.Value("q", 0))
    printer.say(f"learns the {LOSS_NAMES[rank]} loss")
    try:
        worker.train(seat, arguments.server, rank, memory)
    except ConcordError as error:
        print(f"rank {rank}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
