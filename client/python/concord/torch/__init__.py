"""Concord in jobs of torch: gradients of several losses, on one rank or many."""

from concord.torch.gradients import GradientAccumulator, LossGradients, per_loss_gradients
from concord.torch.replicas import ReplicasDiverged, verify_replicas
from concord.torch.shared_server import SharedServer

__all__ = [
    "GradientAccumulator",
    "LossGradients",
    "ReplicasDiverged",
    "SharedServer",
    "per_loss_gradients",
    "verify_replicas",
]
