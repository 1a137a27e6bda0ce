"""What the methods cost beside each other: solves, streamed steps, torchjd's calls.

    python tests/bench/bench_methods.py [--json=FILE] [--only=solve,streamed,aggregation]

solve: the time that a server took for the m x m algebra of a step at m = 8, which
it tells with each step; gradients of which half conflict. streamed: a step over
TCP from Python at n = 1e7 under every method with coefficients, in turns with
ConFIG's. aggregation: concord.aggregation and torchjd on one 3 x 1e7 matrix of
float32, in turns; torchjd's UPGrad needs its solver (quadprog) installed. One
thread each; a figure is the median of its turns.
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

# Microseconds at m = 8.
CLOSED, PROGRAM, EQUATIONS = 30.0, 500.0, 3000.0
METHODS: dict[str, tuple[Make, float]] = {
    "ConFIG": (concord.ConFIGOperator, CLOSED),
    "ConFIG, tracked": (
        lambda: concord.ConFIGOperator(length_model=concord.TrackHarmonicAverage()),
        CLOSED,
    ),
    "ConFIG, random weights": (
        lambda: concord.ConFIGOperator(concord.RandomWeight()),
        CLOSED,
    ),
    "Mean": (methods.MeanOperator, CLOSED),
    "Sum": (methods.SumOperator, CLOSED),
    "Constant": (lambda: methods.ConstantOperator([1.0] * 8), CLOSED),
    "Random": (methods.RandomOperator, CLOSED),
    "PCGrad": (methods.PCGradOperator, CLOSED),
    "GradVac": (methods.GradVacOperator, CLOSED),
    "IMTLG": (methods.IMTLGOperator, CLOSED),
    "AlignedMTL": (methods.AlignedMTLOperator, CLOSED),
    "Krum": (methods.KrumOperator, CLOSED),
    "DBMTL": (methods.DBMTLOperator, CLOSED),
    "MGDA": (methods.MGDAOperator, PROGRAM),
    "UPGrad": (methods.UPGradOperator, PROGRAM),
    "DualProj": (methods.DualProjOperator, PROGRAM),
    "CAGrad": (methods.CAGradOperator, PROGRAM),
    "FairGrad": (methods.FairGradOperator, PROGRAM),
    "NashMTL": (methods.NashMTLOperator, EQUATIONS),
    "CRMOGM, UPGrad": (
        lambda: methods.CRMOGMOperator(methods.UPGradOperator()),
        PROGRAM,
    ),
}


def gradients(m: int, n: int, step: int) -> torch.Tensor:
    """Seeded; in every other step each gradient leans away from the mean."""
    rows = torch.randn(m, n, generator=torch.Generator().manual_seed(step))
    return rows - 0.9 * rows.mean(dim=0) if step % 2 else rows


def solves(server: str, steps: int) -> list[dict[str, Any]]:
    """The solve's microseconds, by method."""
    figures = []
    for name, (make, limit) in METHODS.items():
        with concord.Session(
            server, num_vectors=8, momentum="none", gradient_operator=make()
        ) as session:
            taken = []
            for step in range(steps):
                rows = gradients(8, 100, step)
                result = session.step((list(range(8)), rows))
                taken.append(1e6 * result.timings["solve"])
            session.delete()
        micros = statistics.median(taken)
        figures.append(
            {"method": name, "us": micros, "limit_us": limit, "kept": micros <= limit}
        )
        print(f"solve      {name:24} {micros:8.1f} us  (<= {limit:g})", flush=True)
    return figures


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

    makers = {name: make for name, (make, _) in METHODS.items() if name != "ConFIG"}
    # Krum needs three vectors, constant weights one per loss.
    makers.pop("Krum")
    makers["Constant"] = lambda: methods.ConstantOperator([1.0, 1.0])
    for _ in range(turns):
        for name, make in makers.items():
            first = timed(concord.ConFIGOperator)
            own = timed(make)
            second = timed(concord.ConFIGOperator)
            ratios[name].append(2 * own / (first + second))
    figures = []
    for name in makers:
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
        ("UPGrad", 1.0),
        ("ConFIG", 20.0),
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
            f"{factor:.1f} x faster" + ("" if target is None else f"  (>= {target:g})"),
            flush=True,
        )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", default="solve,streamed,aggregation")
    parser.add_argument("--n", type=int, default=10**7)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=400, help="of a solve's figure")
    parser.add_argument(
        "--server-binary", type=Path, default=ROOT / "build" / "bin" / "concord-server"
    )
    flags = parser.parse_args()
    only = flags.only.split(",")
    found: dict[str, Any] = {}
    if "solve" in only or "streamed" in only:
        with running_server(flags.server_binary) as server:
            if "solve" in only:
                found["solve"] = solves(server, flags.steps)
            if "streamed" in only:
                found["streamed"] = streamed(server, flags.n, flags.turns)
    if "aggregation" in only:
        found["aggregation"] = aggregated(flags.n, flags.turns)
    if flags.json:
        flags.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
