"""FairGrad: fair in what each loss gains."""

from __future__ import annotations

from typing import Any, Optional

from concord._engine_operator import EngineOperator
from concord.aggregation._aggregator import GramianWeightedAggregator
from concord.aggregation._engine import GramianWeighting
from concord.aggregation._option import Forwarded, Option, anything, optional_count
from concord.methods import FairGradOperator


class FairGradWeighting(GramianWeighting):
    """The weights w with Gramian w = w^(-1/alpha): `alpha`-fair in what each loss
    gains, solved to rounding at any scale of the gradients.

    `alpha`: 0, or from 0.05 to 10. `max_iters` has no effect.
    """

    alpha = Option[float](anything)
    max_iters = Option[Optional[int]](optional_count)

    def __init__(self, alpha: float, max_iters: Optional[int] = None) -> None:
        super().__init__(alpha=alpha, max_iters=max_iters)

    def _engine(self, options: dict[str, Any]) -> EngineOperator:
        return FairGradOperator(options["alpha"], server="")


class FairGrad(GramianWeightedAggregator):
    """FairGrad (Ban, Ji, 2024); see FairGradWeighting."""

    gramian_weighting: FairGradWeighting
    alpha = Forwarded[float]()
    max_iters = Forwarded[Optional[int]]()

    def __init__(self, alpha: float, max_iters: Optional[int] = None) -> None:
        super().__init__(FairGradWeighting(alpha, max_iters))

    def __str__(self) -> str:
        return f"{self.alpha}-FairGrad"
