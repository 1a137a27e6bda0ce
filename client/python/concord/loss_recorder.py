"""Loss recorders: what a loss's value is taken to be at a step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Union

from concord import _native
from concord._inputs import parse_indexes, parse_losses
from concord.errors import invalid

__all__ = ["LossRecorder", "LatestLossRecorder", "MomentumLossRecorder"]


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


class EngineLossRecorder(LossRecorder):
    """Base class of the recorders whose arithmetic is the engine's."""

    def __init__(self, num_losses: int) -> None:
        self._make(num_losses)
        super().__init__(num_losses)

    def _message(self) -> dict[str, Any]:
        """The options: a concord.v1.LossRecorderOptions in JSON's terms."""
        raise NotImplementedError

    def _make(self, num_losses: int) -> None:
        if isinstance(num_losses, bool) or not isinstance(num_losses, int):
            raise TypeError(f"num_losses must be an int, not {type(num_losses).__name__}")
        if num_losses < 1:
            raise invalid("INVALID_OPTION", "num_losses", num_losses, ">= 1")
        methods = json.dumps({"loss_recorder": self._message()})
        self._recorder = _native.loss_recorder(
            _native.make_options(num_vectors=num_losses, methods=methods)
        )

    def record_loss(
        self, losses_indexes: Union[int, Sequence[int]], losses: Union[float, Sequence]
    ) -> list:
        self._recorder.record(*self._preprocess_losses(losses_indexes, losses))
        self.current_losses = self._recorder.losses()
        # A copy: what a caller does with it changes nothing here.
        return list(self.current_losses)

    @property
    def seen(self) -> list[bool]:
        """Which losses have been recorded."""
        return self._recorder.seen()

    def state(self) -> list[float]:
        """What it remembers, for `restore`."""
        return self._recorder.state()

    def restore(self, state: Sequence[float]) -> None:
        """Goes on from what `state` gave."""
        self._recorder.restore(state)
        self.current_losses = self._recorder.losses()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_recorder": self._recorder.state()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make(self.num_losses)
        self._recorder.restore(state["_recorder"])


class LatestLossRecorder(EngineLossRecorder):
    """Keeps the latest value of every loss, 0 until it has been seen."""

    def _message(self) -> dict[str, Any]:
        return {"latest": {}}


class MomentumLossRecorder(EngineLossRecorder):
    """Keeps a moving average of every loss, corrected for its start at zero:
    a <- beta a + (1 - beta) loss, value a / (1 - beta^t); 0 until it has been seen.

    Args:
        num_losses: Number of losses.
        betas: In [0, 1); one for all losses, or one per loss.
    """

    def __init__(self, num_losses: int, betas: Union[float, Sequence[float]] = 0.9) -> None:
        single = isinstance(betas, (int, float))
        self.betas: list[float] = (
            [float(betas)] * num_losses  # type: ignore[arg-type]
            if single
            else [float(beta) for beta in betas]  # type: ignore[union-attr]
        )
        if not single and len(self.betas) != num_losses:
            raise invalid("INVALID_OPTION", "len(betas)", len(self.betas), f"{num_losses}")
        super().__init__(num_losses)

    def _message(self) -> dict[str, Any]:
        return {"momentum": {"betas": self.betas}}


ENGINE_RECORDERS = (LatestLossRecorder, MomentumLossRecorder)
