"""PCGrad and GradVac: gradients projected one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

from concord._engine_operator import EngineOperator
from concord.aggregation._aggregator import StatefulAggregator
from concord.aggregation._engine import StatefulWeighting
from concord.aggregation._option import Forwarded, Option, anything, not_negative
from concord.methods import GradVacOperator, PCGradOperator


class PCGradWeighting(StatefulWeighting):
    """Each gradient projected onto the normal planes of those that it conflicts
    with, one after the other; weights of the results' sum.

    The others are met in ascending order, so that the same gradients give the same
    weights; by `order`, or with `seed` in a new random order for each gradient and
    call, which is the paper's. torchjd takes the random order, from torch's global
    generator. With two gradients there is but one order.
    """

    order = Option[Optional[Sequence[int]]](anything)
    seed = Option[Optional[int]](anything)

    def __init__(
        self, *, order: Optional[Sequence[int]] = None, seed: Optional[int] = None
    ) -> None:
        super().__init__(order=order, seed=seed)

    def _engine(self, options: dict[str, Any]) -> EngineOperator:
        return PCGradOperator(**options, server="")


class PCGrad(StatefulAggregator):
    """PCGrad (Yu et al., 2020); see PCGradWeighting."""

    gramian_weighting: PCGradWeighting
    order = Forwarded[Optional[Sequence[int]]](extra=True)
    seed = Forwarded[Optional[int]](extra=True)

    def __init__(
        self, *, order: Optional[Sequence[int]] = None, seed: Optional[int] = None
    ) -> None:
        super().__init__(PCGradWeighting(order=order, seed=seed))


class GradVacWeighting(StatefulWeighting):
    """As PCGrad, with the moving average of a pair's cosines as the cosine that is
    to be reached; `beta` is the newest one's part. Remembers the averages.

    `eps` (>= 0) has no effect: in torchjd it hides gradients smaller than itself,
    and without it a pair that stays the same divides by zero. Here a vanishing
    gradient's pairs are skipped, and the averages held within 0.999. `order` and
    `seed`: see PCGradWeighting.
    """

    beta = Option[float](anything)
    eps = Option[float](not_negative)
    order = Option[Optional[Sequence[int]]](anything)
    seed = Option[Optional[int]](anything)

    def __init__(
        self,
        beta: float = 0.5,
        eps: float = 1e-8,
        *,
        order: Optional[Sequence[int]] = None,
        seed: Optional[int] = None,
    ) -> None:
        super().__init__(beta=beta, eps=eps, order=order, seed=seed)

    def _engine(self, options: dict[str, Any]) -> EngineOperator:
        return GradVacOperator(options["beta"], options["order"], options["seed"], server="")


class GradVac(StatefulAggregator):
    """GradVac (Wang et al., 2021); see GradVacWeighting."""

    gramian_weighting: GradVacWeighting
    beta = Forwarded[float]()
    eps = Forwarded[float]()
    order = Forwarded[Optional[Sequence[int]]](extra=True)
    seed = Forwarded[Optional[int]](extra=True)

    def __init__(
        self,
        beta: float = 0.5,
        eps: float = 1e-8,
        *,
        order: Optional[Sequence[int]] = None,
        seed: Optional[int] = None,
    ) -> None:
        super().__init__(GradVacWeighting(beta, eps, order=order, seed=seed))
