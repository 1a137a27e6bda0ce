"""The learning rate, for every method alike: a cosine from 1e-3 to 1e-5."""

import math

FIRST = 1e-3
LAST = 1e-5


def learning_rate(progress: float) -> float:
    """At `progress` in [0, 1] of the training."""
    return LAST + (FIRST - LAST) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
