"""Conflict-free gradient combination, with the names of the conflictfree package.

Modules: momentum_operator, grad_operator, methods, loss_recorder, weight_model,
length_model, utils; session for jobs of several workers; errors.
"""

from concord.errors import ConcordError
from concord.grad_operator import (
    ConFIG_update,
    ConFIG_update_double,
    ConFIGOperator,
    GradientOperator,
    IMTLGOperator,
    PCGradOperator,
)
from concord.length_model import LengthModel, ProjectionLength
from concord.loss_recorder import LatestLossRecorder, LossRecorder
from concord.momentum_operator import MomentumOperator, PseudoMomentumOperator
from concord.results import StepResult
from concord.session import Session
from concord.weight_model import EqualWeight, GivenWeight, WeightModel

__version__ = "0.1.0"

__all__ = [
    "ConFIGOperator",
    "ConFIG_update",
    "ConFIG_update_double",
    "ConcordError",
    "EqualWeight",
    "GivenWeight",
    "GradientOperator",
    "IMTLGOperator",
    "LatestLossRecorder",
    "LengthModel",
    "LossRecorder",
    "MomentumOperator",
    "PCGradOperator",
    "ProjectionLength",
    "PseudoMomentumOperator",
    "Session",
    "StepResult",
    "WeightModel",
]
