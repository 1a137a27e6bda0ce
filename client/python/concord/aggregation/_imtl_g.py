"""IMTL-G: equal projections onto all gradients' directions."""

from __future__ import annotations

from typing import Any

from concord._engine_operator import EngineOperator
from concord.aggregation._aggregator import GramianWeightedAggregator
from concord.aggregation._engine import GramianWeighting
from concord.methods import IMTLGOperator


class IMTLGWeighting(GramianWeighting):
    """Weights of sum 1 whose combination has the same projection on every gradient."""

    def __init__(self) -> None:
        super().__init__()

    def _engine(self, options: dict[str, Any]) -> EngineOperator:
        return IMTLGOperator(server="")


class IMTLG(GramianWeightedAggregator):
    """IMTL-G (Liu et al., 2021); see IMTLGWeighting."""

    gramian_weighting: IMTLGWeighting

    def __init__(self) -> None:
        super().__init__(IMTLGWeighting())
