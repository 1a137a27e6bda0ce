"""CAGrad: the largest smallest gain in a ball about the mean."""

from __future__ import annotations

from typing import Any

from concord._engine_operator import EngineOperator
from concord.aggregation._aggregator import GramianWeightedAggregator
from concord.aggregation._engine import GramianWeighting
from concord.aggregation._option import Forwarded, Option, not_negative
from concord.methods import CAGradOperator


class CAGradWeighting(GramianWeighting):
    """The largest smallest gain within a ball about the mean, of radius `c` of its
    length, exactly.

    `norm_eps` (>= 0) has no effect: torchjd returns zero for a Gramian whose trace
    is smaller.
    """

    c = Option[float](not_negative)
    norm_eps = Option[float](not_negative)

    def __init__(self, c: float, norm_eps: float = 0.0001) -> None:
        super().__init__(c=c, norm_eps=norm_eps)

    def _engine(self, options: dict[str, Any]) -> EngineOperator:
        return CAGradOperator(options["c"], server="")


class CAGrad(GramianWeightedAggregator):
    """CAGrad (Liu et al., 2021); see CAGradWeighting."""

    gramian_weighting: CAGradWeighting
    c = Forwarded[float]()
    norm_eps = Forwarded[float]()

    def __init__(self, c: float, norm_eps: float = 0.0001) -> None:
        super().__init__(CAGradWeighting(c, norm_eps))

    def __str__(self) -> str:
        return f"CAGrad{self.c:g}"
