"""Draws how the gradient methods go down two losses (two_losses.py): one SVG per family.

`.venv/bin/python docs/pictures/draw_operators.py [DIRECTORY]`; by default beside this
file. The same bytes for the same versions of the libraries.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Callable

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import torch
from concord.grad_operator import ConFIGOperator, GradientOperator
from concord.methods import (
    AlignedMTLOperator,
    CAGradOperator,
    ConstantOperator,
    DualProjOperator,
    FairGradOperator,
    GradVacOperator,
    IMTLGOperator,
    MeanOperator,
    MGDAOperator,
    NashMTLOperator,
    PCGradOperator,
    RandomOperator,
    UPGradOperator,
)

from two_losses import MINIMA, STARTS, distances_to_front, losses, pareto_front, trajectory

Panels = dict[str, Callable[[], GradientOperator]]

FAMILIES: dict[str, Panels] = {
    "equal_angles": {
        "ConFIG": ConFIGOperator,
        "IMTLG": IMTLGOperator,
        "NashMTL": NashMTLOperator,
        "FairGrad, alpha = 2": lambda: FairGradOperator(alpha=2.0),
        "AlignedMTL": AlignedMTLOperator,
    },
    "projections": {
        "PCGrad": PCGradOperator,
        "GradVac": GradVacOperator,
        "UPGrad": UPGradOperator,
        "DualProj": DualProjOperator,
    },
    "shortest_vector": {
        "MGDA": MGDAOperator,
        "CAGrad, c = 0.5": CAGradOperator,
        "CAGrad, c = 1": lambda: CAGradOperator(c=1.0),
    },
    "weightings": {
        "Mean": MeanOperator,
        "Random": lambda: RandomOperator(seed=1),
        "Constant, 4 : 1": lambda: ConstantOperator([0.8, 0.2]),
    },
}

COLOURS = ("#0b6e99", "#c2410c")  # Of the losses.
PATH = "#222222"
FRONT = "#15803d"
LIMITS = (-4.2, 4.2)

STYLE = {
    "svg.hashsalt": "concord",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 10,
}


def thinned(points: np.ndarray, apart: float = 0.12) -> np.ndarray:
    """Points of a path at least that far apart, and its last one."""
    kept = [points[0]]
    for point in points[1:-1]:
        if np.linalg.norm(point - kept[-1]) >= apart:
            kept.append(point)
    return np.array([*kept, points[-1]])


def draw_panel(axes: plt.Axes, title: str, paths: list[np.ndarray]) -> None:
    side = np.linspace(*LIMITS, 37)
    values = losses(np.stack(np.meshgrid(side, side), axis=-1))
    for i, colour in enumerate(COLOURS):
        levels = np.quantile(values[..., i], (0.02, 0.1, 0.25, 0.45, 0.7))
        axes.contour(side, side, values[..., i], levels, colors=colour, linewidths=0.6, alpha=0.45)
        axes.plot(*MINIMA[i], marker="*", color=colour, markersize=8, linestyle="")
    axes.plot(*thinned(pareto_front(), 0.2).T, color=FRONT, linewidth=3.5, alpha=0.55)
    for points in map(thinned, paths):
        axes.plot(*points.T, color=PATH, linewidth=1.1)
        axes.plot(*points[0], marker="o", color="white", markeredgecolor=PATH, markersize=4)
        axes.plot(*points[-1], marker="o", color=PATH, markersize=3.5)
    axes.set(title=title, xlim=LIMITS, ylim=LIMITS, xticks=[], yticks=[], aspect="equal")


def draw_family(panels: Panels, path: Path) -> None:
    with matplotlib.rc_context(STYLE):
        figure, row = plt.subplots(
            1, len(panels), figsize=(2.1 * len(panels), 2.35), layout="constrained"
        )
        for axes, (title, make_operator) in zip(row, panels.items()):
            paths = [trajectory(make_operator, start) for start in STARTS]
            draw_panel(axes, title, paths)
            far = distances_to_front(np.array([points[-1] for points in paths])).max()
            print(f"{title:20} ends within {far:.3f} of the Pareto front")
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)


def main() -> None:
    matplotlib.use("svg")
    torch.set_num_threads(1)
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for family, panels in FAMILIES.items():
        draw_family(panels, directory / f"{family}.svg")


if __name__ == "__main__":
    main()
