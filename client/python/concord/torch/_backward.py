"""One loss's gradient, for some parameters, of a graph that other losses need as well."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Optional

import torch

_REENTRANT = "CheckpointFunctionBackward"


def gradient(
    loss: torch.Tensor, tensors: Sequence[torch.Tensor], *, retain_graph: bool
) -> list[Optional[torch.Tensor]]:
    """By torch.autograd.grad: nobody's `.grad` is touched, and no hook of DDP runs. None
    for parameters that the loss does not depend on."""
    try:
        return list(
            torch.autograd.grad(loss, tensors, retain_graph=retain_graph, allow_unused=True)
        )
    except RuntimeError:
        check_no_reentrant_checkpoint([loss])
        raise


def check_no_reentrant_checkpoint(losses: Iterable[torch.Tensor]) -> None:
    """Refuses graphs in which `gradient` does not find what is inside a checkpoint: it
    says None, as if no loss depended on it, or raises."""
    if any(_reaches(loss, _REENTRANT) for loss in losses):
        raise RuntimeError(
            "the losses' graph has activation checkpointing with use_reentrant=True, which "
            "torch.autograd.grad cannot go through: use checkpoint(..., use_reentrant=False), or "
            "say use_backward=True here"
        )


def gradient_by_backward(
    loss: torch.Tensor, tensors: Sequence[torch.Tensor], *, retain_graph: bool
) -> list[Optional[torch.Tensor]]:
    """As `gradient`, by loss.backward(): what it leaves in `.grad` is taken, and what was
    there before put back."""
    before = [tensor.grad for tensor in tensors]
    for tensor in tensors:
        tensor.grad = None
    try:
        loss.backward(retain_graph=retain_graph)
        return [tensor.grad for tensor in tensors]
    finally:
        for tensor, gradient in zip(tensors, before):
            tensor.grad = gradient


def check_backward(model: object) -> None:
    """Refuses a forward pass after which DDP would reduce the first loss's gradient."""
    if (
        isinstance(model, torch.nn.parallel.DistributedDataParallel)
        and model.require_forward_param_sync
    ):
        raise RuntimeError(
            "use_backward=True under DistributedDataParallel needs the forward pass inside "
            "model.no_sync(), or DDP averages the first loss's gradient and no other"
        )


def _reaches(loss: torch.Tensor, name: str) -> bool:
    """Whether a loss's graph has a node of that name."""
    waiting, seen = [loss.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name() == name:
            return True
        waiting += [following for following, _ in node.next_functions]
    return False
