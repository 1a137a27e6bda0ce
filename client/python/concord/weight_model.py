"""Weights of the losses in the direction's cosines (ConFIG eq. 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Optional, Union

import torch

from concord.errors import invalid

__all__ = ["WeightModel", "EqualWeight", "GivenWeight"]


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
