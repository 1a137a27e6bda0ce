"""Gradient operators: the losses' gradients in, one conflict-free gradient out.

ConFIG and the operators of the conflictfree package; concord.methods has the
rest of the field's.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Optional, Union

import torch

from concord._engine_operator import EngineOperator, GradientOperator, engine_operator
from concord._inputs import Rows
from concord._options import derived_from_engine, refuse_derived

# What the module of the conflictfree package offers by the way.
from concord.length_model import *  # noqa: F403
from concord.length_model import ENGINE_LENGTHS, LengthModel, ProjectionLength
from concord.methods import IMTLGOperator, PCGradOperator
from concord.utils import *  # noqa: F403
from concord.weight_model import *  # noqa: F403
from concord.weight_model import (
    ENGINE_WEIGHTS,
    DynamicWeightAverage,
    EqualWeight,
    RandomWeight,
    WeightModel,
)

__all__ = [
    "GradientOperator",
    "ConFIGOperator",
    "ConFIG_update",
    "ConFIG_update_double",
    "IMTLGOperator",
    "IMTLG_update",
    "PCGradOperator",
    "PCGrad_update",
]


@engine_operator
class ConFIGOperator(EngineOperator):
    """The direction with the same positive cosine (or cosines in the ratio of given
    weights) to every gradient.

    `allow_simplified_model` and `use_least_square` choose between algorithms in
    the conflictfree package; here the solve is exact whatever they say.
    """

    def __init__(
        self,
        weight_model: WeightModel = EqualWeight(),
        length_model: LengthModel = ProjectionLength(),
        allow_simplified_model: bool = True,
        use_least_square: bool = True,
        *,
        server: Optional[str] = None,
    ) -> None:
        if not callable(getattr(weight_model, "get_weights", None)):
            raise TypeError(f"weight_model must be a WeightModel, not {weight_model!r}")
        if not callable(getattr(length_model, "rescale_length", None)):
            raise TypeError(f"length_model must be a LengthModel, not {length_model!r}")
        self.weight_model = weight_model
        self.length_model = length_model
        self.allow_simplified_model = allow_simplified_model
        self.use_least_square = use_least_square
        super().__init__(server=server)
        if server:
            refuse_derived(derived_from_engine(self))

    @property
    def stateful(self) -> bool:  # type: ignore[override]
        """Whether the weights depend on the steps before."""
        return type(self.weight_model) in (RandomWeight, DynamicWeightAverage)

    @property
    def needs_losses(self) -> bool:  # type: ignore[override]
        """Whether the weights follow the losses."""
        return type(self.weight_model) is DynamicWeightAverage

    def _message(self) -> dict[str, Any]:
        weight = length = {}
        if type(self.weight_model) in ENGINE_WEIGHTS:
            weight = self.weight_model._message()  # type: ignore[attr-defined]
        if type(self.length_model) in ENGINE_LENGTHS:
            length = self.length_model._message()  # type: ignore[attr-defined]
        return {"config": {"weight": weight, "length": length}}

    def _derived_part(self) -> Optional[object]:
        if type(self.weight_model) not in ENGINE_WEIGHTS:
            return self.weight_model
        if type(self.length_model) not in ENGINE_LENGTHS:
            return self.length_model
        return None

    def _combine(self, rows: Rows, losses: Optional[Sequence]) -> torch.Tensor:
        if self._derived_part() is None:
            return super()._combine(rows, losses)
        message = self._message()
        if type(self.weight_model) not in ENGINE_WEIGHTS:
            message["config"]["weight"] = {"given": {"weights": self._weights(rows, losses)}}
        combined = self._step(rows, message, losses if self.needs_losses else None)
        if type(self.length_model) in ENGINE_LENGTHS:
            return combined
        return self.length_model.rescale_length(
            target_vector=combined, gradients=rows.stacked(), losses=losses
        )

    def _weights(self, rows: Rows, losses: Optional[Sequence]) -> list[float]:
        model = self.weight_model
        arguments: dict[str, Any] = {"gradients": rows.stacked(), "losses": losses}
        parameters = inspect.signature(model.get_weights).parameters
        if "device" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            arguments["device"] = rows.device
        return torch.as_tensor(model.get_weights(**arguments)).double().reshape(-1).tolist()


def ConFIG_update(
    grads: Union[torch.Tensor, Sequence[torch.Tensor]],
    weight_model: WeightModel = EqualWeight(),
    length_model: LengthModel = ProjectionLength(),
    use_least_square: bool = True,
    losses: Optional[Sequence] = None,
) -> torch.Tensor:
    """ConFIGOperator as a function."""
    operator = ConFIGOperator(weight_model, length_model, use_least_square=use_least_square)
    return operator.calculate_gradient(grads, losses)


def ConFIG_update_double(
    grad_1: torch.Tensor,
    grad_2: torch.Tensor,
    weight_model: WeightModel = EqualWeight(),
    length_model: LengthModel = ProjectionLength(),
    losses: Optional[Sequence] = None,
) -> torch.Tensor:
    """ConFIG_update of two gradients."""
    return ConFIG_update([grad_1, grad_2], weight_model, length_model, losses=losses)


def PCGrad_update(grads: Union[torch.Tensor, Sequence[torch.Tensor]]) -> torch.Tensor:
    """PCGradOperator as a function."""
    return PCGradOperator().calculate_gradient(grads)


def IMTLG_update(grads: Union[torch.Tensor, Sequence[torch.Tensor]]) -> torch.Tensor:
    """IMTLGOperator as a function."""
    return IMTLGOperator().calculate_gradient(grads)
