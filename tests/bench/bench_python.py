"""What a step of M-ConFIG costs from Python: Concord embedded and over TCP, beside
conflictfree and the frozen baseline gram_torch.py, all in this process but the
server, one thread each.

    python tests/bench/bench_python.py [--json=FILE] [--baselines=DIR] [--n=10000,…] [--device=cuda]

One of three losses is updated per step. The contenders are measured in turns
(A B C D A B C D …); a figure is the median of its turns, each of which is the
median of its steps; a factor is the median over the turns. The baselines' folder
may also be named by CONCORD_BASELINES; without it gram_torch is left out, and
without conflictfree installed that one is. On a GPU all tensors are there, the
servers' sessions too, and a step ends when the device has nothing left to do.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

THREADS = 1
os.environ["CONCORD_THREADS"] = str(THREADS)
os.environ["OMP_NUM_THREADS"] = str(THREADS)

import torch

ROOT = Path(__file__).resolve().parents[2]
LOSSES = 3
UNTIMED_STEPS = 1

# How many times faster than a baseline a step over TCP is to be, by n.
TARGETS = {
    "conflictfree": {10**4: 1.0, 10**5: 1.0, 10**6: 1.0, 10**7: 12.0},
    "gram_torch": {10**4: 1.0, 10**7: 1.0},
}

Step = Callable[[int, torch.Tensor], torch.Tensor]


def steps_of_a_turn(n: int) -> int:
    return max(3, min(200, 10**7 // n))


@contextlib.contextmanager
def running_server(
    program: Path, *, shared_memory: bool = False, device: str = "cpu"
) -> Iterator[str]:
    """A server of its own on a free port, ended with the block."""
    process = subprocess.Popen(
        [
            program,
            "--listen=127.0.0.1:0",
            f"--threads={THREADS}",
            f"--device={device}",
            f"--shared-memory={'on' if shared_memory else 'off'}",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said = []
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            found = re.search(r"127\.0\.0\.1:([1-9]\d*)", line)
            if found:
                # A full pipe would stop the server in the middle of a line.
                reader = threading.Thread(target=said.extend, args=(process.stdout,))
                reader.start()
                yield found.group(0)
                break
        else:
            raise RuntimeError(f"{program} ended without an address:\n{''.join(said)}")
    finally:
        process.terminate()
        process.wait(timeout=30)


def load_gram_torch(folder: str | None) -> Any:
    if not folder:
        return None
    spec = importlib.util.spec_from_file_location(
        "gram_torch", Path(folder) / "gram_torch.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def contenders(
    n: int, servers: dict[str, str], gram_torch: Any, device: str
) -> dict[str, Step]:
    """Fresh operators, by name."""
    from concord.momentum_operator import PseudoMomentumOperator

    steps: dict[str, Step] = {
        "embedded": PseudoMomentumOperator(
            LOSSES, server="", max_vectors_per_step=1
        ).calculate_gradient
    }
    for name, server in servers.items():
        steps[name] = PseudoMomentumOperator(
            LOSSES, server=server, max_vectors_per_step=1
        ).calculate_gradient
    if gram_torch is not None:
        with torch.device(device):
            steps["gram_torch"] = gram_torch.GramMomentum(LOSSES, n).step
    with contextlib.suppress(ImportError):
        from conflictfree.momentum_operator import PseudoMomentumOperator as Peer

        steps["conflictfree"] = Peer(num_vectors=LOSSES).calculate_gradient
    return steps


def turn(step: Step, gradients: torch.Tensor, reps: int) -> float:
    """Median milliseconds of a step."""
    times = []
    for k in range(-UNTIMED_STEPS, reps):
        index = k % LOSSES
        start = time.perf_counter()
        update = step(index, gradients[index])
        if gradients.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
        del update
    return statistics.median(times[UNTIMED_STEPS:]) * 1e3


def measure(
    n: int,
    turns: int,
    reps: int,
    servers: dict[str, str],
    gram_torch: Any,
    device: str,
) -> dict[str, Any]:
    torch.manual_seed(0)
    gradients = torch.randn(LOSSES, n).to(device)
    steps = contenders(n, servers, gram_torch, device)
    figures: dict[str, list[float]] = {name: [] for name in steps}
    failed: dict[str, str] = {}

    def run(name: str, work: Callable[[], Any]) -> Any:
        """`work` of a contender; a peer that cannot do it is left out, and named."""
        try:
            return work()
        except RuntimeError as error:
            if name != "conflictfree":
                raise
            failed[name] = str(error).splitlines()[0]
            figures.pop(name)
            return None

    def warm(step: Step) -> None:
        for index in range(LOSSES):
            step(index, gradients[index])

    for name, step in steps.items():
        run(name, functools.partial(warm, step))
    for _ in range(turns):
        for name in list(figures):
            found = run(name, functools.partial(turn, steps[name], gradients, reps))
            if found is not None:
                figures[name].append(found)
    row: dict[str, Any] = {"n": n, "m": LOSSES, "steps_of_a_turn": reps}
    if failed:
        row["failed"] = failed
    for name, values in figures.items():
        row[name] = {
            "median": statistics.median(values),
            "low": min(values),
            "high": max(values),
        }
    row["factors"] = {
        f"{peer}/{ours}": statistics.median(
            theirs / own for theirs, own in zip(figures[peer], figures[ours])
        )
        for peer in ("conflictfree", "gram_torch")
        for ours in ("embedded", "tcp", "shared")
        if peer in figures and ours in figures
    }
    row["targets"] = [
        {
            "factor": f"{peer}/tcp",
            "at_least": by_n[n],
            "kept": row["factors"][f"{peer}/tcp"] >= by_n[n],
        }
        for peer, by_n in TARGETS.items()
        if device == "cpu" and n in by_n and f"{peer}/tcp" in row["factors"]
    ]
    return row


def table(rows: list[dict[str, Any]]) -> str:
    names = [
        name
        for name in ("embedded", "tcp", "gram_torch", "conflictfree")
        if name in rows[0]
    ]
    pairs = list(rows[0]["factors"])
    lines = [
        f"m={LOSSES}, fp32, {THREADS} thread each; milliseconds: median [lowest, highest] of turns",
        f"{'n':>9}" + "".join(f"{name:>28}" for name in names)
        + "".join(f"{pair:>24}" for pair in pairs),
    ]  # fmt: skip
    for row in rows:
        line = f"{row['n']:>9}"
        for name in names:
            figure = row.get(name)
            if figure is None:
                line += f"{'failed':>28}"
                continue
            cell = f"{figure['median']:.4g} [{figure['low']:.4g}, {figure['high']:.4g}]"
            line += f"{cell:>28}"
        line += "".join(
            f"{row['factors'][pair]:>23.2f}x"
            if pair in row["factors"]
            else f"{'-':>24}"
            for pair in pairs
        )
        lines.append(line)
        for name, message in row.get("failed", {}).items():
            lines.append(f"{'':>9}  {name} failed: {message}")
        for target in row["targets"]:
            verdict = "kept" if target["kept"] else "MISSED"
            lines.append(
                f"{'':>9}  {target['factor']} >= {target['at_least']:g}: {verdict}"
            )
    return "\n".join(lines)


def common_parser(doc: str, turns: int) -> argparse.ArgumentParser:
    """What every comparison in turns takes."""
    parser = argparse.ArgumentParser(description=doc.split("\n\n")[0])
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--baselines", default=os.environ.get("CONCORD_BASELINES"),
                        help="folder with gram_torch.py (default: CONCORD_BASELINES)")  # fmt: skip
    parser.add_argument("--turns", type=int, default=turns)
    parser.add_argument(
        "--reps", type=int, default=0, help="timed steps of a turn (0: by size)"
    )
    parser.add_argument("--server-program", type=Path,
                        default=ROOT / "build" / "bin" / "concord-server")  # fmt: skip
    return parser


def begin(arguments: argparse.Namespace) -> Any:
    """Sets torch's threads; gram_torch, or None where there are no baselines."""
    torch.set_num_threads(THREADS)
    gram_torch = load_gram_torch(arguments.baselines)
    if gram_torch is None:
        print("No baselines: give their folder with --baselines or CONCORD_BASELINES.")
    return gram_torch


def save(
    arguments: argparse.Namespace, rows: list[dict[str, Any]], **facts: Any
) -> None:
    """Writes the rows where --json says, with what they were measured under."""
    if not arguments.json:
        return
    result = {
        "unit": "ms",
        "data_type": "float32",
        "threads": THREADS,
        **facts,
        "torch": torch.__version__,
        "turns": arguments.turns,
        "rows": rows,
    }
    Path(arguments.json).write_text(json.dumps(result, indent=2) + "\n")


def main() -> int:
    parser = common_parser(__doc__, turns=5)
    parser.add_argument("--n", default="10000,100000,1000000,10000000")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    arguments = parser.parse_args()

    gram_torch = begin(arguments)
    rows = []
    program, device = arguments.server_program, arguments.device
    with (
        running_server(program, device=device) as tcp,
        running_server(program, shared_memory=True, device=device) as shared,
    ):
        servers = {"tcp": tcp, "shared": shared}
        for n in (int(text) for text in arguments.n.split(",")):
            reps = arguments.reps or steps_of_a_turn(n)
            rows.append(measure(n, arguments.turns, reps, servers, gram_torch, device))
            gc.collect()
            print(f"measured n={n}", file=sys.stderr, flush=True)
    print(table(rows))
    name = device if device == "cpu" else torch.cuda.get_device_name()
    save(arguments, rows, device=name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
