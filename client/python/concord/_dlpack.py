"""Arrays of other libraries (JAX, CuPy, TensorFlow): taken by DLPack, where they lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def is_foreign(value: Any) -> bool:
    """Whether `value` offers its memory by DLPack and is neither torch's nor numpy's."""
    return hasattr(value, "__dlpack__") and not isinstance(
        value, (torch.Tensor, np.ndarray, np.generic)
    )


def as_known(value: Any, field: str) -> Any:
    """A tensor on a foreign array's memory; anything else as it is.

    The tensor keeps that memory for as long as it lives. It may be read-only to its
    owner (JAX's arrays are immutable), so nothing may be written through it.
    """
    if not is_foreign(value):
        return value
    try:
        return torch.from_dlpack(value)
    except Exception as error:  # Whatever the other library raises.
        raise TypeError(
            f"{field}, a {type(value).__module__}.{type(value).__qualname__}, cannot be taken by "
            f"DLPack: {error}; accepted: an array in the memory of a CPU or CUDA device, of "
            "torch's types, without negative strides"
        ) from error
