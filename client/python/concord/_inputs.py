"""From what callers pass to plain lists: indexes, gradient rows, losses.

Everything is checked here or by the engine before any state moves.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Container, Sequence
from typing import Any, NamedTuple, Optional

import numpy as np
import torch

from concord._dlpack import as_known, is_foreign
from concord.errors import invalid

# The element type in which a gradient's type is computed.
SESSION_DTYPES = {
    torch.float32: torch.float32,
    torch.float64: torch.float64,
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
}
# Those that the engine widens by itself, in the pass that reads them.
HALF_DTYPES = frozenset({torch.float16, torch.bfloat16})
_ACCEPTED_DTYPES = "float32, float64, float16 or bfloat16"


class Rows(NamedTuple):
    """Gradients, one contiguous 1-d tensor each, in the session's element type, or in
    the one in which they travel to it."""

    rows: list[torch.Tensor]
    dtype: torch.dtype  # Of the caller's gradients, and so of the result.
    device: torch.device
    length: int

    def stacked(self) -> torch.Tensor:
        """The gradients (m, n) in the element type in which they are computed."""
        return torch.stack(self.rows).to(SESSION_DTYPES[self.dtype])


def is_gradients(value: Any) -> bool:
    """Whether a first argument is `grads`: floating, or a sequence of floating vectors."""
    value = as_known(value, "indexes or grads")
    if isinstance(value, torch.Tensor):
        return value.is_floating_point() or value.is_complex()
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "fc"
    if isinstance(value, (list, tuple)) and len(value) > 0:
        first = as_known(value[0], "grads[0]")
        return (isinstance(first, (torch.Tensor, np.ndarray)) and first.ndim >= 1) and is_gradients(
            first
        )
    return False


def parse_indexes(indexes: Any, num_vectors: int) -> list[int]:
    """Loss indexes in [0, num_vectors), none twice."""
    indexes = as_known(indexes, "indexes")
    if isinstance(indexes, torch.Tensor):
        if indexes.is_floating_point() or indexes.is_complex() or indexes.dtype is torch.bool:
            raise TypeError(f"indexes must be integers, not a tensor of {indexes.dtype}")
        if indexes.dim() > 1:
            raise invalid("INDEX_OUT_OF_RANGE", "indexes.shape", tuple(indexes.shape), "0-d or 1-d")
        values = indexes.reshape(-1).tolist()
    elif isinstance(indexes, np.ndarray):
        if indexes.dtype.kind not in "iu":
            raise TypeError(f"indexes must be integers, not an array of {indexes.dtype}")
        if indexes.ndim > 1:
            raise invalid("INDEX_OUT_OF_RANGE", "indexes.shape", indexes.shape, "0-d or 1-d")
        values = indexes.reshape(-1).tolist()
    elif type(indexes) is int and 0 <= indexes < num_vectors:
        return [indexes]
    elif isinstance(indexes, (list, tuple, range)):
        values = [_index(value) for value in indexes]
    else:
        values = [_index(indexes)]
    for position, value in enumerate(values):
        if not 0 <= value < num_vectors:
            raise invalid(
                "INDEX_OUT_OF_RANGE", f"indexes[{position}]", value, f"0 ... {num_vectors - 1}"
            )
    if len(set(values)) != len(values):
        twice = next(v for i, v in enumerate(values) if v in values[:i])
        raise invalid("DUPLICATE_INDEX", "indexes", twice, "every loss at most once in a step")
    if not values:
        raise invalid("EMPTY_ROUND", "indexes", values, "at least one index")
    return values


def _index(value: Any) -> int:
    if isinstance(value, (bool, np.bool_)):
        raise TypeError("an index must be an integer, not a bool")
    if isinstance(value, torch.Tensor):
        if value.numel() != 1 or value.is_floating_point() or value.dtype is torch.bool:
            raise TypeError("an index must be an integer")
        return int(value)
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"an index must be an integer, not {type(value).__name__}") from None


def _strided(value: Any, field: str) -> torch.Tensor:
    """A plain detached tensor of a supported type."""
    value = as_known(value, field)
    if isinstance(value, np.ndarray):
        if value.dtype.kind != "f" or value.dtype.itemsize not in (2, 4, 8):
            raise TypeError(f"{field} must be {_ACCEPTED_DTYPES}, not {value.dtype}")
        native = value.astype(value.dtype.newbyteorder("="), copy=False)
        if not native.flags.writeable or any(stride < 0 for stride in native.strides):
            native = native.copy()
        return torch.from_numpy(native)
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{field} must be a tensor or an array, not {type(value).__name__}")
    if value.dtype not in SESSION_DTYPES:
        raise TypeError(f"{field} must be {_ACCEPTED_DTYPES}, not {value.dtype}")
    if value.device.type not in ("cpu", "cuda"):
        raise TypeError(f"{field} must be on a CPU or CUDA device, not {value.device}")
    tensor = value.detach()
    if type(tensor) is not torch.Tensor:
        tensor = tensor.as_subclass(torch.Tensor)
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    return tensor.resolve_neg()


def parse_gradients(
    grads: Any,
    count: Optional[int],
    keeps: Container[Optional[torch.dtype]] = (),
    empty: bool = False,
) -> Rows:
    """`count` rows; None: as many as there are. Those of the types `keeps` stay as they
    are. `empty`: rows may be without elements."""
    if (
        type(grads) is torch.Tensor
        and count == 1
        and grads.dim() == 1
        and grads.numel() > 0
        and grads.layout is torch.strided
        and grads.device.type in ("cpu", "cuda")
        and SESSION_DTYPES.get(grads.dtype) is grads.dtype
        and grads.is_contiguous()
        and not grads.is_neg()
    ):
        return Rows([grads], grads.dtype, grads.device, grads.numel())
    if isinstance(grads, (torch.Tensor, np.ndarray)) or is_foreign(grads):
        stack = _strided(grads, "grads")
        if stack.dim() == 1:
            rows = [stack]
        elif stack.dim() == 2:
            rows = list(stack.unbind(0))
        else:
            raise invalid(
                "LENGTH_MISMATCH",
                "grads.shape",
                tuple(stack.shape),
                "(n,) for one index, or (k, n)",
            )
    elif isinstance(grads, Sequence) and not isinstance(grads, (str, bytes)):
        rows = [_strided(row, f"grads[{i}]") for i, row in enumerate(grads)]
    else:
        raise TypeError(
            f"grads must be a tensor, an array or a list of them, not {type(grads).__name__}"
        )
    if count is not None and len(rows) != count:
        raise invalid("LENGTH_MISMATCH", "len(grads)", len(rows), f"{count}, one per index")
    if not rows:
        raise invalid("EMPTY_ROUND", "grads", "[]", "at least one gradient")
    first = rows[0]
    for i, row in enumerate(rows):
        if row.dim() != 1 or (row.numel() == 0 and not empty):
            raise invalid(
                "LENGTH_MISMATCH", f"grads[{i}].shape", tuple(row.shape),
                f"a vector (n,), n >= {int(not empty)}",
            )  # fmt: skip
        if row.numel() != first.numel():
            raise invalid("LENGTH_MISMATCH", f"grads[{i}].length", row.numel(), f"{first.numel()}")
        if row.dtype != first.dtype:
            raise invalid("DATA_TYPE_MISMATCH", f"grads[{i}].dtype", row.dtype, f"{first.dtype}")
        if row.device != first.device:
            raise invalid("DATA_TYPE_MISMATCH", f"grads[{i}].device", row.device, f"{first.device}")
    session_dtype = first.dtype if first.dtype in keeps else SESSION_DTYPES[first.dtype]
    rows = [row.to(session_dtype).contiguous() for row in rows]
    return Rows(rows, first.dtype, first.device, first.numel())


def parse_out(out: Any, rows: Rows) -> torch.Tensor:
    """A tensor that a step's update can be written into, as it is."""
    if not isinstance(out, torch.Tensor):
        raise TypeError(f"out must be a tensor, not {type(out).__name__}")
    if tuple(out.shape) != (rows.length,):
        raise invalid("LENGTH_MISMATCH", "out.shape", tuple(out.shape), f"({rows.length},)")
    if out.dtype is not rows.dtype:
        raise invalid("DATA_TYPE_MISMATCH", "out.dtype", out.dtype, f"{rows.dtype}")
    if out.device != rows.device:
        raise invalid("DATA_TYPE_MISMATCH", "out.device", out.device, f"{rows.device}")
    if out.layout is not torch.strided or not out.is_contiguous() or out.is_neg():
        raise invalid("INVALID_OPTION", "out", "a view with strides", "a contiguous tensor")
    if out.requires_grad and torch.is_grad_enabled():
        raise invalid("INVALID_OPTION", "out", "a tensor that requires grad", "one that does not")
    return out.detach()


def parse_losses(losses: Any, count: int, *, nonfinite: bool = False) -> list[float]:
    """`count` finite numbers, detached; with `nonfinite` also NaN and Inf."""
    losses = as_known(losses, "losses")
    if isinstance(losses, torch.Tensor):
        if losses.dim() > 1:
            raise invalid("LENGTH_MISMATCH", "losses.shape", tuple(losses.shape), f"({count},)")
        values = losses.detach().reshape(-1).tolist()
    elif isinstance(losses, np.ndarray):
        if losses.ndim > 1:
            raise invalid("LENGTH_MISMATCH", "losses.shape", losses.shape, f"({count},)")
        values = losses.reshape(-1).tolist()
    elif isinstance(losses, (list, tuple)):
        values = [_loss(loss, i) for i, loss in enumerate(losses)]
    else:
        values = [_loss(losses, 0)]
    if len(values) != count:
        raise invalid("LENGTH_MISMATCH", "len(losses)", len(values), f"{count}, one per index")
    result = []
    for i, value in enumerate(values):
        if isinstance(value, (bool, complex)) or not isinstance(value, (int, float)):
            raise TypeError(f"losses[{i}] must be a real number, not {type(value).__name__}")
        if not (nonfinite or math.isfinite(value)):
            raise invalid("NON_FINITE", f"losses[{i}]", value, "a finite number")
        result.append(float(value))
    return result


def _loss(value: Any, position: int) -> Any:
    value = as_known(value, f"losses[{position}]")
    if isinstance(value, torch.Tensor):
        value = value.detach()
    if isinstance(value, (torch.Tensor, np.ndarray)):
        size = value.numel() if isinstance(value, torch.Tensor) else value.size
        if size != 1:
            raise invalid(
                "LENGTH_MISMATCH", f"losses[{position}].shape", tuple(value.shape), "one number"
            )
        return value.item()
    return value.item() if isinstance(value, np.generic) else value
