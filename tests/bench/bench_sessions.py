"""Many workers in one session, many sessions on one server, a small beside a large one.

    .venv/bin/python tests/bench/bench_sessions.py [--seconds 5] [--large 100000000]

Workers are threads of this process, each with a connection of its own over a Unix
socket. Prints steps per second, p50 and p99 of a step, and the server's memory and
threads; at the end the server gets SIGTERM amid the steps, and its exit status is told.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import concord
import torch
from concord.errors import ConcordError

sys.path.insert(0, str(Path(__file__).parents[1] / "chaos"))

from job import Server

SMALL = 10_000


def percentile(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(share * len(times)))]


def figures(times: list[float]) -> str:
    return f"p50 {1000 * percentile(times, 0.5):.2f} ms, p99 {1000 * percentile(times, 0.99):.2f} ms"


def held(pid: int) -> str:
    status = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return f"server {int(status['VmRSS'].split()[0]) / 1024:.0f} MiB, {int(status['Threads'])} threads"


class Stepping:
    """Steps of one session on a thread, until `stop`."""

    def __init__(
        self, session: concord.Session, rows: dict[int, torch.Tensor], deadline: float
    ) -> None:
        self.times: list[float] = []
        self.ends = False  # The server is about to go.
        self.session = session
        self._rows = rows
        self._deadline = deadline
        self._stopped = threading.Event()
        session.connect(timeout=120)
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.is_set():
            begin = time.perf_counter()
            try:
                self.session.step(self._rows, deadline=self._deadline)
            except ConcordError:
                if self.ends:
                    return
                raise
            self.times.append(time.perf_counter() - begin)

    def stop(self) -> None:
        self._stopped.set()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> None:
        self._thread.join()


def worker(
    address: str,
    name: str,
    length: int,
    rank: int = 0,
    ranks: int = 1,
    deadline: float = 6,
) -> Stepping:
    session = concord.Session(
        address, name, rank, ranks, num_vectors=max(2, ranks), num_parameters=length
    )
    rows = torch.randn(2, length) if ranks == 1 else torch.randn(1, length)
    return Stepping(session, {rank + i: row for i, row in enumerate(rows)}, deadline)


@contextlib.contextmanager
def running(workers: list[Stepping]) -> Iterator[None]:
    for one in workers:
        one.start()
    try:
        yield
    finally:
        for one in workers:
            one.stop()


def stopped(server: Server, workers: list[Stepping]) -> str:
    """SIGTERM amid steps. The workers notice it, and are not to try for long."""
    for one in workers:
        one.ends = True
    begin = time.perf_counter()
    server.stop()
    return f"SIGTERM amid the steps: exit 0 after {time.perf_counter() - begin:.2f} s"


@contextlib.contextmanager
def serving(*options: str) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as directory:
        server = Server(Path(directory), *options)
        server.start()
        yield server


def one_session(ranks: int, seconds: float) -> None:
    with serving() as server:
        workers = [
            worker(f"unix:{server.socket}", "one", SMALL, rank, ranks)
            for rank in range(ranks)
        ]
        with running(workers):
            time.sleep(seconds)
            told = held(server.pid)
            end = stopped(server, workers)
        for one in workers:
            one.join()
        steps = len(workers[0].times)
        print(f"{ranks} workers, one session: {steps / seconds:.0f} steps/s, "
              f"{figures(workers[0].times)}, {told}; {end}")  # fmt: skip


def many_sessions(count: int, seconds: float) -> None:
    with serving(f"--max-sessions={count}") as server:
        workers = [
            worker(f"unix:{server.socket}", f"s-{i}", SMALL) for i in range(count)
        ]
        with running(workers):
            time.sleep(seconds)
            told = held(server.pid)
            end = stopped(server, workers)
        for one in workers:
            one.join()
        times = [duration for one in workers for duration in one.times]
        print(f"{count} sessions: {len(times) / seconds:.0f} steps/s, {figures(times)}, "
              f"{told}; {end}")  # fmt: skip


def small_beside_large(large: int, seconds: float) -> None:
    with serving() as server:
        address = f"unix:{server.socket}"
        small = worker(address, "small", SMALL)
        with running([small]):
            time.sleep(seconds)
        small.join()
        again = worker(address, "again", SMALL)
        big = worker(address, "large", large, deadline=60)
        big.start()
        with running([again]):
            while len(big.times) < 3 and big.is_alive():
                time.sleep(0.2)
        again.join()
        told = held(server.pid)
        end = stopped(server, [big])
        big.join()
        ratio = percentile(again.times, 0.99) / percentile(small.times, 0.99)
        print(f"n = {SMALL} alone: {figures(small.times)}; beside n = {large}: "
              f"{figures(again.times)}; p99 {ratio:.1f} x (at most 5); {told}; {end}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Many workers, many sessions.")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--large", type=int, default=100_000_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    one_session(arguments.workers, arguments.seconds)
    many_sessions(arguments.sessions, arguments.seconds)
    small_beside_large(arguments.large, arguments.seconds)


if __name__ == "__main__":
    main()
