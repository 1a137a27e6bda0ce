"""AlignedMTL: gradients made orthogonal and of one length."""

from __future__ import annotations

from typing import Any, Optional

from torch import Tensor

from concord._engine_operator import EngineOperator
from concord.aggregation._aggregator import GramianWeightedAggregator
from concord.aggregation._engine import GramianWeighting
from concord.aggregation._option import Forwarded, Option, anything, numbers, optional_vector, short
from concord.methods import AlignedMTLOperator


class AlignedMTLWeighting(GramianWeighting):
    """The gradients replaced by the nearest orthogonal ones of one length: weights
    of their mean, or of their sum with `pref_vector` (entries finite and > 0).

    `scale_mode`: "min", "median" (the lower middle one) or "rmse" of the Gramian's
    eigenvalues. Those below 1e-12 of the largest count as zero in every type;
    torchjd's cut follows the type.
    """

    pref_vector = Option[Optional[Tensor]](optional_vector)
    scale_mode = Option[str](anything)

    def __init__(self, pref_vector: Optional[Tensor] = None, scale_mode: str = "min") -> None:
        super().__init__(pref_vector=pref_vector, scale_mode=scale_mode)

    def _engine(self, options: dict[str, Any]) -> EngineOperator:
        preference = numbers(options["pref_vector"])
        return AlignedMTLOperator(preference, options["scale_mode"], server="")


class AlignedMTL(GramianWeightedAggregator):
    """AlignedMTL (Senushkin et al., 2023); see AlignedMTLWeighting."""

    gramian_weighting: AlignedMTLWeighting
    pref_vector = Forwarded[Optional[Tensor]]()
    scale_mode = Forwarded[str]()

    def __init__(self, pref_vector: Optional[Tensor] = None, scale_mode: str = "min") -> None:
        super().__init__(AlignedMTLWeighting(pref_vector, scale_mode))

    def __str__(self) -> str:
        return f"AlignedMTL{short(self.pref_vector)}"
