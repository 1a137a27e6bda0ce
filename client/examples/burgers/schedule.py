"""What is tuned: the learning rate, for every method alike, and M-ConFIG's memory."""

import math

# A cosine from the first to the last rate. Adam does worse at half the first
# and at twice the first.
FIRST = 1e-3
LAST = 1e-5

# Of M-ConFIG's second momentum. With the usual 0.999 its errors are two to
# eight times as large; Adam's own do not gain by 0.99.
BETA_2 = 0.99


def learning_rate(progress: float) -> float:
    """At `progress` in [0, 1] of the training."""
    return LAST + (FIRST - LAST) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
