"""CR-MOGM: another weighting's weights, smoothed."""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor

from concord.aggregation._weighting import Stat, Stateful, Step, Weighting, inner_step
from concord.errors import invalid


class CRMOGMWeighting(Weighting[Stat], Stateful):
    """The moving average of the weights that `weighting` gives (Zhou et al.: "On the
    Convergence of Stochastic Multi-Objective Gradient Manipulation and Beyond",
    NeurIPS 2022): alpha times the last average and 1 - alpha times the new weights.

    `initial_weights` are the average before the first call; without them it starts
    with the first weights. `weighting` can be any weighting, torchjd's too; reset()
    resets it as well.
    """

    def __init__(
        self,
        weighting: Weighting[Stat],
        alpha: float = 0.9,
        initial_weights: Optional[Tensor] = None,
    ) -> None:
        super().__init__()
        self.weighting = weighting
        self.alpha = alpha
        self._initial_weights = initial_weights
        self._average: Optional[Tensor]
        self.register_buffer("_average", None)

    @property
    def alpha(self) -> float:
        return self._alpha

    @alpha.setter
    def alpha(self, value: float) -> None:
        if not 0 <= value <= 1:
            raise invalid("INVALID_OPTION", "alpha", value, "a number in [0, 1]")
        self._alpha = value

    def reset(self) -> None:
        """Makes it, and the wrapped weighting, as new."""
        reset = getattr(self.weighting, "reset", None)
        if callable(reset):
            reset()
        self._average = None

    def forward(self, stat: Stat, /) -> Tensor:
        return self._smoothed(self.weighting(stat))

    def step(self, matrix: Tensor, of_gramian: bool) -> Optional[Step]:
        found = inner_step(self.weighting, matrix, of_gramian)
        return None if found is None else Step(self._smoothed(found.weights), None)

    @torch.no_grad()
    def _smoothed(self, weights: Tensor) -> Tensor:
        before = self._average
        if before is None:
            before = weights if self._initial_weights is None else self._initial_weights
        before = before.to(weights)
        if before.shape != weights.shape:
            raise invalid(
                "LENGTH_MISMATCH",
                "number of gradients",
                len(weights),
                f"{len(before)}, as many as before; reset() forgets them",
            )
        self._average = self._alpha * before + (1 - self._alpha) * weights
        return self._average
