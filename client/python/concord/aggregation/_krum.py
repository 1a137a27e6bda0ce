"""Krum and Multi-Krum: the gradients closest to their nearest others."""

from __future__ import annotations

from typing import Any

from concord._engine_operator import EngineOperator
from concord.aggregation._aggregator import GramianWeightedAggregator
from concord.aggregation._engine import GramianWeighting
from concord.aggregation._option import Forwarded, Option, anything, count, not_negative
from concord.errors import invalid
from concord.methods import KrumOperator


class KrumWeighting(GramianWeighting):
    """The mean of the `n_selected` gradients with the smallest sums of distances to
    their nearest others, of which `n_byzantine` may be anything.

    The distances are plain ones, as torchjd's; `squared`: the paper's squared ones.
    Ties go to the first.
    """

    n_byzantine = Option[int](not_negative)
    n_selected = Option[int](count)
    squared = Option[bool](anything)

    def __init__(self, n_byzantine: int, n_selected: int = 1, *, squared: bool = False) -> None:
        super().__init__(n_byzantine=n_byzantine, n_selected=n_selected, squared=squared)

    def _engine(self, options: dict[str, Any]) -> EngineOperator:
        return KrumOperator(**options, server="")

    def _check_rows(self, count: int) -> None:
        least = max(self.n_byzantine + 3, self.n_selected)
        if count < least:
            raise invalid("INVALID_OPTION", "number of gradients", count, f"at least {least}")


class Krum(GramianWeightedAggregator):
    """Krum (Blanchard et al., 2017); see KrumWeighting."""

    gramian_weighting: KrumWeighting
    n_byzantine = Forwarded[int]()
    n_selected = Forwarded[int]()
    squared = Forwarded[bool](extra=True)

    def __init__(self, n_byzantine: int, n_selected: int = 1, *, squared: bool = False) -> None:
        super().__init__(KrumWeighting(n_byzantine, n_selected, squared=squared))

    def __str__(self) -> str:
        return f"Krum{self.n_byzantine}-{self.n_selected}"
