"""Vectors of a network's parameters and gradients, and small helpers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Optional, Protocol

import numpy as np
import torch

__all__ = [
    "get_para_vector",
    "get_gradient_vector",
    "apply_gradient_vector",
    "apply_gradient_vector_para_based",
    "apply_para_vector",
    "get_cos_similarity",
    "unit_vector",
    "transfer_coef_double",
    "estimate_conflict",
    "has_zero",
    "OrderedSliceSelector",
    "RandomSliceSelector",
]


def get_para_vector(network: torch.nn.Module) -> torch.Tensor:
    """All parameters in one new vector, never the network's own memory.

    The order of vectors: parameters as network.parameters() has them, one that
    several modules share once; the elements of each row by row, whatever its
    memory format. Parameters of several types: the type that holds all of them.
    """
    parts = [parameter.detach().reshape(-1) for parameter in network.parameters()]
    if not parts:
        raise RuntimeError("the network has no parameters")
    return torch.cat(parts)


def get_gradient_vector(
    network: torch.nn.Module,
    none_grad_mode: Literal["raise", "zero", "skip"] = "skip",
    *,
    out: Optional[torch.Tensor] = None,
) -> torch.Tensor:
    """All gradients in one new vector, or in `out`, in the order and type of get_para_vector.

    `none_grad_mode` says what a parameter without gradient counts as: an error
    ("raise"), zeros ("zero": for losses that use different parts of a network,
    so that all vectors have one length) or nothing ("skip").
    """
    if none_grad_mode not in ("raise", "zero", "skip"):
        raise ValueError(f"none_grad_mode = {none_grad_mode!r}; accepted: raise, zero, skip")
    parts = []
    for parameter in network.parameters():
        gradient = parameter.grad
        if gradient is not None:
            dense = gradient.detach()
            parts.append((dense.to_dense() if dense.is_sparse else dense).reshape(-1))
        elif none_grad_mode == "raise":
            raise RuntimeError("a parameter has no gradient")
        elif none_grad_mode == "zero":
            parts.append(parameter.detach().new_zeros(parameter.numel()))
    if not parts:
        raise RuntimeError("no parameter of the network has a gradient")
    if out is None:
        return torch.cat(parts)
    length = sum(part.numel() for part in parts)
    if out.shape != (length,) or not out.is_contiguous():
        raise ValueError(
            f"out has shape {tuple(out.shape)}; accepted: ({length},), contiguous, for the "
            "gradients' elements"
        )
    return torch.cat(parts, out=out)


def apply_gradient_vector(
    network: torch.nn.Module,
    grad_vec: torch.Tensor,
    none_grad_mode: Literal["zero", "skip"] = "skip",
    zero_grad_mode: Literal["skip", "pad_zero", "pad_value"] = "pad_value",
) -> None:
    """Makes `grad_vec` the gradients of the network; the vector itself is copied.

    Each gradient has its parameter's type, device and memory format.
    `none_grad_mode` is the one that get_gradient_vector was given. With "zero"
    the vector covers parameters without gradient too, and `zero_grad_mode` says
    what they get: their part of the vector ("pad_value"), zeros ("pad_zero") or
    nothing ("skip").
    """
    put_gradients(network, grad_vec.detach().clone(), none_grad_mode, zero_grad_mode)


def apply_gradient_vector_para_based(network: torch.nn.Module, grad_vec: torch.Tensor) -> None:
    """As apply_gradient_vector, for every parameter whether it has a gradient or not."""
    put_gradients(network, grad_vec.detach().clone(), "zero", "pad_value")


class HasParameters(Protocol):
    """A network, or whatever else has the parameters that a vector covers."""

    def parameters(self) -> Iterator[Any]:
        """In the vector's order."""


def put_gradients(
    network: HasParameters, vector: torch.Tensor, none_grad_mode: str, zero_grad_mode: str
) -> None:
    """Makes parts of `vector` the gradients; they share its memory from now on, where
    the parameter's type, device and memory format allow it."""
    if none_grad_mode not in ("zero", "skip"):
        raise ValueError(f"none_grad_mode = {none_grad_mode!r}; accepted: zero, skip")
    if zero_grad_mode not in ("skip", "pad_zero", "pad_value"):
        raise ValueError(
            f"zero_grad_mode = {zero_grad_mode!r}; accepted: skip, pad_zero, pad_value"
        )
    covered = [p for p in network.parameters() if none_grad_mode == "zero" or p.grad is not None]
    for parameter, part in _parts(covered, vector.detach()):
        if parameter.grad is None and zero_grad_mode != "pad_value":
            if zero_grad_mode == "pad_zero":
                parameter.grad = torch.zeros_like(parameter)
            continue
        if part.stride() == parameter.stride():
            parameter.grad = part.to(device=parameter.device, dtype=parameter.dtype)
        else:
            # empty_like keeps the memory format: torch.channels_last.
            parameter.grad = torch.empty_like(parameter, requires_grad=False).copy_(part)


def apply_para_vector(network: torch.nn.Module, para_vec: torch.Tensor) -> None:
    """Copies `para_vec` into the network's parameters."""
    with torch.no_grad():
        for parameter, part in _parts(list(network.parameters()), para_vec.detach()):
            parameter.copy_(part)


def _parts(
    parameters: list[torch.nn.Parameter], vector: torch.Tensor
) -> Iterator[tuple[torch.nn.Parameter, torch.Tensor]]:
    total = sum(parameter.numel() for parameter in parameters)
    if vector.dim() != 1 or vector.numel() != total:
        raise ValueError(f"vector of shape {tuple(vector.shape)}; accepted: ({total},)")
    return zip(
        parameters,
        (
            part.view(parameter.shape)
            for parameter, part in zip(
                parameters, vector.split([parameter.numel() for parameter in parameters])
            )
        ),
    )


def get_cos_similarity(vector1: torch.Tensor, vector2: torch.Tensor) -> torch.Tensor:
    """Cosine of the angle between two vectors; 0 for a zero vector."""
    with torch.no_grad():
        first, second = unit_vector(vector1.double()), unit_vector(vector2.double())
        return torch.dot(first, second).to(vector1.dtype)


def unit_vector(vector: torch.Tensor, warn_zero: bool = False) -> torch.Tensor:
    """The vector at length 1; zeros for a zero vector."""
    with torch.no_grad():
        norm = torch.linalg.vector_norm(vector, dtype=torch.float64)
        if norm == 0:
            if warn_zero:
                print("Detected zero vector when doing normalization.")
            return torch.zeros_like(vector)
        return (vector / norm).to(vector.dtype)


def transfer_coef_double(
    weights: torch.Tensor,
    unit_vec_1: torch.Tensor,
    unit_vec_2: torch.Tensor,
    or_unit_vec_1: torch.Tensor,
    or_unit_vec_2: torch.Tensor,
) -> tuple:
    """(c, 1) so that c o1 + o2 has dot products with v1 and v2 in the ratio of the weights.

    v are unit vectors of two gradients; o1 is orthogonal to v1, o2 to v2.
    """
    ratio = weights[0] / weights[1]
    return torch.dot(or_unit_vec_2, unit_vec_1) / (ratio * torch.dot(or_unit_vec_1, unit_vec_2)), 1


def estimate_conflict(gradients: torch.Tensor) -> torch.Tensor:
    """Cosine between the gradients' plain sum and each of them (rows of (m, n))."""
    with torch.no_grad():
        total = gradients.double().sum(dim=0)
        return torch.stack([get_cos_similarity(row.double(), total) for row in gradients]).to(
            gradients.dtype
        )


def has_zero(lists: Sequence) -> bool:
    """Whether any element is zero."""
    return any(element == 0 for element in lists)


class OrderedSliceSelector:
    """Takes n elements after another, round and round."""

    def __init__(self) -> None:
        self.start_index = 0

    def select(self, n: int, source_sequence: Sequence) -> tuple[Sequence[int], Any]:
        """(indexes, elements); for n = 1 the element itself."""
        indexes = _slice(self.start_index, n, len(source_sequence))
        self.start_index = (self.start_index + n) % len(source_sequence)
        return indexes, _pick(source_sequence, indexes)


class RandomSliceSelector:
    """Takes n elements at random, none twice, with numpy's global generator."""

    def select(self, n: int, source_sequence: Sequence) -> tuple[Sequence[int], Any]:
        """(indexes, elements); for n = 1 the element itself."""
        _slice(0, n, len(source_sequence))
        indexes = np.random.choice(len(source_sequence), n, replace=False).tolist()
        return indexes, _pick(source_sequence, indexes)


def _slice(start: int, n: int, length: int) -> list[int]:
    if not 1 <= n <= length:
        raise ValueError(f"n = {n}; accepted: 1 ... {length}, the length of the sequence")
    return [(start + i) % length for i in range(n)]


def _pick(source_sequence: Sequence, indexes: Sequence[int]) -> Any:
    elements = [source_sequence[i] for i in indexes]
    return elements[0] if len(elements) == 1 else elements
