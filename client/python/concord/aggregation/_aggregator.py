"""Base classes of aggregators: from a matrix (m, n) to one vector (n,)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from concord.aggregation._option import Forwarded
from concord.aggregation._weighting import Stateful, Weighting, gramian_of
from concord.errors import invalid


class Aggregator(nn.Module, ABC):
    """Base class: called with a matrix, it gives a combination of its rows."""

    def __init__(self) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, matrix: Tensor, /) -> Tensor:
        """The combination."""

    def __call__(self, matrix: Tensor, /) -> Tensor:
        if matrix.dim() != 2:
            raise invalid("LENGTH_MISMATCH", "matrix.shape", tuple(matrix.shape), "(m, n)")
        return super().__call__(matrix)

    def __repr__(self) -> str:
        options = [o for cls in type(self).__mro__ for o in vars(cls).values()]
        shown = [
            f"{option.name}={option.of(self)!r}"
            for option in options
            if isinstance(option, Forwarded) and option.shown(self)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __str__(self) -> str:
        return type(self).__name__


class WeightedAggregator(Aggregator):
    """The rows with the weights that `weighting` gives for the matrix.

    The result carries no graph, whether or not the matrix requires gradients.
    """

    def __init__(self, weighting: Weighting[Any]) -> None:
        super().__init__()
        self.weighting = weighting

    @torch.no_grad()
    def forward(self, matrix: Tensor, /) -> Tensor:
        step = None
        if isinstance(self.weighting, Weighting):
            step = self.weighting.step(matrix, of_gramian=False)
        if step is None:
            return _combined(matrix, self.weighting(matrix))
        version = step.weights._version
        with self.weighting.giving(step.weights):
            weights = self.weighting(matrix)
        # Hooks see the weights and may change them.
        changed = weights is not step.weights or weights._version != version
        return _combined(matrix, weights) if changed or step.vector is None else step.vector


class GramianWeightedAggregator(WeightedAggregator):
    """The rows with the weights that `gramian_weighting` gives for their Gramian.

    With a weighting of this module the engine computes Gramian, weights and
    combination on the rows where they lie.
    """

    def __init__(self, gramian_weighting: Weighting[Any]) -> None:
        super().__init__(gramian_weighting << gramian_of)
        self.gramian_weighting = gramian_weighting


class StatefulAggregator(GramianWeightedAggregator, Stateful):
    """One whose weighting remembers its calls."""

    def reset(self) -> None:
        """Makes it as new."""
        weighting: Any = self.gramian_weighting
        weighting.reset()


def _combined(matrix: Tensor, weights: Tensor) -> Tensor:
    return weights.to(matrix.dtype) @ matrix
