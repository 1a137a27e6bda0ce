"""Weights that the gradients have no part in: Mean, Sum, Constant, Random."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from concord._engine_operator import EngineOperator
from concord.aggregation._aggregator import WeightedAggregator
from concord.aggregation._engine import RowCountWeighting
from concord.aggregation._option import Option, numbers, short, vector
from concord.errors import invalid
from concord.methods import ConstantOperator, MeanOperator, RandomOperator, SumOperator


class MeanWeighting(RowCountWeighting):
    """1/m each."""

    def __init__(self) -> None:
        super().__init__()

    def _engine(self, options: dict[str, Any]) -> EngineOperator:
        return MeanOperator(server="")


class Mean(WeightedAggregator):
    """The mean of the rows."""

    weighting: MeanWeighting

    def __init__(self) -> None:
        super().__init__(MeanWeighting())


class SumWeighting(RowCountWeighting):
    """1 each."""

    def __init__(self) -> None:
        super().__init__()

    def _engine(self, options: dict[str, Any]) -> EngineOperator:
        return SumOperator(server="")


class Sum(WeightedAggregator):
    """The sum of the rows."""

    weighting: SumWeighting

    def __init__(self) -> None:
        super().__init__(SumWeighting())


class ConstantWeighting(RowCountWeighting):
    """The given `weights`, one per row.

    They must be finite and > 0, where torchjd takes any number.
    """

    weights = Option[Tensor](vector)

    def __init__(self, weights: Tensor) -> None:
        super().__init__(weights=weights)

    def _engine(self, options: dict[str, Any]) -> EngineOperator:
        return ConstantOperator(numbers(options["weights"]) or [], server="")

    def _check_rows(self, count: int) -> None:
        if count != len(self.weights):
            raise invalid("INVALID_OPTION", "len(weights)", len(self.weights), f"{count}")


class Constant(WeightedAggregator):
    """The sum of the rows with the given weights; see ConstantWeighting."""

    weighting: ConstantWeighting

    def __init__(self, weights: Tensor) -> None:
        super().__init__(ConstantWeighting(weights))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(weights={self.weighting.weights!r})"

    def __str__(self) -> str:
        return f"{type(self).__name__}{short(self.weighting.weights)}"


class RandomWeighting(RowCountWeighting):
    """Random positive weights that sum to 1, new ones in each call.

    A call draws one number from torch's global generator of the CPU, whatever the
    device, and computes the weights from it: after torch.manual_seed the same ones
    come again. They are not torchjd's for the same seed.
    """

    def __init__(self) -> None:
        super().__init__()

    def _engine(self, options: dict[str, Any]) -> EngineOperator:
        return RandomOperator(server="")

    def _remembered(self, count: int) -> list[float]:
        # The engine draws by a counter; a random count is a fresh draw.
        return [float(torch.randint(2**53 - 1, (), device="cpu"))]


class Random(WeightedAggregator):
    """The sum of the rows with random weights; see RandomWeighting."""

    weighting: RandomWeighting

    def __init__(self) -> None:
        super().__init__(RandomWeighting())
