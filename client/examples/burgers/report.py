"""The tables at the end and the picture."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import matplotlib
import torch
from rich.table import Table

from burgers.contest import ADAM, CONCORD, Side
from burgers.problem import TestGrid

matplotlib.use("Agg")

from matplotlib import pyplot as plt


def table_of_sides(seed: int, sides: dict[str, Side]) -> Table:
    table = Table(title=f"Burgers' equation, seed {seed}: final errors")
    table.add_column("method")
    for heading in ("iterations", "CPU s", "wall s", "final MSE"):
        table.add_column(heading, justify="right")
    for side in sides.values():
        table.add_row(
            side.name,
            str(side.iteration),
            f"{side.cpu:.1f}",
            f"{side.wall:.1f}",
            f"{side.error:.5f}",
        )
    return table


def table_of_seeds(contests: dict[int, dict[str, Side]]) -> Table:
    """Every seed that was run, and the median."""
    table = Table(title="Final MSE of all seeds, equal CPU time")
    for heading in ("seed", "Concord", "Adam", "in-process", "Concord / Adam", "CPU s each"):
        table.add_column(heading, justify="right")
    ratios = []
    for seed, sides in contests.items():
        ratios.append(sides[CONCORD].error / sides[ADAM].error)
        table.add_row(
            str(seed),
            *(f"{sides[name].error:.5f}" for name in (CONCORD, ADAM)),
            *(f"{side.error:.5f}" for name, side in sides.items() if name not in (CONCORD, ADAM)),
            f"{ratios[-1]:.2f}",
            f"{sides[CONCORD].cpu:.1f} / {sides[ADAM].cpu:.1f}",
        )
    table.add_row("median", "", "", "", f"{median(ratios):.2f}", "")
    return table


def draw(path: Path, grid: TestGrid, sides: dict[str, Side]) -> None:
    """Concord's solution, the exact one, the error, and how all methods converged."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 7.5), constrained_layout=True)
    predicted = sides[CONCORD].prediction
    assert predicted is not None
    shape = (len(grid.t), len(grid.x))
    panels: list[tuple[str, torch.Tensor, dict]] = [
        ("three workers through Concord", predicted, {"cmap": "RdBu_r", "vmin": -1, "vmax": 1}),
        ("exact (Cole-Hopf)", grid.exact, {"cmap": "RdBu_r", "vmin": -1, "vmax": 1}),
        ("absolute error", (predicted - grid.exact).abs(), {"cmap": "magma_r"}),
    ]
    for axis, (title, values, style) in zip(axes.flat, panels):
        mesh = axis.pcolormesh(
            grid.t, grid.x, values.view(shape).T.numpy(), shading="nearest", **style
        )
        axis.set(title=title, xlabel="t", ylabel="x")
        figure.colorbar(mesh, ax=axis)
    axis = axes[1, 1]
    for side in sides.values():
        axis.semilogy(
            [sample.cpu for sample in side.history],
            [sample.report.error for sample in side.history],
            label=f"{side.name}: {side.error:.1e}",
        )
    axis.set(title="convergence", xlabel="CPU seconds, all processes", ylabel="MSE")
    axis.legend()
    axis.grid(alpha=0.3)
    figure.savefig(path, dpi=130)
    plt.close(figure)
