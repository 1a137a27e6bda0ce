"""Concord in jobs of torch: gradients of several losses, on one rank or many.

    cf = ConflictFree(network, PseudoMomentumOperator(num_vectors=2))
    cf.step([heat(output), edge(output)])
    optimizer.step()

`gradients` has each loss's gradient, under DistributedDataParallel, with heads, missing
losses, micro-batches and activation checkpointing; `conflict_free` a whole step;
`replicas` shows whether ranks have drifted apart; `shared_server` is one server for all
ranks of a machine. docs/training.md goes through them.

`sharded` has what is said of parameters that are sharded over ranks, and of the
operators' `process_group=`; `fsdp` the parts of models under fully_shard. docs/scale.md
goes through them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concord.torch.conflict_free import ConflictFree, Step
from concord.torch.gradients import GradientAccumulator, LossGradients, per_loss_gradients
from concord.torch.replicas import ReplicasDiverged, verify_replicas
from concord.torch.sharded import ShardedGradientOperator
from concord.torch.shared_server import SharedServer

if TYPE_CHECKING:
    from concord.torch.fsdp import ShardedParameters

__all__ = [
    "ConflictFree",
    "GradientAccumulator",
    "LossGradients",
    "ReplicasDiverged",
    "ShardedGradientOperator",
    "ShardedParameters",
    "SharedServer",
    "Step",
    "per_loss_gradients",
    "verify_replicas",
]


def __getattr__(name: str) -> Any:
    # Nobody else waits for torch's DTensor, which takes most of a second to import.
    if name == "ShardedParameters":
        from concord.torch.fsdp import ShardedParameters

        return ShardedParameters
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
