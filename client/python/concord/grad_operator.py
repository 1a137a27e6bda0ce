"""Gradient operators: the losses' gradients in, one conflict-free gradient out."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Optional, Union

import torch

from concord._embedded import EmbeddedBackend
from concord._inputs import Rows, parse_gradients
from concord._options import derived_from_config, refuse_derived, resolve_server
from concord.length_model import LengthModel, ProjectionLength
from concord.utils import put_gradients
from concord.weight_model import EqualWeight, GivenWeight, WeightModel

__all__ = ["GradientOperator", "ConFIGOperator", "ConFIG_update", "ConFIG_update_double"]


class GradientOperator:
    """Base class. A class derived from it works embedded, not against a server."""

    def __init__(self) -> None:
        pass

    def calculate_gradient(
        self,
        grads: Union[torch.Tensor, Sequence[torch.Tensor]],
        losses: Optional[Sequence] = None,
    ) -> torch.Tensor:
        """The combination of the rows of `grads`: (m, n), or m vectors (n,)."""
        raise NotImplementedError(f"{type(self).__name__} has to define calculate_gradient")

    def update_gradient(
        self,
        network: torch.nn.Module,
        grads: Union[torch.Tensor, Sequence[torch.Tensor]],
        losses: Optional[Sequence] = None,
    ) -> None:
        """Makes the combination the network's gradients."""
        put_gradients(network, self.calculate_gradient(grads, losses), "skip", "pad_value")


class ConFIGOperator(GradientOperator):
    """The direction with the same positive cosine (or cosines in the ratio of given
    weights) to every gradient.

    `allow_simplified_model` and `use_least_square` choose between algorithms in
    the conflictfree package; here the solve is exact whatever they say.

    `server` (default: CONCORD_SERVER) lets a server combine; "" never does. A
    momentum operator has a server of its own and does not look at this one.
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
        super().__init__()
        if not callable(getattr(weight_model, "get_weights", None)):
            raise TypeError(f"weight_model must be a WeightModel, not {weight_model!r}")
        if not callable(getattr(length_model, "rescale_length", None)):
            raise TypeError(f"length_model must be a LengthModel, not {length_model!r}")
        self.weight_model = weight_model
        self.length_model = length_model
        self.allow_simplified_model = allow_simplified_model
        self.use_least_square = use_least_square
        self.server = server
        if server:
            refuse_derived(derived_from_config(self))
        self._backend: Optional[EmbeddedBackend] = None
        self._shape: Any = None

    def calculate_gradient(
        self,
        grads: Union[torch.Tensor, Sequence[torch.Tensor]],
        losses: Optional[Sequence] = None,
    ) -> torch.Tensor:
        rows = parse_gradients(grads, None)
        server = resolve_server(self.server)
        if server is not None and type(self) is ConFIGOperator:
            refuse_derived(derived_from_config(self))
            from concord.session import combine

            return combine(server, self, rows).to(device=rows.device, dtype=rows.dtype)
        return self._combine(rows, losses).to(rows.dtype)

    def _combine(self, rows: Rows, losses: Optional[Sequence]) -> torch.Tensor:
        weights = self._weights(rows, losses)
        shape = (len(rows.rows), rows.length, rows.rows[0].dtype, rows.device, weights)
        backend = self._backend if shape == self._shape else None
        if backend is None:
            settings: dict[str, Any] = {"num_vectors": len(rows.rows), "momentum": "none"}
            if weights is not None:
                settings["weights"] = list(weights)
            backend = EmbeddedBackend(settings, rows)
        combined = backend.step(list(range(len(rows.rows))), rows)
        self._backend, self._shape = backend, shape
        if type(self.length_model) is ProjectionLength:
            return combined
        return self.length_model.rescale_length(
            target_vector=combined, gradients=torch.stack(rows.rows), losses=losses
        )

    def _weights(self, rows: Rows, losses: Optional[Sequence]) -> Optional[tuple[float, ...]]:
        model = self.weight_model
        if type(model) is EqualWeight:
            return None
        if type(model) is GivenWeight:
            return model.weights
        arguments: dict[str, Any] = {"gradients": torch.stack(rows.rows), "losses": losses}
        parameters = inspect.signature(model.get_weights).parameters
        if "device" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            arguments["device"] = rows.device
        return tuple(torch.as_tensor(model.get_weights(**arguments)).double().reshape(-1).tolist())

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_backend": None, "_shape": None}


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
