"""What travels in a step whose parameters are sharded, beside the ways it could go.

    .venv/bin/python tests/bench/bench_sharded.py [--steps 200]

Ranks with gloo in a network namespace of their own (Linux, unshare), where its counters
tell every byte, TCP's headers and acknowledgements included. Per step and rank: the sharded
operator's exchange, and an all-reduce of the losses' whole gradients, as data parallelism
has it; bytes sent, with what the formulas of docs/scale.md say of the payload, and the
median time. As a table.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from concord.momentum_operator import PseudoMomentumOperator

sys.path.insert(0, str(Path(__file__).parents[1] / "python"))

from rank_processes import Ranks

LOSSES = (3, 8, 32)
RANKS = (2, 3, 4)
SIZES = (10_000, 1_000_000)


def sent_bytes() -> int:
    """Of the namespace, which has but the loopback device."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == "lo":
            return int(counters.split()[8])
    raise RuntimeError("no loopback device in /proc/net/dev")


def measured(step: Any, steps: int) -> tuple[float, float]:
    """Bytes sent by a rank in a step, and seconds."""
    for _ in range(3):
        step()
    dist.barrier()
    begin = sent_bytes()
    dist.barrier()
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    dist.barrier()
    sent = sent_bytes() - begin
    return sent / steps / dist.get_world_size(), statistics.median(times)


def sharded(rank: int, size: int, m: int, n: int, steps: int) -> tuple[float, float]:
    """`n` parameters in equal parts, all losses in each step."""
    part = n * (rank + 1) // size - n * rank // size
    grads = torch.randn(m, part, generator=torch.Generator().manual_seed(rank))
    operator = PseudoMomentumOperator(m, server="", process_group=dist.group.WORLD)
    return measured(lambda: operator.calculate_gradient(grads), steps)


def gradients(rank: int, size: int, m: int, n: int, steps: int) -> tuple[float, float]:
    """Every loss's gradient is all-reduced."""
    grads = torch.randn(m, n)

    def step() -> None:
        for gradient in grads:
            dist.all_reduce(gradient)

    return measured(step, steps)


def ring(size: int, payload: float) -> float:
    """Bytes that a rank sends in a ring all-reduce."""
    return 2 * (size - 1) / size * payload


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    steps = parser.parse_args().steps
    if "CONCORD_BENCH_NAMESPACE" not in os.environ:
        line = 'ip link set lo up && exec "$0" "$@"'
        os.environ["CONCORD_BENCH_NAMESPACE"] = "own"
        unshare = ["unshare", "--map-root-user", "--net", "bash", "-c", line]
        os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv])
    ranks = Ranks()
    print("| ranks | m | n | what | payload by the formula | sent, measured | time |")
    print("|---|---|---|---|---|---|---|")
    try:
        for size in RANKS:
            for m in LOSSES:
                for n in SIZES:
                    row(
                        ranks,
                        "K",
                        sharded,
                        size,
                        m,
                        n,
                        8 * (m * (m + 1) // 2 + 9),
                        steps,
                    )
            for n in SIZES:
                row(ranks, "gradients", gradients, size, 3, n, 4 * 3 * n, 20)
    finally:
        ranks.stop()


def row(
    ranks: Ranks,
    what: str,
    run: Any,
    size: int,
    m: int,
    n: int,
    payload: int,
    steps: int,
) -> None:
    sent, seconds = ranks.run(run, size, m, n, steps)[0]
    print(
        f"| {size} | {m} | {n} | {what} | {ring(size, payload):.0f} | {sent:.0f} "
        f"| {1e3 * seconds:.2f} ms |",
        flush=True,
    )


if __name__ == "__main__":
    main()
