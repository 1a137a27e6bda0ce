"""The table and the picture, from outcomes as they stand in the JSON file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt

from digits.network import TASKS

# Those whose way is drawn; the others' would hide it.
_DRAWN = {
    "sum, Adam": "#57534e",
    "sum, SGD": "#a8a29e",
    "ConFIG, Adam": "#15803d",
    "UPGrad, Adam": "#6b21a8",
    "M-ConFIG": "#0b6e99",
    "M-NashMTL": "#c2410c",
}
_COLOURS = ("#0b6e99", "#c2410c")


@dataclass(frozen=True)
class Row:
    """One method over its seeds. Accuracies in percent."""

    method: str
    rate: float
    tasks: list[list[float]]  # Of each task, each seed.
    worse: list[float]  # The worse task of each seed.
    conflicts: float | None

    @property
    def both(self) -> list[float]:
        """The mean of the tasks, each seed."""
        return [fmean(pair) for pair in zip(*self.tasks)]


def summary(outcomes: Iterable[dict[str, Any]]) -> list[Row]:
    """The best mean of both tasks first."""
    by_method: dict[str, list[dict[str, Any]]] = {}
    for outcome in outcomes:
        by_method.setdefault(outcome["run"]["method"], []).append(outcome)
    rows = []
    for method, found in by_method.items():
        accuracies = [[100 * value for value in outcome["accuracy"]] for outcome in found]
        conflicts = [outcome["conflicts"] for outcome in found]
        rows.append(
            Row(
                method,
                found[0]["run"]["rate"],
                [list(task) for task in zip(*accuracies)],
                [min(pair) for pair in accuracies],
                None if None in conflicts else 100 * fmean(conflicts),
            )
        )
    return sorted(rows, key=lambda row: -fmean(row.both))


def _with_spread(values: Sequence[float]) -> str:
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{fmean(values):.1f}{spread}"


def markdown(rows: Iterable[Row]) -> str:
    """Mean and standard deviation over the seeds."""
    head = ["method", "rate", *TASKS, "mean of both", "worse of both", "conflicts"]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        lines.append(
            [
                row.method,
                f"{row.rate:g}",
                *map(_with_spread, row.tasks),
                _with_spread(row.both),
                _with_spread(row.worse),
                "-" if row.conflicts is None else f"{row.conflicts:.0f} %",
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def draw(path: Path, outcomes: Sequence[dict[str, Any]]) -> None:
    """Both tasks' accuracies of every seed, and the way of some methods."""
    rows = summary(outcomes)[::-1]
    style = {"font.family": "sans-serif", "font.size": 9, "axes.titlesize": 10}
    with matplotlib.rc_context(style):
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(10, 0.6 + 0.25 * max(12, len(rows))), layout="constrained"
        )
        for place, row in enumerate(rows):
            for task, (values, colour) in enumerate(zip(row.tasks, _COLOURS)):
                height = [place + 0.14 - 0.28 * task] * len(values)
                left.plot(values, height, "o", color=colour, markersize=2.5, alpha=0.45)
                label = f"{TASKS[task]} digit" if place == 0 else None
                left.plot(fmean(values), height[0], "|", color=colour, markersize=9, label=label)
        left.set_yticks(range(len(rows)), [row.method for row in rows])
        left.set(title="Test accuracy, every seed and the mean", xlabel="%")
        left.legend(frameon=False, loc="upper left")
        for method, colour in _DRAWN.items():
            found = [o["history"] for o in outcomes if o["run"]["method"] == method]
            if found:
                passes = [used for used, _ in found[0]]
                means = [fmean(100 * fmean(pair) for _, pair in at) for at in zip(*found)]
                right.plot(passes, means, color=colour, label=method)
        right.set(
            title="Mean of both on the way", xlabel="backward passes", ylabel="%", ylim=(75, None)
        )
        right.legend(frameon=False)
        for axes in (left, right):
            axes.grid(True, linewidth=0.3)
        figure.savefig(path, dpi=110, metadata={"Software": None})
        plt.close(figure)
