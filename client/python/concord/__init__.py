"""Conflict-free gradient combination, with the names of the conflictfree package.

Modules: momentum_operator, grad_operator, methods, loss_recorder, weight_model,
length_model, utils; session for jobs of several workers, layout for what is inside
their vectors, step_watch to look on; errors. aggregation has the names of
torchjd.aggregation; torch is for training loops, on one rank or many.
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
from concord.layout import Layout, Segment, layout_of
from concord.length_model import (
    LengthModel,
    ProjectionLength,
    TrackArithmeticAverage,
    TrackGeometricAverage,
    TrackHarmonicAverage,
    TrackMaximum,
    TrackMinimum,
    TrackSpecific,
)
from concord.loss_recorder import LatestLossRecorder, LossRecorder, MomentumLossRecorder
from concord.momentum_operator import (
    MomentumOperator,
    PseudoMomentumOperator,
    SeparateMomentumOperator,
)
from concord.results import StepResult
from concord.session import Session
from concord.step_watch import StepDiagnostics, StepWatch, watch
from concord.weight_model import (
    DynamicWeightAverage,
    EqualWeight,
    GivenWeight,
    RandomWeight,
    WeightModel,
)

__version__ = "0.1.0"

__all__ = [
    "ConFIGOperator",
    "ConFIG_update",
    "ConFIG_update_double",
    "ConcordError",
    "DynamicWeightAverage",
    "EqualWeight",
    "GivenWeight",
    "GradientOperator",
    "IMTLGOperator",
    "LatestLossRecorder",
    "Layout",
    "LengthModel",
    "LossRecorder",
    "MomentumLossRecorder",
    "MomentumOperator",
    "PCGradOperator",
    "ProjectionLength",
    "PseudoMomentumOperator",
    "RandomWeight",
    "SeparateMomentumOperator",
    "Segment",
    "Session",
    "StepDiagnostics",
    "StepResult",
    "StepWatch",
    "TrackArithmeticAverage",
    "TrackGeometricAverage",
    "TrackHarmonicAverage",
    "TrackMaximum",
    "TrackMinimum",
    "TrackSpecific",
    "WeightModel",
    "layout_of",
    "watch",
]
