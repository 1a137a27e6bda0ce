"""Methods that look at one column of the matrix at a time, and give no weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional

import torch
from torch import Tensor

from concord._engine_operator import EngineOperator
from concord._inputs import parse_gradients
from concord.aggregation._aggregator import Aggregator
from concord.aggregation._option import numbers, optional_vector, short
from concord.errors import invalid
from concord.methods import GradDropOperator, TrimmedMeanOperator


class _ColumnAggregator(Aggregator):
    """Combines with the engine's operator of a method."""

    _operator: EngineOperator

    def _combined(self, matrix: Tensor, state: list[float]) -> Tensor:
        rows = parse_gradients(matrix.detach(), None)
        return self._operator.combine_from(rows, state)[0].to(matrix.dtype)


def _identity(purity: Tensor) -> Tensor:
    return purity


class GradDrop(_ColumnAggregator):
    """In every column only the values of one sign stay.

    The positive ones with the probability f(P), where P is their part in the column's
    sum of sizes; of the others the part `leak` of their row. A call draws one number
    from torch's global generator of the CPU, and every column's draw is computed from
    it: after torch.manual_seed the same ones come again.

    Args:
        f: A function of the tensor of P, increasing. The engine computes the default;
            with another one the columns are combined with torch's operations.
        leak: One number in [0, 1] per row; None: 0.
    """

    def __init__(self, f: Callable = _identity, leak: Optional[Tensor] = None) -> None:
        super().__init__()
        self.f = f
        self.leak = leak

    @property
    def leak(self) -> Optional[Tensor]:
        """What stays of a value that is dropped."""
        return self._leak

    @leak.setter
    def leak(self, value: Optional[Tensor]) -> None:
        checked = optional_vector("leak", value)
        self._operator = GradDropOperator(0, numbers(checked), server="")
        self._leak = checked

    @torch.no_grad()
    def forward(self, matrix: Tensor, /) -> Tensor:
        if matrix.numel() == 0:
            return matrix.new_zeros(matrix.shape[1])
        if self.leak is not None and len(self.leak) != len(matrix):
            raise invalid("INVALID_OPTION", "len(leak)", len(self.leak), f"{len(matrix)}")
        step = int(torch.randint(2**53 - 1, (), device="cpu"))
        if self.f is _identity:
            return self._combined(matrix, [float(step)])
        if not torch.isfinite(matrix).all():
            raise invalid("NON_FINITE", "matrix", "NaN or Inf", "finite numbers")
        size = matrix.abs().sum(dim=0)
        purity = torch.where(size > 0, 0.5 * (1 + matrix.sum(dim=0) / size.where(size > 0, 1)), 0.5)
        generator = torch.Generator(matrix.device).manual_seed(step)
        draw = torch.rand(
            purity.shape, dtype=matrix.dtype, device=matrix.device, generator=generator
        )
        chance = self.f(purity)
        stays = ((chance > draw) & (matrix > 0)) | ((chance < draw) & (matrix < 0))
        leak = 0.0 if self.leak is None else self.leak.to(matrix).unsqueeze(1)
        return torch.where(stays, matrix, leak * matrix).sum(dim=0)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(f={self.f!r}, leak={self.leak!r})"

    def __str__(self) -> str:
        return f"{type(self).__name__}{short(self.leak)}"


class TrimmedMean(_ColumnAggregator):
    """In every column the mean without the `trim_number` largest and smallest values."""

    def __init__(self, trim_number: int) -> None:
        super().__init__()
        self.trim_number = trim_number

    @property
    def trim_number(self) -> int:
        """Values that are left out, at either end."""
        return self._trim_number

    @trim_number.setter
    def trim_number(self, value: int) -> None:
        self._operator = TrimmedMeanOperator(value, server="")
        self._trim_number = value

    @torch.no_grad()
    def forward(self, matrix: Tensor, /) -> Tensor:
        least = 1 + 2 * self.trim_number
        if len(matrix) < least:
            raise invalid("INVALID_OPTION", "len(matrix)", len(matrix), f"at least {least} rows")
        if matrix.numel() == 0:
            return matrix.new_zeros(matrix.shape[1])
        return self._combined(matrix, [])

    def __repr__(self) -> str:
        return f"{type(self).__name__}(trim_number={self.trim_number})"

    def __str__(self) -> str:
        return f"TM{self.trim_number}"
