"""NashMTL: Nash's bargaining solution."""

from __future__ import annotations

from typing import Any

from concord._engine_operator import EngineOperator
from concord.aggregation._aggregator import StatefulAggregator
from concord.aggregation._engine import StatefulWeighting
from concord.aggregation._option import Forwarded, Option, count, not_negative
from concord.errors import invalid
from concord.methods import NashMTLOperator


class NashMTLWeighting(StatefulWeighting):
    """The weights a > 0 with Gramian a = 1/a, shortened where the combination is
    longer than `max_norm` (0: never), taken anew in every `update_weights_every`-th
    call. torchjd has no public weighting.

    `n_tasks` is the number of rows that every call must have. `optim_niter` has no
    effect: the solution is unique, and found to rounding. The Gramian is not
    normalised, so that the length is sqrt(m) before it is shortened; torchjd's
    also grows with the gradients.
    """

    n_tasks = Option[int](count)
    max_norm = Option[float](not_negative)
    update_weights_every = Option[int](count)
    optim_niter = Option[int](count)

    def __init__(
        self,
        n_tasks: int,
        max_norm: float = 1.0,
        update_weights_every: int = 1,
        optim_niter: int = 20,
    ) -> None:
        super().__init__(
            n_tasks=n_tasks,
            max_norm=max_norm,
            update_weights_every=update_weights_every,
            optim_niter=optim_niter,
        )

    def _engine(self, options: dict[str, Any]) -> EngineOperator:
        return NashMTLOperator(options["max_norm"], options["update_weights_every"], server="")

    def _check_rows(self, count: int) -> None:
        if count != self.n_tasks:
            raise invalid("INVALID_OPTION", "n_tasks", self.n_tasks, f"{count}, one per gradient")


class NashMTL(StatefulAggregator):
    """NashMTL (Navon et al., 2022); see NashMTLWeighting."""

    gramian_weighting: NashMTLWeighting
    n_tasks = Forwarded[int]()
    max_norm = Forwarded[float]()
    update_weights_every = Forwarded[int]()
    optim_niter = Forwarded[int]()

    def __init__(
        self,
        n_tasks: int,
        max_norm: float = 1.0,
        update_weights_every: int = 1,
        optim_niter: int = 20,
    ) -> None:
        super().__init__(NashMTLWeighting(n_tasks, max_norm, update_weights_every, optim_niter))
