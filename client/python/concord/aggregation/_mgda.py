"""MGDA: the shortest vector of the gradients' convex hull."""

from __future__ import annotations

from typing import Any

from concord._engine_operator import EngineOperator
from concord.aggregation._aggregator import GramianWeightedAggregator
from concord.aggregation._engine import GramianWeighting
from concord.aggregation._option import Forwarded, Option, count, positive
from concord.methods import MGDAOperator


class MGDAWeighting(GramianWeighting):
    """The weights of the shortest vector of the gradients' convex hull, exactly.

    `epsilon` and `max_iters` (both > 0) bound torchjd's Frank-Wolfe iteration, and
    have no effect here.
    """

    epsilon = Option[float](positive)
    max_iters = Option[int](count)

    def __init__(self, epsilon: float = 0.001, max_iters: int = 100) -> None:
        super().__init__(epsilon=epsilon, max_iters=max_iters)

    def _engine(self, options: dict[str, Any]) -> EngineOperator:
        return MGDAOperator(server="")


class MGDA(GramianWeightedAggregator):
    """MGDA (Désidéri, 2012); see MGDAWeighting."""

    gramian_weighting: MGDAWeighting
    epsilon = Forwarded[float]()
    max_iters = Forwarded[int]()

    def __init__(self, epsilon: float = 0.001, max_iters: int = 100) -> None:
        super().__init__(MGDAWeighting(epsilon, max_iters))
