"""UPGrad and DualProj: projections onto the dual cone of the gradients."""

from __future__ import annotations

from typing import Any, Optional

from torch import Tensor

from concord._engine_operator import EngineOperator
from concord.aggregation._aggregator import GramianWeightedAggregator
from concord.aggregation._engine import GramianWeighting
from concord.aggregation._option import (
    Forwarded,
    Option,
    not_negative,
    numbers,
    optional_vector,
    short,
)
from concord.methods import DualProjOperator, UPGradOperator


class QuadprogProjector:
    """How the projections are regularised: `reg_eps`, of the Gramian's trace, is
    added to its diagonal. 0 projects exactly; with more the result may conflict.

    The name is torchjd's; the solver is the engine's own. `norm_eps` has no effect:
    in torchjd a Gramian whose trace is smaller counts as zero, and with it every
    small gradient.
    """

    def __init__(self, *, norm_eps: float = 0.0001, reg_eps: float = 0.0001) -> None:
        self.norm_eps = norm_eps
        self.reg_eps = reg_eps

    @property
    def norm_eps(self) -> float:
        return self._norm_eps

    @norm_eps.setter
    def norm_eps(self, value: float) -> None:
        self._norm_eps = not_negative("norm_eps", value)

    @property
    def reg_eps(self) -> float:
        return self._reg_eps

    @reg_eps.setter
    def reg_eps(self, value: float) -> None:
        self._reg_eps = not_negative("reg_eps", value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(norm_eps={self.norm_eps}, reg_eps={self.reg_eps})"


def _projector(name: str, value: Any) -> Any:
    """torchjd's own QuadprogProjector will do."""
    if value is None:
        return QuadprogProjector()
    if not hasattr(value, "reg_eps"):
        raise TypeError(
            f"{name} must be a QuadprogProjector, not {type(value).__name__}: the engine projects, "
            "and takes nothing but reg_eps from it"
        )
    return value


class _DualConeWeighting(GramianWeighting):
    """What the two methods' weightings share."""

    pref_vector = Option[Optional[Tensor]](optional_vector)
    projector = Option[Any](_projector)
    _operator: Any

    def __init__(
        self, pref_vector: Optional[Tensor] = None, projector: Optional[Any] = None
    ) -> None:
        super().__init__(pref_vector=pref_vector, projector=projector)

    def _configured(self) -> EngineOperator:
        # A projector can be changed behind the weighting's back.
        self._operator.reg_eps = self.projector.reg_eps
        return self._operator


class _DualConeAggregator(GramianWeightedAggregator):
    """What the two methods' aggregators share."""

    gramian_weighting: _DualConeWeighting
    pref_vector = Forwarded[Optional[Tensor]]()
    projector = Forwarded[Any]()

    def __str__(self) -> str:
        return f"{type(self).__name__}{short(self.pref_vector)}"


class UPGradWeighting(_DualConeWeighting):
    """Each gradient projected onto the dual cone of all: weights of the projections'
    mean, or of their sum with `pref_vector` (entries finite and > 0).

    `projector`: how strongly it is regularised, see QuadprogProjector. A Gramian is
    solved whatever its scale; torchjd takes one with a trace below 1e-4 for zero
    and gives the plain mean.
    """

    def _engine(self, options: dict[str, Any]) -> EngineOperator:
        preference = numbers(options["pref_vector"])
        return UPGradOperator(preference, options["projector"].reg_eps, server="")


class UPGrad(_DualConeAggregator):
    """UPGrad (Quinton, Rey, 2024); see UPGradWeighting."""

    gramian_weighting: UPGradWeighting

    def __init__(
        self, pref_vector: Optional[Tensor] = None, projector: Optional[Any] = None
    ) -> None:
        super().__init__(UPGradWeighting(pref_vector, projector))


class DualProjWeighting(_DualConeWeighting):
    """The gradients' mean, or their sum with `pref_vector` (entries finite and > 0),
    projected onto the dual cone.

    `projector`: how strongly it is regularised, see QuadprogProjector; that and
    small gradients as in UPGradWeighting.
    """

    def _engine(self, options: dict[str, Any]) -> EngineOperator:
        preference = numbers(options["pref_vector"])
        return DualProjOperator(preference, options["projector"].reg_eps, server="")


class DualProj(_DualConeAggregator):
    """DualProj (Lopez-Paz, Ranzato, 2017); see DualProjWeighting."""

    gramian_weighting: DualProjWeighting

    def __init__(
        self, pref_vector: Optional[Tensor] = None, projector: Optional[Any] = None
    ) -> None:
        super().__init__(DualProjWeighting(pref_vector, projector))
