"""Public attributes of weightings and aggregators, checked when they are set."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Generic, Optional, TypeVar, overload

import torch
from torch import Tensor

from concord.errors import invalid

Value = TypeVar("Value")
Number = TypeVar("Number", int, float)


class Option(Generic[Value]):
    """An option of an engine weighting. Setting it makes the engine's operator
    anew; a value that is refused leaves the old one."""

    def __init__(self, check: Callable[[str, Any], Value]) -> None:
        self._check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, weighting: None, owner: type) -> Option[Value]: ...
    @overload
    def __get__(self, weighting: Any, owner: type) -> Value: ...
    def __get__(self, weighting: Any, owner: type) -> Any:
        return self if weighting is None else weighting.options[self._name]

    def __set__(self, weighting: Any, value: Any) -> None:
        weighting.configure({**weighting.options, self._name: value})

    def check(self, value: Any) -> Value:
        return self._check(self._name, value)


class Forwarded(Generic[Value]):
    """An aggregator's attribute that is an option of its weighting. `extra`: one
    that torchjd's aggregator does not have."""

    def __init__(self, *, extra: bool = False) -> None:
        self.extra = extra

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def of(self, aggregator: Any) -> Value:
        return getattr(aggregator.gramian_weighting, self.name)

    def shown(self, aggregator: Any) -> bool:
        """Whether the aggregator's representation has it."""
        value = self.of(aggregator)
        return not self.extra or (value is not None and value is not False)

    @overload
    def __get__(self, aggregator: None, owner: type) -> Forwarded[Value]: ...
    @overload
    def __get__(self, aggregator: Any, owner: type) -> Value: ...
    def __get__(self, aggregator: Any, owner: type) -> Any:
        return self if aggregator is None else self.of(aggregator)

    def __set__(self, aggregator: Any, value: Any) -> None:
        setattr(aggregator.gramian_weighting, self.name, value)


def anything(name: str, value: Any) -> Any:
    """For what the engine's operator checks itself."""
    return value


def not_negative(name: str, value: Number) -> Number:
    if not value >= 0:
        raise invalid("INVALID_OPTION", name, value, "a number >= 0")
    return value


def positive(name: str, value: float) -> float:
    if not value > 0:
        raise invalid("INVALID_OPTION", name, value, "a number > 0")
    return value


def count(name: str, value: int) -> int:
    if operator.index(value) < 1:
        raise invalid("INVALID_OPTION", name, value, "an integer >= 1")
    return value


def optional_count(name: str, value: Optional[int]) -> Optional[int]:
    return None if value is None else count(name, value)


def vector(name: str, value: Tensor) -> Tensor:
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{name} must be a tensor, not {type(value).__name__}")
    if value.dim() != 1:
        raise invalid("INVALID_OPTION", f"{name}.shape", tuple(value.shape), "(m,)")
    return value


def optional_vector(name: str, value: Optional[Tensor]) -> Optional[Tensor]:
    return None if value is None else vector(name, value)


def numbers(value: Optional[Tensor]) -> Optional[list[float]]:
    """A vector's entries as the engine's operators take them."""
    return None if value is None else value.detach().double().tolist()


def short(value: Optional[Tensor]) -> str:
    """A vector in an aggregator's name: "([1., 2.5])"; "" for none."""
    if value is None:
        return ""
    return f"([{', '.join(f'{float(number):.2f}'.rstrip('0') for number in value)}])"
