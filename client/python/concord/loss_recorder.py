"""Loss recorders: what a loss's value is taken to be at a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Union

from concord import _native
from concord._inputs import parse_indexes, parse_losses

__all__ = ["LossRecorder", "LatestLossRecorder"]


class LossRecorder:
    """Base class. A class derived from it works embedded, not against a server.

    An operator hands over plain numbers, and puts `__dict__` back where a step
    that recorded its losses was refused afterwards.
    """

    def __init__(self, num_losses: int) -> None:
        self.num_losses = num_losses
        self.current_losses: list[float] = [0.0] * num_losses

    def record_loss(
        self, losses_indexes: Union[int, Sequence[int]], losses: Union[float, Sequence]
    ) -> list:
        """Records losses[i] for loss losses_indexes[i]; returns all recorded losses."""
        raise NotImplementedError(f"{type(self).__name__} has to define record_loss")

    def record_all_losses(self, losses: Sequence) -> list:
        """Records one value for every loss, in order."""
        return self.record_loss(list(range(self.num_losses)), losses)

    def _preprocess_losses(
        self, losses_indexes: Union[int, Sequence[int]], losses: Union[float, Sequence]
    ) -> tuple[list[int], list[float]]:
        """Checked lists of equal length."""
        indexes = parse_indexes(losses_indexes, self.num_losses)
        return indexes, parse_losses(losses, len(indexes))


class LatestLossRecorder(LossRecorder):
    """Keeps the latest value of every loss, 0 until it has been seen."""

    def __init__(self, num_losses: int) -> None:
        self._recorder = _native.latest_loss_recorder(num_losses)
        super().__init__(num_losses)

    def record_loss(
        self, losses_indexes: Union[int, Sequence[int]], losses: Union[float, Sequence]
    ) -> list:
        self._recorder.record(*self._preprocess_losses(losses_indexes, losses))
        self.current_losses = self._recorder.losses()
        return self.current_losses

    @property
    def seen(self) -> list[bool]:
        """Which losses have been recorded."""
        return self._recorder.seen()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_recorder": self._recorder.state()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._recorder = _native.latest_loss_recorder(self.num_losses)
        self._recorder.restore(state["_recorder"])
