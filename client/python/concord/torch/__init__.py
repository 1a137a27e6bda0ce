"""Concord in jobs of torch: gradients of several losses, on one rank or many."""

from concord.torch.gradients import GradientAccumulator, LossGradients, per_loss_gradients

__all__ = ["GradientAccumulator", "LossGradients", "per_loss_gradients"]
