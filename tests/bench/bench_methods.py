"""What the methods cost beside each other: streamed steps, and torchjd's calls.

    python tests/bench/bench_methods.py [--json=FILE] [--only=streamed,aggregation]

streamed: a step over TCP from Python at n = 1e7 under every method with
coefficients, in turns with ConFIG's. aggregation: concord.aggregation and torchjd on
one 3 x 1e7 matrix of float32, in turns; torchjd's UPGrad needs its solver (quadprog)
installed. One thread each; a figure is the median of its turns. The solves alone:
concord-bench --only=solve.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench_python import ROOT, running_server  # Sets the threads, before torch.

import torch  # isort: skip

import concord
from concord import aggregation, methods

torch.set_num_threads(1)

Make = Callable[[], Any]

METHODS: dict[str, Make] = {
    "ConFIG, tracked": lambda: concord.ConFIGOperator(
        length_model=concord.TrackHarmonicAverage()
    ),
    "ConFIG, random weights": lambda: concord.ConFIGOperator(concord.RandomWeight()),
    "Mean": methods.MeanOperator,
    "Sum": methods.SumOperator,
    "Constant": lambda: methods.ConstantOperator([1.0, 1.0]),
    "Random": methods.RandomOperator,
    "PCGrad": methods.PCGradOperator,
    "GradVac": methods.GradVacOperator,
    "IMTLG": methods.IMTLGOperator,
    "AlignedMTL": methods.AlignedMTLOperator,
    "DBMTL": methods.DBMTLOperator,
    "MGDA": methods.MGDAOperator,
    "UPGrad": methods.UPGradOperator,
    "DualProj": methods.DualProjOperator,
    "CAGrad": methods.CAGradOperator,
    "FairGrad": methods.FairGradOperator,
    "NashMTL": methods.NashMTLOperator,
    "CRMOGM, UPGrad": lambda: methods.CRMOGMOperator(methods.UPGradOperator()),
}


def gradients(m: int, n: int, step: int) -> torch.Tensor:
    """Seeded; in every other step each gradient leans away from the mean."""
    rows = torch.randn(m, n, generator=torch.Generator().manual_seed(step))
    return rows - 0.9 * rows.mean(dim=0) if step % 2 else rows


def streamed(server: str, n: int, turns: int) -> list[dict[str, Any]]:
    """A step's time under each method, over ConFIG's in the turn before it."""
    rows = gradients(2, n, 1)
    ratios: dict[str, list[float]] = {name: [] for name in METHODS}

    def timed(make: Make) -> float:
        operator = make()
        with concord.Session(
            server, num_vectors=2, gradient_operator=operator
        ) as session:
            session.step(([0, 1], rows))
            taken = []
            for step in range(4):
                begun = time.perf_counter()
                session.step({step % 2: rows[step % 2]})
                taken.append(time.perf_counter() - begun)
            session.delete()
        return statistics.median(taken)

    for _ in range(turns):
        for name, make in METHODS.items():
            first = timed(concord.ConFIGOperator)
            own = timed(make)
            second = timed(concord.ConFIGOperator)
            ratios[name].append(2 * own / (first + second))
    figures = []
    for name in METHODS:
        ratio = statistics.median(ratios[name])
        figures.append({"method": name, "ratio": ratio, "kept": ratio <= 1.1})
        print(f"streamed   {name:24} {ratio:8.2f} x ConFIG  (<= 1.1)", flush=True)
    return figures


def aggregated(n: int, turns: int) -> list[dict[str, Any]]:
    """One call's seconds, ours and torchjd's."""
    import torchjd.aggregation as peer

    matrix = gradients(3, n, 1)
    figures = []
    for name, target in (
        ("UPGrad", 1 / 0.6),
        ("MGDA", 1 / 0.6),
        ("ConFIG", 40.0),
        ("IMTLG", None),
        ("Mean", None),
    ):
        try:
            contenders = [getattr(aggregation, name)(), getattr(peer, name)()]
            contenders[1](matrix[:, :10])
        except (ImportError, NameError) as error:
            print(f"aggregation {name}: torchjd cannot: {error}")
            continue
        taken: list[list[float]] = [[], []]
        for turn in range(turns + 1):
            for own, aggregator in zip(taken, contenders):
                begun = time.perf_counter()
                aggregator(matrix)
                if turn > 0:
                    own.append(time.perf_counter() - begun)
        ours, theirs = (statistics.median(each) for each in taken)
        factor = statistics.median(t / o for o, t in zip(*taken))
        kept = None if target is None else factor >= target
        figures.append(
            {"method": name, "ms": 1e3 * ours, "torchjd_ms": 1e3 * theirs, "factor": factor,
             "target": target, "kept": kept}
        )  # fmt: skip
        print(
            f"aggregation {name:23} {1e3 * ours:8.1f} ms, torchjd {1e3 * theirs:8.1f} ms: "
            f"{factor:.1f} x faster"
            + ("" if target is None else f"  (>= {target:.3g})"),
            flush=True,
        )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", default="streamed,aggregation")
    parser.add_argument("--n", type=int, default=10**7)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument(
        "--server-binary", type=Path, default=ROOT / "build" / "bin" / "concord-server"
    )
    flags = parser.parse_args()
    only = flags.only.split(",")
    found: dict[str, Any] = {}
    if "streamed" in only:
        with running_server(flags.server_binary) as server:
            found["streamed"] = streamed(server, flags.n, flags.turns)
    if "aggregation" in only:
        found["aggregation"] = aggregated(flags.n, flags.turns)
    if flags.json:
        flags.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
