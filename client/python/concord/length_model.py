"""Length of the combined direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional, Union

import torch

from concord.utils import unit_vector

__all__ = ["LengthModel", "ProjectionLength"]


class LengthModel:
    """Base class. A class derived from it works embedded, not against a server."""

    def __init__(self) -> None:
        pass

    def get_length(
        self,
        target_vector: Optional[torch.Tensor] = None,
        unit_target_vector: Optional[torch.Tensor] = None,
        gradients: Optional[torch.Tensor] = None,
        losses: Optional[Sequence] = None,
    ) -> Union[torch.Tensor, float]:
        """Length for a direction, given as it is or as a unit vector."""
        raise NotImplementedError(f"{type(self).__name__} has to define get_length")

    def rescale_length(
        self,
        target_vector: torch.Tensor,
        gradients: Optional[torch.Tensor] = None,
        losses: Optional[Sequence] = None,
    ) -> torch.Tensor:
        """`target_vector` at the length that get_length gives."""
        unit = unit_vector(target_vector)
        length = self.get_length(
            target_vector=target_vector,
            unit_target_vector=unit,
            gradients=gradients,
            losses=losses,
        )
        return unit * length


class ProjectionLength(LengthModel):
    """The sum of the gradients' projections on the direction (ConFIG eq. 5)."""

    def get_length(
        self,
        target_vector: Optional[torch.Tensor] = None,
        unit_target_vector: Optional[torch.Tensor] = None,
        gradients: Optional[torch.Tensor] = None,
        losses: Optional[Sequence] = None,
    ) -> torch.Tensor:
        if gradients is None:
            raise ValueError("ProjectionLength needs the gradients")
        if unit_target_vector is None:
            if target_vector is None:
                raise ValueError("ProjectionLength needs target_vector or unit_target_vector")
            unit_target_vector = unit_vector(target_vector)
        with torch.no_grad():
            projections = gradients.double() @ unit_target_vector.double()
            return projections.sum().to(gradients.dtype)
