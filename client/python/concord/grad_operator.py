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
from concord.length_model import LengthModel, ProjectionLength
from concord.methods import IMTLGOperator, PCGradOperator
from concord.weight_model import EqualWeight, GivenWeight, WeightModel

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

    def _message(self) -> dict[str, Any]:
        return _config_message(getattr(self.weight_model, "weights", None))

    def _derived_part(self) -> Optional[object]:
        if type(self.weight_model) not in (EqualWeight, GivenWeight):
            return self.weight_model
        if type(self.length_model) is not ProjectionLength:
            return self.length_model
        return None

    def _combine(self, rows: Rows, losses: Optional[Sequence]) -> torch.Tensor:
        combined = self._step(rows, _config_message(self._weights(rows, losses)))
        if type(self.length_model) is ProjectionLength:
            return combined
        return self.length_model.rescale_length(
            target_vector=combined, gradients=torch.stack(rows.rows), losses=losses
        )

    def _weights(self, rows: Rows, losses: Optional[Sequence]) -> Optional[Sequence[float]]:
        model = self.weight_model
        if type(model) is EqualWeight:
            return None
        if type(model) is GivenWeight:
            return model.weights
        arguments: dict[str, Any] = {"gradients": torch.stack(rows.rows), "losses": losses}
        parameters = inspect.signature(model.get_weights).parameters
        if "device" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            arguments["device"] = rows.device
        return torch.as_tensor(model.get_weights(**arguments)).double().reshape(-1).tolist()


def _config_message(weights: Optional[Sequence[float]]) -> dict[str, Any]:
    if weights is None:
        return {"config": {}}
    return {"config": {"weight": {"given": {"weights": list(weights)}}}}


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
