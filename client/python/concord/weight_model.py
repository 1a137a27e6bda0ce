"""Weights of the losses in the direction's cosines (ConFIG eq. 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Optional, Union

import torch

from concord import _native
from concord.errors import invalid

__all__ = ["WeightModel", "EqualWeight", "GivenWeight", "RandomWeight", "DynamicWeightAverage"]


class WeightModel:
    """Base class. A class derived from it works embedded, not against a server."""

    def __init__(self) -> None:
        pass

    def get_weights(
        self,
        gradients: Optional[torch.Tensor] = None,
        losses: Optional[Sequence] = None,
        device: Optional[Union[torch.device, str]] = None,
    ) -> torch.Tensor:
        """Weights for the m rows of `gradients` (m, n): m numbers > 0."""
        raise NotImplementedError(f"{type(self).__name__} has to define get_weights")


class EqualWeight(WeightModel):
    """The same weight, and so the same cosine, for every loss."""

    def get_weights(
        self,
        gradients: Optional[torch.Tensor] = None,
        losses: Optional[Sequence] = None,
        device: Optional[Union[torch.device, str]] = None,
    ) -> torch.Tensor:
        if gradients is None:
            raise ValueError("EqualWeight needs the gradients, for their number")
        return torch.ones(gradients.shape[0], device=device)

    def _message(self) -> dict[str, Any]:
        return {"equal": {}}


class GivenWeight(WeightModel):
    """Fixed weights, one per loss, finite and > 0; only their ratios matter."""

    def __init__(self, weights: Sequence[float]) -> None:
        super().__init__()
        self.weights = tuple(float(weight) for weight in weights)
        for i, weight in enumerate(self.weights):
            if not (math.isfinite(weight) and weight > 0):
                raise invalid("INVALID_OPTION", f"weights[{i}]", weight, "a finite number > 0")

    def get_weights(
        self,
        gradients: Optional[torch.Tensor] = None,
        losses: Optional[Sequence] = None,
        device: Optional[Union[torch.device, str]] = None,
    ) -> torch.Tensor:
        if gradients is not None and gradients.shape[0] != len(self.weights):
            raise invalid(
                "INVALID_OPTION", "len(weights)", len(self.weights), f"{gradients.shape[0]}"
            )
        return torch.tensor(self.weights, dtype=torch.float64, device=device)

    def _message(self) -> dict[str, Any]:
        return {"given": {"weights": list(self.weights)}}


class RandomWeight(WeightModel):
    """New random weights in each step (RLW): softmax of standard normal numbers,
    which are a function of `seed`, the step and the losses' indexes.

    In an operator the engine counts the steps, operator by operator; get_weights
    counts its own calls.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        self._calls = 0

    def get_weights(
        self,
        gradients: Optional[torch.Tensor] = None,
        losses: Optional[Sequence] = None,
        device: Optional[Union[torch.device, str]] = None,
    ) -> torch.Tensor:
        if gradients is None:
            raise ValueError("RandomWeight needs the gradients, for their number")
        count = gradients.shape[0]
        options = _native.make_options(
            num_vectors=count, methods=f'{{"combiner": {{"random": {{"seed": "{self.seed}"}}}}}}'
        )
        identity = torch.eye(count, dtype=torch.float64).tolist()
        found = _native.solve(identity, options, [float(self._calls)])
        self._calls += 1
        return torch.tensor(found["coefficients"], dtype=torch.float64, device=device)

    def _message(self) -> dict[str, Any]:
        return {"random": {"seed": str(self.seed)}}


class DynamicWeightAverage(WeightModel):
    """Losses that fall slowest weigh most (DWA): softmax of the ratios
    L_i(t-1) / L_i(t-2) over `temperature`, times the number of losses; 1 in the
    first two steps. Needs the losses, and so a loss recorder under momentum.
    """

    def __init__(self, temperature: float = 2.0) -> None:
        super().__init__()
        if not (math.isfinite(temperature) and temperature >= 0.01):
            raise invalid("INVALID_OPTION", "temperature", temperature, "a finite number >= 0.01")
        self.temperature = float(temperature)
        self._seen: list[torch.Tensor] = []

    def get_weights(
        self,
        gradients: Optional[torch.Tensor] = None,
        losses: Optional[Sequence] = None,
        device: Optional[Union[torch.device, str]] = None,
    ) -> torch.Tensor:
        if losses is None:
            raise invalid("LOSSES_MISSING", "losses", None, "one per gradient")
        values: Any = [float(loss) for loss in losses]
        newest = torch.tensor(values, dtype=torch.float64)
        weights = torch.ones_like(newest)
        if len(self._seen) == 2:
            before, last = self._seen
            ratios = torch.where(before == 0, 1.0, last / torch.where(before == 0, 1.0, before))
            weights = len(newest) * torch.softmax(ratios / self.temperature, dim=0)
        self._seen = [*self._seen[-1:], newest]
        return weights.to(device)

    def _message(self) -> dict[str, Any]:
        return {"dynamic_average": {"temperature": self.temperature}}


ENGINE_WEIGHTS = (EqualWeight, GivenWeight, RandomWeight, DynamicWeightAverage)
