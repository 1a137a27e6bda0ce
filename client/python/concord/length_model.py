"""Length of the combined direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional, Union

import torch

from concord.errors import invalid

# What the module of the conflictfree package offers by the way.
from concord.utils import *  # noqa: F403
from concord.utils import unit_vector

__all__ = [
    "LengthModel",
    "ProjectionLength",
    "TrackArithmeticAverage",
    "TrackGeometricAverage",
    "TrackHarmonicAverage",
    "TrackMaximum",
    "TrackMinimum",
    "TrackSpecific",
]


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

    def _message(self) -> dict[str, Any]:
        return {"projection": {}}


class _TrackedLength(LengthModel):
    """As if every gradient had the tracked length before it is projected; gradients
    that are zero do not count."""

    _field = ""

    def get_length(
        self,
        target_vector: Optional[torch.Tensor] = None,
        unit_target_vector: Optional[torch.Tensor] = None,
        gradients: Optional[torch.Tensor] = None,
        losses: Optional[Sequence] = None,
    ) -> torch.Tensor:
        if gradients is None:
            raise ValueError(f"{type(self).__name__} needs the gradients")
        if unit_target_vector is None:
            if target_vector is None:
                raise ValueError(f"{type(self).__name__} needs target_vector or unit_target_vector")
            unit_target_vector = unit_vector(target_vector)
        with torch.no_grad():
            wide = gradients.double()
            norms = torch.linalg.vector_norm(wide, dim=1)
            present = norms > 0
            if not present.any():
                return torch.zeros((), dtype=gradients.dtype, device=gradients.device)
            cosines = (wide @ unit_target_vector.double())[present] / norms[present]
            return (self._tracked_value(norms, present) * cosines.sum()).to(gradients.dtype)

    def _tracked_value(self, norms: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def _message(self) -> dict[str, Any]:
        return {self._field: {}}


class TrackMinimum(_TrackedLength):
    """The shortest gradient's length."""

    _field = "track_minimum"

    def _tracked_value(self, norms: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        return norms[present].min()


class TrackMaximum(_TrackedLength):
    """The longest gradient's length."""

    _field = "track_maximum"

    def _tracked_value(self, norms: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        return norms.max()


class TrackHarmonicAverage(_TrackedLength):
    """The harmonic mean of the gradients' lengths."""

    _field = "track_harmonic_average"

    def _tracked_value(self, norms: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        return 1 / (1 / norms[present]).mean()


class TrackArithmeticAverage(_TrackedLength):
    """The mean of the gradients' lengths."""

    _field = "track_arithmetic_average"

    def _tracked_value(self, norms: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        return norms[present].mean()


class TrackGeometricAverage(_TrackedLength):
    """The geometric mean of the gradients' lengths."""

    _field = "track_geometric_average"

    def _tracked_value(self, norms: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        return norms[present].log().mean().exp()


class TrackSpecific(_TrackedLength):
    """The length of one loss's gradient; where that is zero, so is the direction."""

    def __init__(self, track_id: int) -> None:
        super().__init__()
        if isinstance(track_id, bool) or not isinstance(track_id, int):
            raise TypeError(f"track_id must be an int, not {type(track_id).__name__}")
        if track_id < 0:
            raise invalid("INVALID_OPTION", "track_id", track_id, "the index of a loss")
        self.track_id = track_id

    def _tracked_value(self, norms: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        return norms[self.track_id]

    def _message(self) -> dict[str, Any]:
        return {"track_specific": {"index": self.track_id}}


ENGINE_LENGTHS = (
    ProjectionLength,
    TrackMinimum,
    TrackMaximum,
    TrackHarmonicAverage,
    TrackArithmeticAverage,
    TrackGeometricAverage,
    TrackSpecific,
)
