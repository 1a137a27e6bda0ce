"""torchjd, where it is installed, takes this package's base classes for its own.

Its functions ask isinstance(aggregator, WeightedAggregator) and the like. Those are
abstract base classes, to which other classes can be made known.
"""

from __future__ import annotations

from concord.aggregation._aggregator import (
    Aggregator,
    GramianWeightedAggregator,
    WeightedAggregator,
)
from concord.aggregation._weighting import Stateful, Weighting


def make_known() -> None:
    """Makes the base classes known to torchjd; without it does nothing."""
    try:
        import torchjd
        import torchjd.aggregation as theirs
    except ImportError:
        return
    for owner, ours in (
        (torchjd, Stateful),
        (theirs, Weighting),
        (theirs, Aggregator),
        (theirs, WeightedAggregator),
        (theirs, GramianWeightedAggregator),
    ):
        getattr(owner, ours.__name__).register(ours)
