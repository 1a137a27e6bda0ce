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

from concord.torch.conflict_free import ConflictFree, Step
from concord.torch.fsdp import ShardedParameters
from concord.torch.gradients import GradientAccumulator, LossGradients, per_loss_gradients
from concord.torch.replicas import ReplicasDiverged, verify_replicas
from concord.torch.sharded import ShardedGradientOperator
from concord.torch.shared_server import SharedServer

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
