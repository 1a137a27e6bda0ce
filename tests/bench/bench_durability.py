"""What durability costs beside the step itself: a restart, and checkpoints.

    .venv/bin/python tests/bench/bench_durability.py [--directory DIR] [--turns 6]

Restart: a session with about 1 GB of state, its server killed (SIGKILL) and started
again; the time to the join of a worker, and to the committed update in its hands.
Checkpoints: a session of 1e7 parameters and three losses, blocks of steps with a
checkpoint at their begin and without, in turns.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import concord
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "chaos"))

from job import Server

LOSSES = 3


def restart(directory: Path, length: int) -> None:
    server = Server(directory)
    server.start()
    address = f"unix:{server.socket}"
    gradient = torch.randn(length)
    options = {"num_vectors": LOSSES, "max_vectors_per_step": 1, "durability": "step"}
    session = concord.Session(address, "large", **options)
    for step in range(LOSSES + 1):
        told = session.step({step % LOSSES: gradient})
    session.close()
    server.kill()
    held = sum(
        file.stat().st_size for file in directory.rglob("state") if file.is_file()
    )

    begin = time.perf_counter()
    server.start()
    again = concord.Session(
        address, "large", num_parameters=length, resume_step=told.step - 1, **options
    )
    again.connect(timeout=60)
    joined = time.perf_counter() - begin
    found = again.step({})
    handed_out = time.perf_counter() - begin
    assert found.repeated and torch.equal(found.update, told.update)
    again.delete()
    server.stop()
    print(
        f"restart with {held / 1e9:.2f} GB of state: joined after {joined:.2f} s (at most 2), "
        f"committed update of {4e-9 * length:.2f} GB in hand after {handed_out:.2f} s"
    )


def checkpoints(directory: Path, length: int, turns: int, steps: int) -> None:
    server = Server(directory)
    server.start()
    session = concord.Session(
        f"unix:{server.socket}", "steps", num_vectors=LOSSES, max_vectors_per_step=1
    )
    gradients = torch.randn(LOSSES, length)

    def block() -> list[float]:
        times = []
        for step in range(steps):
            begin = time.perf_counter()
            session.step({step % LOSSES: gradients[step % LOSSES]})
            times.append(1000 * (time.perf_counter() - begin))
        return times

    block()
    without: list[float] = []
    beside: list[float] = []
    taken: list[float] = []

    def take() -> None:
        begin = time.perf_counter()
        session.checkpoint()
        taken.append(time.perf_counter() - begin)

    for _ in range(turns):
        without += block()
        taker = threading.Thread(target=take)
        taker.start()
        beside += block()
        taker.join()
    session.delete()
    server.stop()
    median = statistics.median(beside) / statistics.median(without)
    slowest = max(beside) / max(without)
    print(
        f"n = {length}, {turns} x {steps} steps: {statistics.median(without):.1f} ms, slowest "
        f"{max(without):.1f}; with a checkpoint ({statistics.median(taken):.2f} s) at the begin of "
        f"each {steps}: {statistics.median(beside):.1f} ms, slowest {max(beside):.1f}; ratios "
        f"{median:.3f} (at most 1.15), {slowest:.2f} (at most 2)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description="A restart, and checkpoints beside steps."
    )
    parser.add_argument("--directory", default=tempfile.gettempdir())
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--steps", type=int, default=30, help="of a block")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for measure in (
        lambda folder: restart(folder, 35_000_000),
        lambda folder: checkpoints(
            folder, 10_000_000, arguments.turns, arguments.steps
        ),
    ):
        with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
            measure(Path(directory))


if __name__ == "__main__":
    main()
