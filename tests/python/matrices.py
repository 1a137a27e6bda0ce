"""Matrices of gradients to compare methods on: families in fixed shares, by seed."""

from typing import NamedTuple

import numpy as np

SEED = 20261

# Of each family, so many matrices; m runs through SIZES in turn.
SHARES = {
    "well-conditioned": 100,
    "equal to 1e-3": 36,
    "opposing to 1e-2": 36,
    "scaled by 1e±6": 36,
    "more rows than columns": 36,
    "zero rows": 36,
}
SIZES = (*range(1, 9), *range(1, 9), 16)
CONFLICTING = tuple(m for m in SIZES if m > 1)
MOST_COLUMNS = 300


class Case(NamedTuple):
    family: str
    number: int
    rows: np.ndarray  # (m, n), float64.

    def __str__(self):
        m, n = self.rows.shape
        return f"{self.family} {self.number} ({m} x {n}, seed {SEED})"


def _independent(generator, m):
    """Rows of lengths within a factor of 4, far from dependent: n >= 2m."""
    n = int(generator.integers(2 * m, MOST_COLUMNS + 1)) if m > 1 else _any_columns(generator)
    rows = generator.standard_normal((m, n))
    return rows * 2.0 ** generator.uniform(-1, 1, (m, 1))


def _any_columns(generator):
    return int(generator.integers(1, MOST_COLUMNS + 1))


def _equal(generator, m):
    rows = _independent(generator, m)
    length = np.linalg.norm(rows[0])
    away = rows / np.linalg.norm(rows, axis=1, keepdims=True) * length
    lengths = 2.0 ** generator.uniform(-1, 1, (m, 1))
    return lengths * (rows[0] + 1e-3 * away)


def _opposing(generator, m):
    rows = _independent(generator, m)
    first, second = generator.permutation(m)[:2]
    away = rows[second] * (np.linalg.norm(rows[first]) / np.linalg.norm(rows[second]))
    rows[second] = 2.0 ** generator.uniform(-1, 1) * (1e-2 * away - rows[first])
    return rows


def _scaled(generator, m):
    scales = generator.choice([1e-6, 1.0, 1e6], (m, 1))
    scales[generator.integers(m)] = 1e6 if scales[0] < 1e6 else 1e-6
    return _independent(generator, m) * scales


def _wide(generator, m):
    """Every second time with a common part, so that some direction suits all."""
    n = int(generator.integers(1, m))
    rows = generator.standard_normal((m, n))
    return rows + 3 * generator.standard_normal(n) if generator.integers(2) else rows


def _with_zeros(generator, m):
    rows = _independent(generator, m)
    rows[generator.permutation(m)[: generator.integers(1, m + 1)]] = 0
    return rows


_FAMILIES = {
    "well-conditioned": (_independent, SIZES),
    "equal to 1e-3": (_equal, CONFLICTING),
    "opposing to 1e-2": (_opposing, CONFLICTING),
    "scaled by 1e±6": (_scaled, CONFLICTING),
    "more rows than columns": (_wide, CONFLICTING),
    "zero rows": (_with_zeros, SIZES),
}


def cases(seed=SEED):
    """All matrices. Each has numbers of its own: a family does not move the next."""
    found = []
    for at, (family, share) in enumerate(SHARES.items()):
        make, sizes = _FAMILIES[family]
        for number in range(share):
            generator = np.random.default_rng([seed, at, number])
            found.append(Case(family, number, make(generator, sizes[number % len(sizes)])))
    return found
