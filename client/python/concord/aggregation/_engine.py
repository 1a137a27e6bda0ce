"""Weightings whose arithmetic is the engine's."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, Optional

import torch
from torch import Tensor

from concord import _native
from concord._engine_operator import EngineOperator
from concord._inputs import HALF_DTYPES, parse_gradients
from concord._options import make_options
from concord.aggregation._weighting import Stateful, Step, Weighting
from concord.errors import invalid


class EngineWeighting(Weighting[Tensor]):
    """Holds the engine's operator of a method, which solves a Gramian or combines a
    matrix where its rows lie."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.configure(options)

    def configure(self, options: dict[str, Any]) -> None:
        """Makes `options` the weighting's, if all of them are accepted."""
        checked = {name: getattr(type(self), name).check(v) for name, v in options.items()}
        self._operator = self._engine(checked)
        self.options = checked

    @abstractmethod
    def _engine(self, options: dict[str, Any]) -> EngineOperator:
        """The engine's operator with these options."""

    def _configured(self) -> EngineOperator:
        """The operator, as the options are now."""
        return self._operator

    def _check_rows(self, count: int) -> None:
        """Refuses a number of rows, for what the engine cannot see."""

    def _remembered(self, count: int) -> list[float]:
        """The state from which a call with `count` rows starts."""
        return []

    def _remember(self, count: int, state: list[float]) -> None:
        """Keeps the state after a call."""

    def _solve(self, gram: list[list[float]], like: Tensor) -> Tensor:
        count = len(gram)
        self._check_rows(count)
        if count == 0:
            return like.new_zeros(0)
        method = self._configured()
        options = make_options(method, num_vectors=count, momentum={"none": {}})
        if method.stateful:
            found = _native.solve(gram, options, state=self._remembered(count))
            self._remember(count, found["state"])
        else:
            found = _native.solve(gram, options)
        return torch.tensor(found["coefficients"], dtype=like.dtype, device=like.device)

    def step(self, matrix: Tensor, of_gramian: bool) -> Optional[Step]:
        if matrix.numel() == 0:
            return None
        count = len(matrix)
        self._check_rows(count)
        rows = parse_gradients(matrix, None, HALF_DTYPES)
        vector, found = self._configured().combine_from(rows, self._remembered(count))
        self._remember(count, found["state"])
        weights = torch.tensor(found["coefficients"], dtype=matrix.dtype, device=matrix.device)
        return Step(weights, vector.to(matrix.dtype))


class GramianWeighting(EngineWeighting):
    """A weighting of the Gramian (m, m) of m gradients."""

    def forward(self, stat: Tensor, /) -> Tensor:
        return self._solve(_rows(stat), stat)

    def step(self, matrix: Tensor, of_gramian: bool) -> Optional[Step]:
        return super().step(matrix, of_gramian) if of_gramian else None


class StatefulWeighting(GramianWeighting, Stateful):
    """A weighting that remembers its calls, and is as new after reset() and with
    another number of losses. state_dict() has what it remembers."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.reset()

    def reset(self) -> None:
        """Makes it as new."""
        self._remember(0, [])

    def _remembered(self, count: int) -> list[float]:
        return self._state if count == self._count else []

    def _remember(self, count: int, state: list[float]) -> None:
        self._count, self._state = count, state

    def get_extra_state(self) -> dict[str, Any]:
        return {"count": self._count, "state": self._state}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self._remember(int(state["count"]), [float(number) for number in state["state"]])


class RowCountWeighting(EngineWeighting):
    """A weighting of a matrix (m, n), or of anything else with m rows, whose number
    alone it looks at."""

    def forward(self, stat: Tensor, /) -> Tensor:
        return self._solve(torch.eye(len(stat)).tolist(), stat)

    step = EngineWeighting.step


def _rows(gramian: Tensor) -> list[list[float]]:
    """The Gramian's entries, its two halves averaged: they differ where the products
    were summed in another order."""
    if gramian.dim() != 2 or gramian.shape[0] != gramian.shape[1]:
        raise invalid("INVALID_MATRIX", "gramian.shape", tuple(gramian.shape), "(m, m)")
    if not gramian.is_floating_point():
        raise TypeError(f"gramian must be of a floating type, not {gramian.dtype}")
    entries = gramian.detach().to("cpu", torch.float64)
    if entries.numel():
        # A sum of many rounded products errs by more than one rounding.
        accepted = math.sqrt(torch.finfo(gramian.dtype).eps) * float(entries.abs().max())
        difference = float((entries - entries.T).abs().max())
        if difference > accepted:
            raise invalid(
                "INVALID_MATRIX", "gramian - gramian.T", difference, f"at most {accepted:g}"
            )
    return ((entries + entries.T) / 2).tolist()
