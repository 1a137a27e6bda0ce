"""The field's other gradient methods, as gradient operators.

Each works alone, under a momentum operator (`gradient_operator=`), in a Session,
embedded and through a server. What a method is and guarantees stands in
operators/combine, one header per method.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Optional

from concord._engine_operator import EngineOperator, engine_operator
from concord._options import derived_from_engine
from concord.errors import invalid

__all__ = [
    "AlignedMTLOperator",
    "CAGradOperator",
    "CRMOGMOperator",
    "ConstantOperator",
    "DBMTLOperator",
    "DualProjOperator",
    "FairGradOperator",
    "GradDropOperator",
    "GradVacOperator",
    "IMTLGOperator",
    "KrumOperator",
    "MGDAOperator",
    "MeanOperator",
    "NashMTLOperator",
    "PCGradOperator",
    "RandomOperator",
    "SumOperator",
    "TrimmedMeanOperator",
    "UPGradOperator",
]


_SCALES = {"min": "MINIMUM", "median": "MEDIAN", "rmse": "RMSE"}


def _order(order: Optional[Sequence[int]], seed: Optional[int]) -> dict[str, Any]:
    """A VisitingOrder: ascending, explicit, or random by seed."""
    if order is not None and seed is not None:
        raise ValueError("give order or seed, not both")
    if order is not None:
        return {"explicit": {"indexes": [_count("order", index) for index in order]}}
    return {"ascending": {}} if seed is None else {"seeded": {"seed": _seed(seed)}}


def _seed(seed: int) -> str:
    if not 0 <= seed < 2**64:
        raise invalid("INVALID_OPTION", "seed", seed, "0 ... 2**64 - 1")
    return str(int(seed))  # JSON's numbers end before.


def _count(name: str, value: int) -> int:
    if not 0 <= value < 2**31:
        raise invalid("INVALID_OPTION", name, value, "an integer >= 0")
    return int(value)


def _numbers(values: Optional[Sequence[float]]) -> list[float]:
    return [] if values is None else [float(value) for value in values]


@engine_operator
class PCGradOperator(EngineOperator):
    """PCGrad: every gradient is projected onto the normal plane of each other one
    that it conflicts with, in ascending order, in `order`, or in a random order by
    `seed` (the paper's); the results are summed."""

    def __init__(
        self,
        order: Optional[Sequence[int]] = None,
        seed: Optional[int] = None,
        *,
        server: Optional[str] = None,
    ) -> None:
        self.order, self.seed = order, seed
        self.stateful = seed is not None
        super().__init__(server=server)

    def _message(self) -> dict[str, Any]:
        return {"pcgrad": {"order": _order(self.order, self.seed)}}


@engine_operator
class GradVacOperator(EngineOperator):
    """GradVac: as PCGrad, with a moving average of each pair's cosine, `beta` the
    newest one's part, as the cosine that is to be reached."""

    stateful = True

    def __init__(
        self,
        beta: float = 0.5,
        order: Optional[Sequence[int]] = None,
        seed: Optional[int] = None,
        *,
        server: Optional[str] = None,
    ) -> None:
        self.beta, self.order, self.seed = beta, order, seed
        super().__init__(server=server)

    def _message(self) -> dict[str, Any]:
        return {"gradvac": {"beta": float(self.beta), "order": _order(self.order, self.seed)}}


@engine_operator
class IMTLGOperator(EngineOperator):
    """IMTL-G: equal projections onto all gradients' directions."""

    def _message(self) -> dict[str, Any]:
        return {"imtlg": {}}


@engine_operator
class MGDAOperator(EngineOperator):
    """MGDA: the shortest vector of the gradients' convex hull, exactly."""

    def _message(self) -> dict[str, Any]:
        return {"mgda": {}}


class _DualConeOperator(EngineOperator):
    """What the methods that project onto the dual cone of the gradients share."""

    _method: ClassVar[str]

    def __init__(
        self,
        preference: Optional[Sequence[float]] = None,
        reg_eps: float = 0.0,
        *,
        server: Optional[str] = None,
    ) -> None:
        self.preference, self.reg_eps = preference, reg_eps
        super().__init__(server=server)

    def _message(self) -> dict[str, Any]:
        preference = _numbers(self.preference)
        return {self._method: {"preference": preference, "regEps": float(self.reg_eps)}}


@engine_operator
class UPGradOperator(_DualConeOperator):
    """UPGrad: every gradient projected onto the dual cone of all, averaged (or
    summed with `preference`). `reg_eps`, of the Gram matrix's trace, regularises."""

    _method = "upgrad"


@engine_operator
class DualProjOperator(_DualConeOperator):
    """DualProj: the mean (or the sum with `preference`), projected onto the dual
    cone of the gradients. `reg_eps`, of the Gram matrix's trace, regularises."""

    _method = "dualproj"


@engine_operator
class CAGradOperator(EngineOperator):
    """CAGrad: the largest smallest gain within a ball of radius `c`, of the mean's
    length, about the mean."""

    def __init__(self, c: float = 0.5, *, server: Optional[str] = None) -> None:
        self.c = c
        super().__init__(server=server)

    def _message(self) -> dict[str, Any]:
        return {"cagrad": {"c": float(self.c)}}


@engine_operator
class NashMTLOperator(EngineOperator):
    """NashMTL: Nash's bargaining solution, shortened to `max_norm` (0: never), taken
    anew every `update_every` steps."""

    def __init__(
        self, max_norm: float = 1.0, update_every: int = 1, *, server: Optional[str] = None
    ) -> None:
        self.max_norm, self.update_every = max_norm, update_every
        self.stateful = update_every != 1
        if update_every < 1:
            raise invalid("INVALID_OPTION", "update_every", update_every, ">= 1")
        super().__init__(server=server)

    def _message(self) -> dict[str, Any]:
        every = _count("update_every", self.update_every)
        return {"nashMtl": {"maxNorm": float(self.max_norm), "updateEvery": every}}


@engine_operator
class FairGradOperator(EngineOperator):
    """FairGrad: `alpha`-fair in what each loss gains; 1 is NashMTL unclipped."""

    def __init__(self, alpha: float = 1.0, *, server: Optional[str] = None) -> None:
        self.alpha = alpha
        super().__init__(server=server)

    def _message(self) -> dict[str, Any]:
        return {"fairgrad": {"alpha": float(self.alpha)}}


@engine_operator
class AlignedMTLOperator(EngineOperator):
    """AlignedMTL: the nearest orthogonal gradients of one length, averaged (or
    summed with `preference`). `scale`: "min", "median" or "rmse"."""

    def __init__(
        self,
        preference: Optional[Sequence[float]] = None,
        scale: str = "min",
        *,
        server: Optional[str] = None,
    ) -> None:
        if scale not in _SCALES:
            raise invalid("INVALID_OPTION", "scale", scale, "min, median or rmse")
        self.preference, self.scale = preference, scale
        super().__init__(server=server)

    def _message(self) -> dict[str, Any]:
        preference, scale = _numbers(self.preference), _SCALES[self.scale]
        return {"alignedMtl": {"preference": preference, "scale": scale}}


@engine_operator
class KrumOperator(EngineOperator):
    """Krum: the mean of the `n_selected` gradients with the smallest sum of distances
    (the paper: `squared`) to their nearest others, with `n_byzantine` that may lie."""

    def __init__(
        self,
        n_byzantine: int = 0,
        n_selected: int = 1,
        squared: bool = False,
        *,
        server: Optional[str] = None,
    ) -> None:
        self.n_byzantine, self.n_selected, self.squared = n_byzantine, n_selected, squared
        super().__init__(server=server)

    def _message(self) -> dict[str, Any]:
        byzantine = _count("n_byzantine", self.n_byzantine)
        selected = _count("n_selected", self.n_selected)
        return {
            "krum": {
                "nByzantine": byzantine,
                "nSelected": selected,
                "squared": bool(self.squared),
            }
        }


@engine_operator
class MeanOperator(EngineOperator):
    """Mean of the gradients."""

    def _message(self) -> dict[str, Any]:
        return {"mean": {}}


@engine_operator
class SumOperator(EngineOperator):
    """Sum of the gradients."""

    def _message(self) -> dict[str, Any]:
        return {"sum": {}}


@engine_operator
class ConstantOperator(EngineOperator):
    """The gradients with constant weights, one per loss."""

    def __init__(self, weights: Sequence[float], *, server: Optional[str] = None) -> None:
        self.weights = _numbers(weights)
        super().__init__(server=server)

    def _message(self) -> dict[str, Any]:
        return {"constant": {"weights": self.weights}}


@engine_operator
class RandomOperator(EngineOperator):
    """Random weights that sum to 1, new ones in each step, by `seed`."""

    stateful = True

    def __init__(self, seed: int = 0, *, server: Optional[str] = None) -> None:
        self.seed = seed
        super().__init__(server=server)

    def _message(self) -> dict[str, Any]:
        return {"random": {"seed": _seed(self.seed)}}


@engine_operator
class CRMOGMOperator(EngineOperator):
    """Another method's coefficients, smoothed over the steps:
    alpha times those of the step before, plus 1 - alpha times its own.

    Args:
        gradient_operator: One of the engine's that gives coefficients.
        alpha: In [0, 1].
        initial_weights: What stands for the step before the first, one number per
            loss; None: the first step's own.
    """

    stateful = True

    def __init__(
        self,
        gradient_operator: EngineOperator,
        alpha: float = 0.9,
        initial_weights: Optional[Sequence[float]] = None,
        *,
        server: Optional[str] = None,
    ) -> None:
        if not callable(getattr(gradient_operator, "calculate_gradient", None)):
            raise TypeError(
                f"gradient_operator must be a GradientOperator, not {gradient_operator!r}"
            )
        self.gradient_operator = gradient_operator
        self.alpha = alpha
        self.initial_weights = _numbers(initial_weights)
        derived = derived_from_engine(gradient_operator)
        if derived is not None:
            raise TypeError(
                f"{type(derived).__qualname__} is defined in Python; CRMOGMOperator smooths the "
                "coefficients of the engine's own operators"
            )
        super().__init__(server=server)

    @property
    def needs_losses(self) -> bool:  # type: ignore[override]
        """Whether the wrapped method needs them."""
        return self.gradient_operator.needs_losses

    def _message(self) -> dict[str, Any]:
        return {
            "cr_mogm": {
                "combiner": self.gradient_operator._message(),
                "alpha": self.alpha,
                "initial_weights": self.initial_weights,
            }
        }


@engine_operator
class GradDropOperator(EngineOperator):
    """Of every parameter's values only those of one sign stay, drawn with the
    probability that their sums suggest, by `seed`, step and parameter.

    Args:
        seed: Of the draws.
        leak: What stays of a value that is dropped, one number in [0, 1] per loss;
            None: nothing.
    """

    stateful = True

    def __init__(
        self,
        seed: int = 0,
        leak: Optional[Sequence[float]] = None,
        *,
        server: Optional[str] = None,
    ) -> None:
        self.seed = seed
        self.leak = _numbers(leak)
        super().__init__(server=server)

    def _message(self) -> dict[str, Any]:
        return {"graddrop": {"seed": _seed(self.seed), "leak": self.leak}}


@engine_operator
class TrimmedMeanOperator(EngineOperator):
    """Of every parameter's values the mean without the `trim_number` largest and
    smallest ones."""

    def __init__(self, trim_number: int, *, server: Optional[str] = None) -> None:
        self.trim_number = trim_number
        super().__init__(server=server)

    def _message(self) -> dict[str, Any]:
        return {"trimmed_mean": {"trim_number": _count("trim_number", self.trim_number)}}


@engine_operator
class DBMTLOperator(EngineOperator):
    """Every gradient at the length of the longest one, summed (DB-MTL's balance of
    lengths; its other half is to bring the gradients of the losses' logarithms)."""

    def _message(self) -> dict[str, Any]:
        return {"db_mtl": {}}
