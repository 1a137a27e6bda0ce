"""The parameters inside a vector: names and shapes, in their order.

    layout = concord.layout_of(network)          # The trainable ones.
    session = concord.Session(server, "heat", layout=layout, ...)

Ranks whose parameters have another order are refused, with the first segment that
differs. Where parameters are frozen, unfrozen or added, `update_layout` of a Session
or a momentum operator takes the momenta of the others along.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Union

import torch

from concord import _native
from concord.errors import invalid

__all__ = ["Layout", "Segment", "layout_of"]


class Segment(NamedTuple):
    """One parameter's place in a vector; its length is the product of the shape."""

    name: str
    shape: tuple[int, ...]
    group: str = ""  # For people; ranks must agree on it, too.


Layout = tuple[Segment, ...]


def layout_of(
    named_parameters: Union[torch.nn.Module, Iterable[tuple[str, torch.Tensor]]],
) -> Layout:
    """The layout of the vectors that get_gradient_vector makes: of a network, or of what
    its named_parameters() gives. Frozen parameters, those with requires_grad=False, have
    no part in it; one without a gradient has, so use none_grad_mode="zero" where there
    are some."""
    named = (
        named_parameters.named_parameters()
        if isinstance(named_parameters, torch.nn.Module)
        else named_parameters
    )
    return tuple(
        Segment(name, tuple(parameter.shape))
        for name, parameter in named
        if parameter.requires_grad
    )


def parse_layout(field: str, layout: Any, *, empty: bool = False) -> Layout:
    """A layout that a caller gives, which may be plain (name, shape) or (name, shape,
    group). `empty`: of no segments, too."""
    if isinstance(layout, (str, bytes)) or not isinstance(layout, Sequence):
        raise TypeError(f"{field} must be a sequence of segments, not {type(layout).__name__}")
    segments = []
    for i, part in enumerate(layout):
        if isinstance(part, str) or not isinstance(part, Sequence) or len(part) not in (2, 3):
            raise TypeError(f"{field}[{i}] must be (name, shape) or (name, shape, group)")
        name, shape, *rest = part
        group = rest[0] if rest else ""
        if not isinstance(name, str) or not isinstance(group, str):
            raise TypeError(f"{field}[{i}]: name and group must be strings")
        sizes = tuple(int(extent) for extent in shape)
        if any(not 0 <= size < 2**63 for size in sizes):
            raise invalid("INVALID_OPTION", f"{field}[{i}].shape", sizes, "counts >= 0")
        segments.append(Segment(name, sizes, group))
    if not segments and not empty:
        raise invalid("INVALID_OPTION", field, "no segments", "at least one")
    return tuple(segments)


def num_parameters(layout: Layout) -> int:
    """The length of its vectors."""
    return sum(math.prod(segment.shape) for segment in layout)


def layout_message(layout: Layout) -> dict[str, Any]:
    """A concord.v1.Layout in JSON's terms."""
    segments = []
    for segment in layout:
        # JSON has 64-bit integers as strings.
        message: dict[str, Any] = {
            "name": segment.name,
            "shape": [str(size) for size in segment.shape],
        }
        if segment.group:
            message["group"] = segment.group
        segments.append(message)
    return {"segments": segments}


def mover(previous: Layout, layout: Layout, length: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Makes vectors of `layout` of those of `previous`, which have `length` elements: what
    has the same name is kept bit for bit, the rest is zeros."""
    if num_parameters(previous) != length:
        raise invalid(
            "INVALID_OPTION", "previous", f"{num_parameters(previous)} elements",
            f"{length}, the length of the vectors",
        )  # fmt: skip
    size = num_parameters(layout)
    # The engine knows of no layouts without elements, which parts of sharded vectors have.
    runs = _native.layout_runs(bare(previous), bare(layout)) if length and size else []

    def move(vector: torch.Tensor) -> torch.Tensor:
        result = vector.new_zeros(size)
        for old, new, count in runs:
            result[new : new + count] = vector[old : old + count]
        return result

    return move


def bare(layout: Layout) -> list[tuple[str, list[int]]]:
    """What the engine knows of it."""
    return [(segment.name, list(segment.shape)) for segment in layout]
