"""Whether the replicas of a model are still the same, bit for bit.

Ranks that each have a whole model stay equal only as long as every step applies the same
update to the same parameters. Where gradients are not averaged after all (DDP averages
the first of several backward passes and no other, torch.autograd.grad's never) replicas
drift apart without an error, and the loss goes down all the same. `verify_replicas`
compares a digest of every rank's parameters, and of their names, shapes and order:

    verify_replicas(network)             # Collective; raises on every rank, or on none.

It reads all parameters once and exchanges a few numbers. ConflictFree(verify=k) does it
before every k-th step.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch

from concord import _native
from concord.errors import FailedPreconditionError, LayoutMismatch
from concord.layout import Layout
from concord.torch._parameters import Named, Parameters, first_difference, named_parameters
from concord.torch._rank_group import RankGroup

__all__ = ["ReplicasDiverged", "verify_replicas"]


class ReplicasDiverged(FailedPreconditionError):
    """Ranks' parameters are no longer the same; `metadata` has the `ranks` that differ from
    most, and the first `segment` that does."""


def verify_replicas(params: Named, *, process_group: Any = None) -> None:
    """Raises LayoutMismatch where ranks' trainable parameters differ in names, shapes,
    types or order, ReplicasDiverged where their values do. Collective.

    Args:
        params: A module, parameters, or (name, parameter) pairs.
        process_group: Of a DDP module its own; else all ranks.
    """
    named = [pair for pair in named_parameters(params) if pair[1].requires_grad]
    parameters = Parameters(named)
    group = RankGroup.of(params, process_group)
    compare_layouts(parameters, group)
    compare_values(parameters, group)


def compare_layouts(parameters: Parameters, group: RankGroup) -> None:
    """Raises LayoutMismatch on every rank where they are not all the same."""
    layout = (
        parameters.layout,
        [str(tensor.dtype) for tensor in parameters.tensors],
    )
    others = _others(group, _digest([json.dumps(layout).encode()]))
    if not others:
        return
    layouts: list[tuple[Layout, list[str]]] = group.gather_objects(layout)
    usual, types = layouts[min(set(range(group.size)) - set(others))]
    found, other_types = layouts[others[0]]
    difference = first_difference(usual, found)
    if not difference:
        at = next(i for i, (one, two) in enumerate(zip(types, other_types)) if one != two)
        difference = f"segment {at}, {usual[at].name}, is {other_types[at]}, not {types[at]}"
    raise LayoutMismatch(
        f"LAYOUT_MISMATCH: parameters of rank {_list(others)} differ from the other ranks' in "
        f"names, shapes, types or order: on rank {others[0]} {difference}",
        reason="LAYOUT_MISMATCH",
        field="layout",
        value=difference,
        accepted="the same parameters in the same order on every rank",
        metadata={"ranks": _list(others), "segment": difference},
    )


def compare_values(parameters: Parameters, group: RankGroup) -> None:
    """Raises ReplicasDiverged on every rank where they are not all the same."""
    if group.size == 1:
        return
    digests = [_digest([_bytes(tensor)]) for tensor in parameters.tensors]
    others = _others(group, _digest([digest.to_bytes(8, "little") for digest in digests]))
    if not others:
        return
    found = group.gather_objects(digests)
    usual = found[min(set(range(group.size)) - set(others))]
    at = next(i for i, pair in enumerate(zip(usual, found[others[0]])) if pair[0] != pair[1])
    raise ReplicasDiverged(
        f"replicas have diverged: parameters of rank {_list(others)} differ from the other "
        f"ranks', on rank {others[0]} from {parameters.names[at]} on",
        field="parameters",
        metadata={"ranks": _list(others), "segment": parameters.names[at]},
    )


def _bytes(tensor: torch.Tensor) -> bytes:
    flat = tensor.detach().cpu().reshape(-1).contiguous()
    return flat.view(torch.uint8).numpy().tobytes()


def _digest(parts: Sequence[bytes]) -> int:
    return _native.checksum(b"".join(parts))


def _others(group: RankGroup, digest: int) -> list[int]:
    """The ranks whose digest is not that of most; of as many, not the lowest rank's."""
    # Halves, which a float64 holds exactly.
    found = [tuple(pair) for pair in group.gather([digest >> 32, digest & 0xFFFFFFFF])]
    counts = Counter(found)
    usual = max(found, key=lambda pair: counts[pair])
    return [rank for rank, pair in enumerate(found) if pair != usual]


def _list(ranks: Sequence[int]) -> str:
    return ", ".join(map(str, ranks))
