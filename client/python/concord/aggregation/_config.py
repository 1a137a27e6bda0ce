"""ConFIG: the same cosine to every gradient."""

from __future__ import annotations

from typing import Any, Optional

from torch import Tensor

from concord._engine_operator import EngineOperator
from concord.aggregation._aggregator import GramianWeightedAggregator
from concord.aggregation._engine import GramianWeighting
from concord.aggregation._option import Forwarded, Option, numbers, optional_vector, short
from concord.grad_operator import ConFIGOperator
from concord.weight_model import EqualWeight, GivenWeight


class ConFIGWeighting(GramianWeighting):
    """The weights of ConFIG's direction. torchjd, which needs the whole matrix, has
    no such weighting.

    `pref_vector` (entries finite and > 0): the cosines' ratios; default equal.
    """

    pref_vector = Option[Optional[Tensor]](optional_vector)

    def __init__(self, pref_vector: Optional[Tensor] = None) -> None:
        super().__init__(pref_vector=pref_vector)

    def _engine(self, options: dict[str, Any]) -> EngineOperator:
        cosines = numbers(options["pref_vector"])
        weights = EqualWeight() if cosines is None else GivenWeight(cosines)
        return ConFIGOperator(weights, server="")


class ConFIG(GramianWeightedAggregator):
    """ConFIG (Liu, Chu, Thuerey, 2025); see ConFIGWeighting. A zero row takes no
    part in the direction."""

    gramian_weighting: ConFIGWeighting
    pref_vector = Forwarded[Optional[Tensor]]()

    def __init__(self, pref_vector: Optional[Tensor] = None) -> None:
        super().__init__(ConFIGWeighting(pref_vector))

    def __str__(self) -> str:
        return f"ConFIG{short(self.pref_vector)}"
