"""How many round trips a step takes: the time of steps over a line that is 20 ms long.

    .venv/bin/python tests/bench/bench_round_trips.py [--round-trip 20] [--steps 30]

The line is the kernel's netem where it has one (in a network namespace of its own, root
only), else a relay of this script that holds every byte back for half the round trip.
Prints medians with and without the line, and their difference in round trips.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import concord
import torch
from concord.session import server_info

sys.path.insert(0, str(Path(__file__).parents[1] / "chaos"))

from job import Server
from relay import Relay

SIZES = (1_000, 10_000, 100_000, 1_000_000)


def step_times(address: str, length: int, steps: int) -> list[float]:
    """Seconds of steps of two losses, after some that open the connection's windows."""
    gradients = torch.randn(2, length, generator=torch.Generator().manual_seed(length))
    times = []
    with concord.Session(address, num_vectors=2) as session:
        for _ in range(steps + 5):
            begin = time.perf_counter()
            session.step(([0, 1], gradients))
            times.append(time.perf_counter() - begin)
        session.delete()
    return times[5:]


@contextlib.contextmanager
def line_to(socket: str, delay: float) -> Iterator[str]:
    """Address of a line to the server on which every byte takes `delay`."""
    relay = Relay(socket, delay)
    try:
        yield relay.address
    finally:
        relay.close()


def has_netem(delay: float) -> bool:
    line = f"ip link set lo up && tc qdisc add dev lo root netem delay {1000 * delay}ms"
    found = subprocess.run(
        ["unshare", "-n", "sh", "-c", line], capture_output=True, check=False
    )
    return found.returncode == 0


def measure(address: str, steps: int) -> dict[int, float]:
    return {n: statistics.median(step_times(address, n, steps)) for n in SIZES}


def in_namespace(delay: float, steps: int) -> dict[int, float]:
    """The same with the kernel's delay: this script again, in a namespace."""
    line = f"ip link set lo up && tc qdisc add dev lo root netem delay {1000 * delay}ms"
    script = f"{line} && exec {sys.executable} {__file__} --measure --steps {steps}"
    told = subprocess.run(
        ["unshare", "-n", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=True,
    )
    return {int(n): seconds for n, seconds in json.loads(told.stdout).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Round trips of a step.")
    parser.add_argument("--round-trip", type=float, default=20, help="milliseconds")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    delay = arguments.round_trip / 2000
    with tempfile.TemporaryDirectory() as directory:
        server = Server(Path(directory))
        server.start()
        near = f"unix:{server.socket}"
        try:
            server_info(near, timeout=20)
            if arguments.measure:
                with line_to(server.socket, 0) as address:
                    print(json.dumps(measure(address, arguments.steps)))
                return
            base = measure(near, arguments.steps)
            if has_netem(delay):
                line, far = "netem", in_namespace(delay, arguments.steps)
            else:
                line = "a relay (the kernel has no netem)"
                with line_to(server.socket, delay) as address:
                    far = measure(address, arguments.steps)
        finally:
            server.stop()
    print(
        f"round trip {arguments.round_trip:g} ms by {line}; medians of {arguments.steps} steps"
    )
    print(f"{'n':>10} {'near ms':>9} {'far ms':>9} {'round trips':>12}")
    for n in SIZES:
        trips = 1000 * (far[n] - base[n]) / arguments.round_trip
        print(f"{n:10} {1000 * base[n]:9.2f} {1000 * far[n]:9.2f} {trips:12.2f}")


if __name__ == "__main__":
    main()
