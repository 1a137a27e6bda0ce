"""A warning where a momentum operator's update goes into Adam, which rescales it again."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

__all__ = ["warn_of_second_rescaling"]

_OTHERS = (torch.optim.Adagrad, torch.optim.Adadelta, torch.optim.RMSprop)


def warn_of_second_rescaling(owner: object, tensors: Iterable[torch.Tensor]) -> None:
    """Warns once if the first optimizer that steps with one of `tensors` is one that
    rescales them element by element. Looks no longer than `owner` lives."""
    watched = {id(tensor) for tensor in tensors}

    def look(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if watched and any(
            id(p) in watched for group in optimizer.param_groups for p in group["params"]
        ):
            # Not the hook itself: its dictionary is being iterated over.
            watched.clear()
            if _rescales(optimizer):
                warnings.warn(
                    f"the update of a momentum operator goes into {type(optimizer).__name__}: it "
                    "has momentum and Adam's rescaling already; use torch.optim.SGD without "
                    "momentum after momentum operators",
                    UserWarning,
                    stacklevel=3,
                )

    handle = register_optimizer_step_pre_hook(look)
    weakref.finalize(owner, handle.remove)


def _rescales(optimizer: torch.optim.Optimizer) -> bool:
    """Adam and its many relatives, also other packages'."""
    return isinstance(optimizer, _OTHERS) or any(
        "adam" in cls.__name__.lower() for cls in type(optimizer).__mro__
    )
