"""What the methods cost beside each other: streamed steps, and the peers' calls.

    python tests/bench/bench_methods.py [--json=FILE] [--only=streamed,aggregation]

streamed: a step over TCP from Python at n = 1e7 under every method with
coefficients, in turns with ConFIG's. aggregation: concord.aggregation, torchjd and (for
ConFIG) conflictfree on one 3 x 1e7 matrix of float32, in turns, and how far each result
is from torchjd's in float64; torchjd's UPGrad needs its solver (quadprog) installed. One
thread each; a figure is the median of its turns. The solves alone: concord-bench
--only=solve.
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

# torchjd's options with which it gives the result that its name stands for (MGDA stops
# after a few iterations else), and how many times faster than each peer ours is to be.
AGGREGATORS: list[tuple[str, tuple[float, ...], dict[str, float]]] = [
    ("UPGrad", (), {"torchjd": 1 / 0.6}),
    ("MGDA", (1e-12, 10**5), {"torchjd": 1 / 0.6}),
    ("ConFIG", (), {"torchjd": 1 / 0.6, "conflictfree": 40}),
    ("IMTLG", (), {}),
    ("Mean", (), {}),
]
SAME = 1e-6  # How far a result may be off.

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


def off(value: torch.Tensor, truth: torch.Tensor) -> float:
    """The norm of the difference over the norm."""
    return float((value.double() - truth).norm() / truth.norm())


def aggregated(n: int, turns: int) -> list[dict[str, Any]]:
    """One call's seconds, ours and the peers', and how far each result is off."""
    import torchjd.aggregation as torchjd
    from conflictfree.grad_operator import ConFIGOperator

    matrix = gradients(3, n, 1)
    figures = []
    for name, converged, targets in AGGREGATORS:
        contenders: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
            "concord": getattr(aggregation, name)(),
            "torchjd": getattr(torchjd, name)(),
        }
        if "conflictfree" in targets:
            contenders["conflictfree"] = ConFIGOperator().calculate_gradient
        # In float64 torchjd's cutoffs, which grow with n, leave the result alone.
        truth = getattr(torchjd, name)(*converged)(matrix.double())
        row: dict[str, Any] = {"method": name, "n": n, "m": len(matrix)}
        row["off"] = {who: off(call(matrix), truth) for who, call in contenders.items()}
        row["same"] = row["off"]["concord"] <= SAME
        del truth
        taken: dict[str, list[float]] = {who: [] for who in contenders}
        for _ in range(turns):
            for who, call in contenders.items():
                begun = time.perf_counter()
                call(matrix)
                taken[who].append(1e3 * (time.perf_counter() - begun))
        for who, values in taken.items():
            row[who] = {
                "median": statistics.median(values),
                "low": min(values),
                "high": max(values),
            }
        row["factors"] = {
            who: statistics.median(t / o for o, t in zip(taken["concord"], taken[who]))
            for who in contenders
            if who != "concord"
        }
        row["targets"] = [
            {"peer": who, "at_least": least, "kept": row["factors"][who] >= least}
            for who, least in targets.items()
        ]
        figures.append(row)
        print(aggregated_line(row), flush=True)
    return figures


def aggregated_line(row: dict[str, Any]) -> str:
    verdict = "the same result" if row["same"] else "ANOTHER result"
    parts = [
        f"aggregation {row['method']:8} {row['concord']['median']:8.1f} ms, "
        + f"{row['off']['concord']:.1e} off: {verdict}"
    ]
    targets = {target["peer"]: target for target in row["targets"]}
    for peer, factor in row["factors"].items():
        part = f"{peer} {row[peer]['median']:.1f} ms, {row['off'][peer]:.1e} off: {factor:.2f} x"
        if peer in targets:
            target = targets[peer]
            verdict = "kept" if target["kept"] else "MISSED"
            part += f" (>= {target['at_least']:.3g}: {verdict})"
        parts.append(part)
    return "; ".join(parts)


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
