"""Kills, cuts, and what is left of the job: bit for bit what an undisturbed one gives.

    .venv/bin/python tests/chaos/chaos.py            # 1000 steps, some minutes
    .venv/bin/python tests/chaos/chaos.py --steps 120 --deaths 1 --kills 4 ...

Three workers of one loss each, a server with a state directory, and a relay between
them. The server is killed (SIGKILL) at each phase of a step, `--deaths` times each, and
at `--kills` random moments; workers are killed, and connections cut, at random moments.
The momenta, the second momentum, the small numbers, and every worker's sequence of
applied updates are compared with those of a run in which nothing happens. One gradient
in seven steps is infinite, so that its step is skipped.
"""

from __future__ import annotations

import argparse
import collections
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Optional

import torch

sys.path.insert(0, str(Path(__file__).parent))

from job import Job, Server, state
from relay import Relay
from worker import overflows

PHASES = ("receive", "ingest", "solve", "commit", "switch", "trailer", "checkpoint")
OPTIONS = {
    "durability": "step",
    "checkpoint_steps": 5,
    "checkpoints_kept": 2,
    "on_nonfinite": "skip",
}
RANKS = 3


def undisturbed(directory: Path, steps: int, length: int) -> tuple[list[list[str]], dict[str, Any]]:
    server = Server(directory)
    server.start()
    job = Job(f"unix:{server.socket}", RANKS, length, steps, OPTIONS)
    try:
        applied = job.finish()
        return applied, state(f"unix:{server.socket}")
    finally:
        job.abandon()
        server.stop()


class Disturber:
    """Lets things happen to a job, in an order drawn from a seed."""

    def __init__(self, server: Server, relay: Relay, job: Job, seed: int) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self._server = server
        self._relay = relay
        self._job = job
        self._chance = random.Random(seed)
        self._lives: list[Optional[str]] = []

    def run(self, deaths: int, kills: int, worker_kills: int, cuts: int, between: int) -> None:
        self._lives = [f"{phase}" for phase in PHASES for _ in range(deaths)] + [None] * kills
        self._chance.shuffle(self._lives)
        events = ["worker"] * worker_kills + ["cut"] * cuts + ["server"] * len(self._lives)
        self._chance.shuffle(events)
        self._life: Optional[str] = None
        for event in events:
            self._pass_time(self._chance.randint(0, between))
            if event == "worker":
                worker = self._chance.choice(self._job.workers)
                worker.kill()
                worker.start()
                self.counts["worker killed"] += 1
            elif event == "cut":
                while not self._relay.cut(self._chance):
                    self._pass_time(1)
                self.counts["connection cut"] += 1
            elif self._lives:
                self._begin_life(self._lives.pop())
                # A life with a phase to die in ends there, and the next event of a
                # server finds another one.
                if self._life is None:
                    self._pass_time(self._chance.randint(0, between))
                    self._pause()
                    self._end_life()
        while self._life is not None:
            self._pass_time(1)

    def _begin_life(self, phase: Optional[str]) -> None:
        while self._life is not None:  # It has not yet died where it should.
            self._pass_time(1)
        if phase is None:
            return
        self._server.kill()
        self.counts["restarted to die"] += 1
        self._life = phase
        self._server.start(f"{phase}:{self._chance.randint(1, 4)}")

    def _end_life(self) -> None:
        self._server.kill()
        self.counts["server killed at a random moment"] += 1
        self._server.start()

    def _pause(self) -> None:
        """A part of a step's time."""
        end = time.monotonic() + self._chance.uniform(0, 0.03)
        self._job.await_steps(10, until=lambda: time.monotonic() > end)

    def _pass_time(self, steps: int) -> None:
        self._job.await_steps(steps, until=self._server.is_dead)
        if self._server.is_dead():
            assert self._life is not None, "the server died by itself"
            self._server.kill()
            self.counts[f"server died at {self._life}"] += 1
            self._life = None
            self._server.start()


def disturbed(
    directory: Path,
    steps: int,
    length: int,
    seed: int,
    shared_memory: bool,
    plan: dict[str, int],
) -> tuple[list[list[str]], dict[str, Any], collections.Counter[str]]:
    server = Server(directory, shared_memory=shared_memory)
    server.start()
    relay = Relay(server.socket)
    job = Job(relay.address, RANKS, length, steps, OPTIONS)
    try:
        disturber = Disturber(server, relay, job, seed)
        disturber.run(**plan)
        disturber.counts["steps left when all had happened"] = steps - job.done()
        applied = job.finish()
        disturber.counts["tries of steps"] = sum(worker.attempts for worker in job.workers)
        return applied, state(f"unix:{server.socket}"), disturber.counts
    finally:
        job.abandon()
        relay.close()
        server.stop()


def differences(
    calm: tuple[list[list[str]], dict[str, Any]], found: tuple[list[list[str]], dict[str, Any]]
) -> list[str]:
    """Names of what is not the same, bit for bit."""
    named = [
        f"the updates that rank {r} applied" for r in range(RANKS) if calm[0][r] != found[0][r]
    ]
    if calm[1].keys() != found[1].keys():
        named.append(f"the parts of the state: {sorted(calm[1].keys() ^ found[1].keys())}")
    for name in calm[1].keys() & found[1].keys():
        a, b = calm[1][name], found[1][name]
        if a.dtype != b.dtype or a.numpy().tobytes() != b.numpy().tobytes():
            named.append(name)
    return named


def run(
    directory: Path,
    steps: int,
    length: int,
    seed: int,
    shared_memory: bool = False,
    **plan: int,
) -> collections.Counter[str]:
    """Raises AssertionError where anything differs; else what has happened.

    With `shared_memory` the relay has nothing to cut: `plan` must have no cuts.
    """
    (directory / "calm").mkdir()
    (directory / "disturbed").mkdir()
    calm = undisturbed(directory / "calm", steps, length)
    *found, counts = disturbed(directory / "disturbed", steps, length, seed, shared_memory, plan)
    different = differences(calm, (found[0], found[1]))
    assert not different, f"seed {seed}: not the same: {different}"
    assert counts["steps left when all had happened"] > 0, "the job was over too early"
    vectors = [name for name, tensor in calm[1].items() if tensor.numel() == length]
    counted = sum(not overflows(1, step) for step in range(1, steps + 1))
    assert len(vectors) >= RANKS + 1 and calm[1]["committed_step"].item() == counted
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description="A job through deaths and cuts.")
    for name, default in {
        "steps": 1000,
        "length": 200_003,
        "seed": 1,
        "deaths": 5,
        "kills": 30,
        "worker-kills": 20,
        "cuts": 50,
        "between": 5,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument(
        "--shared-memory", action="store_true", help="instead of a connection that is cut"
    )
    arguments = vars(parser.parse_args())
    if arguments["shared_memory"]:
        arguments["cuts"] = 0
    begin = time.monotonic()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as directory:
        counts = run(Path(directory), **arguments)
    for what, count in sorted(counts.items()):
        print(f"{count:6}  {what}")
    print(
        f"{RANKS} workers, {arguments['steps']} steps of {arguments['length']} parameters, seed "
        f"{arguments['seed']}: all bits as undisturbed ({time.monotonic() - begin:.0f} s)"
    )


if __name__ == "__main__":
    main()
