"""Base class of weightings: from a statistic of the gradients to their weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, Optional, TypeVar

import torch
from torch import Tensor, nn

from concord._inputs import parse_gradients
from concord.methods import SumOperator

Stat = TypeVar("Stat", bound=Tensor, contravariant=True)


class Stateful(ABC):
    """What remembers its calls, and forgets them with reset()."""

    @abstractmethod
    def reset(self) -> None:
        """Makes it as new."""


class Step(NamedTuple):
    """Weights of a matrix's rows and, where it came with them, their combination."""

    weights: Tensor
    vector: Optional[Tensor]


class Weighting(nn.Module, ABC, Generic[Stat]):
    """Base class: called with a statistic of the m gradients, it gives m weights.

    The statistic is the Gramian (m, m), or the matrix (m, n) itself for weightings
    that only look at its number of rows. `weighting << function` is a weighting of
    what the function takes.
    """

    def __init__(self) -> None:
        super().__init__()

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "forward" in cls.__dict__ and "step" not in cls.__dict__:
            # Other weights than those of the class it is derived from: that
            # class's short way to them would not be its own.
            cls.step = Weighting.step  # type: ignore[method-assign]

    @abstractmethod
    def forward(self, stat: Stat, /) -> Tensor:
        """The weights."""

    def __call__(self, stat: Tensor, /) -> Tensor:
        return super().__call__(stat)

    def __lshift__(self, function: Callable[[Any], Tensor]) -> Weighting[Any]:
        return Composition(self, function)

    def step(self, matrix: Tensor, of_gramian: bool) -> Optional[Step]:
        """A call with `matrix`, or with its Gramian, where the engine can do that on
        the rows themselves. None: it cannot, and nothing has happened."""
        return None

    @contextmanager
    def giving(self, weights: Tensor) -> Iterator[None]:
        """Within it a call gives `weights`: the hooks run, the arithmetic does not."""
        self.__dict__["forward"] = lambda stat, /: weights
        try:
            yield
        finally:
            del self.__dict__["forward"]


def inner_step(weighting: Any, matrix: Tensor, of_gramian: bool) -> Optional[Step]:
    """`weighting.step`, unless hooks wait for a call with the statistic itself."""
    if not isinstance(weighting, Weighting):
        return None
    if weighting._forward_hooks or weighting._forward_pre_hooks:
        return None
    return weighting.step(matrix, of_gramian)


class Composition(Weighting[Tensor]):
    """A weighting of what a function gives."""

    def __init__(self, weighting: Weighting[Any], function: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.weighting = weighting
        self.function = function

    def forward(self, stat: Tensor, /) -> Tensor:
        return self.weighting(self.function(stat))

    def step(self, matrix: Tensor, of_gramian: bool) -> Optional[Step]:
        if of_gramian or self.function is not gramian_of:
            return None
        return inner_step(self.weighting, matrix, of_gramian=True)


def gramian_of(matrix: Tensor) -> Tensor:
    """The Gramian in the matrix's type, from products summed in float64."""
    rows = parse_gradients(matrix, None) if matrix.numel() else None
    if rows is None:
        return matrix.new_zeros(matrix.shape[0], matrix.shape[0])
    _, found = SumOperator(server="").combine_from(rows, [])
    return torch.tensor(found["gram"], dtype=matrix.dtype, device=matrix.device)
