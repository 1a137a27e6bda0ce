"""Aggregators and weightings with the names of torchjd.aggregation (0.18).

An `Aggregator` takes a matrix (m, n), one row per loss, to a combination of its
rows; a `Weighting` takes their Gramian (m, m) to the m weights. Both are modules
of torch, and both work in torchjd: an aggregator in jac_to_grad, a weighting with
autogram. torchjd is not needed otherwise.

    from concord.aggregation import UPGrad, UPGradWeighting

    UPGrad()(jacobian)                     # (n,)
    UPGradWeighting()(jacobian @ jacobian.T)  # (m,)

The arithmetic is the engine's (concord.methods, docs/operators.md). Rows on the CPU
are combined where they lie, with products summed in float64; dtype and device of
the result are the input's. What that changes:

* The small programs are solved exactly, and no absolute threshold takes small
  gradients for zero: options like `epsilon`, `max_iters`, `norm_eps` are checked and
  have no effect.
* Results carry no graph: nothing here is differentiable.
* Preferences and constant weights must be > 0.
* Gradients that oppose each other so that no direction helps all give zero.
* What is not finite, or not of the right shape, is refused with a ValueError
  (concord.errors.InvalidArgumentError).
* A matrix without rows or columns gives zeros, in every method that accepts its
  number of rows.

Not served, and why: MoDoWeighting and SDMGradWeighting take gradients of two or
three independent batches in each step, ExcessMTL keeps a state as large as the
matrix, and PCD serves one primary loss under constraints.
"""

from __future__ import annotations

from concord.aggregation._aggregator import (
    Aggregator,
    GramianWeightedAggregator,
    WeightedAggregator,
)
from concord.aggregation._aligned_mtl import AlignedMTL, AlignedMTLWeighting
from concord.aggregation._cagrad import CAGrad, CAGradWeighting
from concord.aggregation._columns import GradDrop, TrimmedMean
from concord.aggregation._config import ConFIG, ConFIGWeighting
from concord.aggregation._cr_mogm import CRMOGMWeighting
from concord.aggregation._dual_cone import (
    DualProj,
    DualProjWeighting,
    QuadprogProjector,
    UPGrad,
    UPGradWeighting,
)
from concord.aggregation._fairgrad import FairGrad, FairGradWeighting
from concord.aggregation._fixed import (
    Constant,
    ConstantWeighting,
    Mean,
    MeanWeighting,
    Random,
    RandomWeighting,
    Sum,
    SumWeighting,
)
from concord.aggregation._imtl_g import IMTLG, IMTLGWeighting
from concord.aggregation._krum import Krum, KrumWeighting
from concord.aggregation._mgda import MGDA, MGDAWeighting
from concord.aggregation._nash_mtl import NashMTL, NashMTLWeighting
from concord.aggregation._projection import GradVac, GradVacWeighting, PCGrad, PCGradWeighting
from concord.aggregation._torchjd import make_known
from concord.aggregation._weighting import Stateful, Weighting

__all__ = [
    "Aggregator",
    "AlignedMTL",
    "AlignedMTLWeighting",
    "CAGrad",
    "CAGradWeighting",
    "CRMOGMWeighting",
    "ConFIG",
    "ConFIGWeighting",
    "Constant",
    "ConstantWeighting",
    "DualProj",
    "DualProjWeighting",
    "FairGrad",
    "FairGradWeighting",
    "GradDrop",
    "GradVac",
    "GradVacWeighting",
    "GramianWeightedAggregator",
    "IMTLG",
    "IMTLGWeighting",
    "Krum",
    "KrumWeighting",
    "MGDA",
    "MGDAWeighting",
    "Mean",
    "MeanWeighting",
    "NashMTL",
    "NashMTLWeighting",
    "PCGrad",
    "PCGradWeighting",
    "QuadprogProjector",
    "Random",
    "RandomWeighting",
    "Stateful",
    "Sum",
    "SumWeighting",
    "TrimmedMean",
    "UPGrad",
    "UPGradWeighting",
    "WeightedAggregator",
    "Weighting",
]

_TWO_BATCHES = "it takes gradients of several independent batches in each step"
_LARGE_STATE = "it keeps a state as large as the matrix of all gradients"
_ONE_PRIMARY = "it serves one primary loss under constraints of the others, with a state of its own"
_NOT_SERVED = {
    "ExcessMTL": _LARGE_STATE,
    "ExcessMTLWeighting": _LARGE_STATE,
    "MoDoWeighting": _TWO_BATCHES,
    "PCD": _ONE_PRIMARY,
    "PCDWeighting": _ONE_PRIMARY,
    "SDMGradWeighting": _TWO_BATCHES,
}


def __getattr__(name: str) -> object:
    if name in _NOT_SERVED:
        raise AttributeError(f"concord.aggregation does not serve {name}: {_NOT_SERVED[name]}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


make_known()
