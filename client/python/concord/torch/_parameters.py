"""Which parameters a job's vectors are made of, and in which order."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Optional, Union

import torch

from concord.errors import LayoutMismatch
from concord.layout import Layout, Segment
from concord.utils import put_gradients

# What callers may pass: a module, parameters, or (name, parameter) pairs.
Named = Union[torch.nn.Module, Iterable[torch.Tensor], Iterable[tuple[str, torch.Tensor]]]


# Gradients of those are made by backward() alone, and each rank has but its part.
_SHARDED = (
    "parameters that are sharded over ranks are concord.torch.ShardedParameters' (docs/scale.md), "
    "of models under fully_shard"
)


def _is_of(module: str, name: str, thing: object) -> bool:
    """Whether it is of a class whose module takes long to import, and is not if that was not."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(thing, getattr(loaded, name))


def check_whole(params: Named) -> None:
    """Refuses a model whose parameters FullyShardedDataParallel hides in flat ones."""
    if isinstance(params, torch.nn.Module) and any(
        _is_of("torch.distributed.fsdp", "FullyShardedDataParallel", module)
        for module in params.modules()
    ):
        raise TypeError(f"the model is in FullyShardedDataParallel; {_SHARDED}")


def named_parameters(params: Named) -> list[tuple[str, torch.Tensor]]:
    """All of them, frozen ones too, each once; of a DDP module under the names that they
    have in the module inside. Parameters without names are called by their position."""
    if isinstance(params, torch.nn.parallel.DistributedDataParallel):
        params = params.module
    if isinstance(params, torch.nn.Module):
        return list(params.named_parameters())
    named: list[tuple[str, torch.Tensor]] = []
    seen = set()
    for position, item in enumerate(params):
        name, parameter = item if isinstance(item, tuple) else (str(position), item)
        if not isinstance(name, str) or not isinstance(parameter, torch.Tensor):
            raise TypeError(
                "params must be a module, parameters or (name, parameter) pairs, not "
                f"{type(item).__name__}"
            )
        if id(parameter) not in seen:
            seen.add(id(parameter))
            named.append((name, parameter))
    return named


class Parameters:
    """Trainable parameters in the order of the vectors that are made of them."""

    def __init__(self, named: Sequence[tuple[str, torch.Tensor]]) -> None:
        self.names = [name for name, _ in named]
        self.tensors = [tensor for _, tensor in named]
        self.layout: Layout = tuple(Segment(name, tuple(tensor.shape)) for name, tensor in named)
        self.length = sum(tensor.numel() for tensor in self.tensors)
        for name, tensor in named:
            if _is_of("torch.distributed.tensor", "DTensor", tensor):
                raise TypeError(f"{name} is a DTensor; {_SHARDED}")
            if not tensor.is_leaf or not tensor.is_floating_point():
                raise TypeError(f"{name} must be a leaf of a floating type, not {tensor.dtype}")
            if tensor.device != self.tensors[0].device:
                raise ValueError(
                    f"{name} is on {tensor.device}, {self.names[0]} on {self.tensors[0].device}; "
                    "accepted: one device"
                )

    def parameters(self) -> Iterator[torch.Tensor]:
        """As a module has them, for concord.utils."""
        return iter(self.tensors)

    @property
    def device(self) -> torch.device:
        return self.tensors[0].device

    @property
    def dtype(self) -> torch.dtype:
        """The type that holds all of them."""
        found = self.tensors[0].dtype
        for tensor in self.tensors:
            found = torch.promote_types(found, tensor.dtype)
        return found

    def flat(self, gradients: Sequence[Optional[torch.Tensor]], out: torch.Tensor) -> torch.Tensor:
        """One gradient of each parameter as a vector; None counts as zeros."""
        parts = [
            out.new_zeros(()).expand(tensor.numel())
            if gradient is None
            else dense(gradient).reshape(-1)
            for tensor, gradient in zip(self.tensors, gradients)
        ]
        return torch.cat(parts, out=out)

    def put(self, vector: torch.Tensor) -> None:
        """Makes `vector` the parameters' gradients, which share its memory from now on."""
        put_gradients(self, vector, "zero", "pad_value")


def dense(gradient: torch.Tensor) -> torch.Tensor:
    """The gradient, or the dense one of a sparse one."""
    return gradient.to_dense() if gradient.is_sparse else gradient


class Split:
    """A job's parameters: those in the vectors, and heads, which have no part in them."""

    def __init__(self, params: Named, shared: Optional[Named] = None) -> None:
        self._params: Named = params if isinstance(params, torch.nn.Module) else list(params)  # type: ignore[assignment]
        self._named = named_parameters(self._params)
        self._trainable = [tensor.requires_grad for _, tensor in self._named]
        trainable = [pair for pair in self._named if pair[1].requires_grad]
        heads: list[tuple[str, torch.Tensor]] = []
        if shared is not None:
            known = {id(tensor) for _, tensor in self._named}
            for name, tensor in (wanted := named_parameters(shared)):
                if id(tensor) not in known:
                    raise ValueError(f"shared: {name} is none of params")
            inside = {id(tensor) for _, tensor in wanted}
            heads = [pair for pair in trainable if id(pair[1]) not in inside]
            trainable = [pair for pair in trainable if id(pair[1]) in inside]
        if not trainable:
            raise ValueError("no parameter " + ("of shared " if shared is not None else "")
                             + "requires grad")  # fmt: skip
        self.shared = Parameters(trainable)
        self.heads = Parameters(heads)
        self.names = [*self.shared.names, *self.heads.names]
        self.tensors = [*self.shared.tensors, *self.heads.tensors]

    def check_unchanged(self) -> None:
        """Refuses parameters that were frozen, unfrozen, added or replaced since."""
        now = named_parameters(self._params)
        for position in range(max(len(now), len(self._named))):
            name, before, after = self._at(now, position)
            if before != after:
                accepted = (
                    f"{before}, as when the vectors' layout was taken; "
                    "ConflictFree.update_layout() takes another one"
                )
                raise LayoutMismatch(
                    f"LAYOUT_MISMATCH: {name} = {after}; accepted: {accepted}",
                    reason="LAYOUT_MISMATCH",
                    field=name,
                    value=after,
                    accepted=accepted,
                )

    def _at(self, now: Sequence[tuple[str, torch.Tensor]], position: int) -> tuple[str, str, str]:
        """A field's name, and what it was and is, of the parameter at a position."""
        if position >= len(now):
            return self._named[position][0], "a parameter", "none"
        name, tensor = now[position]
        if position >= len(self._named):
            return name, "none", "a parameter"
        old_name, old = self._named[position]
        if old_name != name:
            return name, f"{old_name} at its place", "a parameter"
        if old is not tensor:
            return name, "the parameter that it was", "another one"
        trainable = self._trainable[position]
        return f"{name}.requires_grad", str(trainable), str(tensor.requires_grad)


def first_difference(one: Layout, other: Layout) -> str:
    """Where two layouts part, in words; "" where they do not."""
    for position in range(max(len(one), len(other))):
        here, there = (
            f"{layout[position].name} {list(layout[position].shape)}"
            if position < len(layout)
            else "nothing"
            for layout in (one, other)
        )
        if here != there:
            return f"segment {position} is {there}, not {here}"
    return ""
