"""What a step found, beside its update."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

import torch


@dataclass(frozen=True)
class StepResult:
    """One committed step. Matrices and vectors of numbers are float64 tensors.

    Rows are the vectors combined: with momentum all losses' bias-corrected
    momenta, without it the gradients of this step (see `indexes`).
    """

    # None for an operator's `last_step`, which does not keep it.
    update: Optional[torch.Tensor]
    step: int  # The first step is 1.
    warming_up: bool  # Not every loss has been seen: the update is zero.
    coefficients: torch.Tensor  # (rows,): direction = sum of coefficient * row.
    conflict_free: bool  # Every cosine of the direction to a non-zero row is > 0.
    pareto_stationary: bool  # The rows oppose each other: the result is zero.
    rank: int
    length: float  # Of the direction.
    gram: torch.Tensor  # (rows, rows)
    cosines: torch.Tensor  # (rows, rows), between the rows.
    # Between the direction (before element-wise rescaling) and the rows, and
    # between the update itself and the rows; 0 for a zero row.
    direction_cosines: torch.Tensor
    update_cosines: torch.Tensor  # Empty where it was not asked for.
    losses: list[float]  # Recorded ones; empty without a recorder.
    indexes: list[int] = field(default_factory=list)
    # Losses that stale_after or min_relative_norm left out of this step.
    stale_losses: list[int] = field(default_factory=list)
    # (rank, loss) of all NaN and Inf, where on_nonfinite="skip" has skipped the step
    # because of them: the update is zero and not to be applied, nothing else was found.
    skipped_nonfinite: tuple[tuple[int, int], ...] = ()
    # Server only.
    contributors: Mapping[int, list[int]] = field(default_factory=dict)  # rank: losses
    missing_ranks: list[int] = field(default_factory=list)  # Not among them.
    repeated: bool = False  # The committed update once more.
    dropped: bool = False  # What this rank brought came too late.
    attempts: int = 1
    timings: Mapping[str, float] = field(default_factory=dict)  # Seconds, on the server.


def step_result(found: Mapping[str, Any], update: Optional[torch.Tensor]) -> StepResult:
    """From the native module's dict."""
    values = dict(found)
    for name in ("coefficients", "direction_cosines", "update_cosines"):
        values[name] = torch.tensor(values[name], dtype=torch.float64)
    for name in ("gram", "cosines"):
        rows = values[name]
        values[name] = torch.tensor(rows, dtype=torch.float64).reshape(len(rows), len(rows))
    return StepResult(update=update, **values)
