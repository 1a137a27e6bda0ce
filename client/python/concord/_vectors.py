"""M-ConFIG around a gradient operator that the user wrote in Python.

Such an operator sees and returns whole vectors, so the engine's form, in which
everything is a function of the Gram matrix, does not apply: the vector f_prev
is kept. Arithmetic in float64, state in the gradients' own precision. A step
that fails, also inside the user's code, leaves everything as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

import torch

from concord._embedded import check_rows
from concord._inputs import Rows
from concord.errors import invalid
from concord.layout import Layout, mover, num_parameters
from concord.results import StepResult


class VectorBackend:
    """Momenta, second momentum and f_prev as tensors beside the gradients."""

    def __init__(self, owner: Any, rows: Rows) -> None:
        """`owner`: the momentum operator."""
        num_vectors = owner.num_vectors
        self._separate = owner._method == "separate"
        self.reconfigure(owner)
        self.length, self.dtype, self.device = rows.length, rows.rows[0].dtype, rows.device
        zeros = torch.zeros(rows.length, dtype=self.dtype, device=self.device)
        self._momenta = [zeros] * num_vectors
        self._second = zeros
        self._seconds = [zeros] * num_vectors  # Of separate momenta.
        self._previous = zeros
        self._updates = [0] * num_vectors
        self._live_steps = 0

    def reconfigure(self, owner: Any) -> None:
        """Takes over what the owner's options say now."""
        self._operator = owner.gradient_operator
        self._beta_1, self._beta_2 = owner.beta_1, owner.beta_2

    def update_layout(self, previous: Layout, layout: Layout) -> None:
        """The state under another layout, from the next step on."""
        moved = mover(previous, layout, self.length)
        self._momenta = [moved(momentum) for momentum in self._momenta]
        self._second = moved(self._second)
        self._seconds = [moved(second) for second in self._seconds]
        self._previous = moved(self._previous)
        self.length = num_parameters(layout)

    def state(self) -> dict[str, Any]:
        """What the owner's attributes show, as copies."""
        return {
            "momenta": [momentum.clone() for momentum in self._momenta],
            "seconds": [
                second.clone() for second in (self._seconds if self._separate else [self._second])
            ],
            "smoothed": self._previous.clone(),
            "updates": list(self._updates),
            "live_steps": self._live_steps,
        }

    def step(
        self,
        indexes: list[int],
        rows: Rows,
        losses: Optional[list[float]] = None,
        *,
        active: Sequence[int] = (),
        out: Optional[torch.Tensor] = None,
    ) -> torch.Tensor:
        if active:
            raise TypeError("active= is for the engine's own gradient operators")
        check_rows(rows, self.length, self.dtype)
        if rows.device != self.device:
            raise invalid("DATA_TYPE_MISMATCH", "grads[0].device", rows.device, f"{self.device}")
        with torch.no_grad():
            update = self._step(indexes, rows.rows, losses)
            return update if out is None else out.copy_(update)

    def _step(
        self, indexes: list[int], rows: list[torch.Tensor], losses: Optional[list[float]]
    ) -> torch.Tensor:
        momenta, updates = list(self._momenta), list(self._updates)
        seconds = list(self._seconds)
        for position, (index, row) in enumerate(zip(indexes, rows)):
            if not torch.isfinite(row).all():
                raise invalid("NON_FINITE", f"grads[{position}]", "NaN or Inf", "finite numbers")
            momenta[index] = self._blend(self._beta_1, momenta[index], row).to(self.dtype)
            if self._separate:
                square = row.double() * row.double()
                seconds[index] = self._blend(self._beta_2, seconds[index], square).to(self.dtype)
                if not torch.isfinite(seconds[index]).all():
                    raise invalid(
                        "OUT_OF_SCALE", f"grads[{position}]", "too large",
                        f"a second momentum in {self.dtype}",
                    )  # fmt: skip
            updates[index] += 1
        if 0 in updates:
            self._momenta, self._seconds, self._updates = momenta, seconds, updates
            return torch.zeros(self.length, dtype=self.dtype, device=self.device)
        corrected = torch.stack(
            [m.double() / (1 - self._beta_1**t) for m, t in zip(momenta, updates)]
        )
        if self._separate:
            scales = [v.double() / (1 - self._beta_2**t) for v, t in zip(seconds, updates)]
            corrected = corrected / (torch.stack(scales).sqrt() + 1e-8)
        direction = self._direction(corrected.to(self.dtype), losses)
        if self._separate:
            self._momenta, self._seconds, self._updates = momenta, seconds, updates
            self._live_steps += 1
            return direction.to(self.dtype, copy=True)  # Not the user's own tensor.
        live = self._live_steps + 1
        smoothed = direction * (1 - self._beta_1**live)
        pseudo = (smoothed - self._beta_1 * self._previous.double()) / (1 - self._beta_1)
        second = self._blend(self._beta_2, self._second, pseudo * pseudo).to(self.dtype)
        scale = (second.double() / (1 - self._beta_2**live)).sqrt() + 1e-8
        update = (direction / scale).to(self.dtype)
        if not torch.isfinite(update).all() or not torch.isfinite(second).all():
            raise invalid(
                "OUT_OF_SCALE", "grads", "too large", f"a second momentum in {self.dtype}"
            )
        self._momenta, self._updates = momenta, updates
        self._second, self._previous, self._live_steps = second, smoothed.to(self.dtype), live
        return update

    def _direction(self, rows: torch.Tensor, losses: Optional[list[float]]) -> torch.Tensor:
        """What the user's operator makes of the rows, in float64."""
        direction = self._operator.calculate_gradient(rows, losses)
        if not isinstance(direction, torch.Tensor) or tuple(direction.shape) != (self.length,):
            raise ValueError(
                f"{type(self._operator).__qualname__}.calculate_gradient has to return a tensor of "
                f"shape ({self.length},)"
            )
        direction = direction.detach().to(self.device).double()
        if not torch.isfinite(direction).all():
            raise invalid("NON_FINITE", "the gradient operator's result", "NaN or Inf", "finite")
        return direction

    @staticmethod
    def _blend(beta: float, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        return beta * old.double() + (1 - beta) * new.double()

    def last_step(self) -> Optional[StepResult]:
        """Nothing is known of what a user's operator did."""
        return None

    def close(self) -> None:
        self._momenta = []
