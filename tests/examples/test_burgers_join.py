"""Workers of the demo on a server that runs already, and one that dies on its way."""

import os
import re
import subprocess
import sys
import threading
from contextlib import ExitStack
from multiprocessing import Value
from pathlib import Path

import pytest
from burgers import worker
from burgers.contestant import Finished, Recipe, Seat
from burgers.memory import Memory
from burgers.network import LOSSES
from burgers.problem import TestGrid
from burgers.server import Server

from concord.errors import SessionInProgress

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("CONCORD_BUILD", ROOT / "build")) / "bin" / "concord-server"
RANKS = range(len(LOSSES))


class Died(Exception):
    pass


class Mortal(Memory):
    """Of a worker that is ended after a step, before it has kept what came of it."""

    def __init__(self, path, last):
        super().__init__(path)
        self._last = last

    def keep(self, step, network, sampler):
        if step == self._last:
            raise Died
        super().keep(step, network, sampler)


class Mailbox(list):
    def send(self, message, /):
        self.append(message)


@pytest.fixture
def start_server(tmp_path):
    """Starts servers; `start_server()` is the address of a new one."""
    with ExitStack() as running:
        yield lambda: running.enter_context(Server(PROGRAM, tmp_path / "server.log")).address


def digest_of(rank, server, recipe, memories):
    """Trains `rank` under one memory after the other; each but the last dies."""
    for memory in memories:
        seat = Seat(recipe, TestGrid.make(), Mailbox(), Value("q", 0))
        try:
            worker.train(seat, server, rank, memory)
        except Died:
            continue
        return next(message.digest for message in seat.messages if isinstance(message, Finished))
    raise AssertionError("the last one died, too")


def digests_of_all(server, recipe, memories):
    digests = {}

    def run(rank):
        digests[rank] = digest_of(rank, server, recipe, memories[rank])

    threads = [threading.Thread(target=run, args=(rank,)) for rank in RANKS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return digests


def test_a_worker_that_died_comes_back_and_all_end_as_if_it_had_not(start_server, tmp_path):
    recipe = Recipe(seed=11, iterations=45)
    undisturbed = digests_of_all(start_server(), recipe, [[None]] * 3)
    memories = [[Memory(tmp_path / f"rank-{rank}.pt")] for rank in RANKS]
    deaths = [Mortal(tmp_path / "rank-1.pt", step) for step in (1, 20)]
    memories[1] = [*deaths, *memories[1]]
    disturbed = digests_of_all(start_server(), recipe, memories)
    assert len(undisturbed) == 3 and len(set(undisturbed.values())) == 1
    assert disturbed == undisturbed


def test_three_programs_end_with_the_same_digest_and_a_second_start_says_it_again(
    start_server, tmp_path
):
    server, recipe = start_server(), Recipe(seed=12, iterations=30)

    def start(rank):
        command = [sys.executable, "-m", "burgers.join", f"--rank={rank}", f"--server={server}"]
        command += ["--seed=12", "--iterations=30", f"--memory={tmp_path}"]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    digests = []
    for process in [start(rank) for rank in RANKS]:
        output = process.communicate(timeout=120)[0]
        assert process.returncode == 0, output
        digests.append(re.search(r"SHA-256 of the parameters ([0-9a-f]{64})$", output, re.M)[1])
    assert len(set(digests)) == 1
    again = digest_of(2, server, recipe, [Memory(tmp_path / "burgers-12-rank-2.pt")])
    assert again == digests[0]
    # One that has lost its memory may not take this run for its own.
    with pytest.raises(SessionInProgress):
        digest_of(0, server, recipe, [None])
