"""Pairs of scikit-learn's handwritten digits, 1797 pictures of 8 x 8 pixels.

Single digits are split once, for all seeds: training never sees a digit of the test,
in whatever pair. A pair is two digits of one part, drawn with a generator.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from sklearn.datasets import load_digits

_SPLIT_SEED = 0
_TRAINING, _VALIDATION = 900, 300  # The other 597: test.
_EVALUATED = 4000  # Pairs by which accuracy is taken.


@dataclass(frozen=True)
class Pairs:
    """Pictures (k, 128), left and right half row by row, and their two labels (k,)."""

    pictures: torch.Tensor
    labels: tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Digits:
    """Single digits of one part of the split."""

    pictures: torch.Tensor  # (k, 8, 8), in [0, 1]
    labels: torch.Tensor  # (k,)

    def draw(self, count: int, generator: torch.Generator) -> Pairs:
        chosen = torch.randint(len(self.labels), (2, count), generator=generator)
        beside = torch.cat([self.pictures[chosen[0]], self.pictures[chosen[1]]], dim=2)
        return Pairs(beside.reshape(count, -1), (self.labels[chosen[0]], self.labels[chosen[1]]))


@cache
def split() -> dict[str, Digits]:
    """training, validation (by which rates are chosen), test."""
    loaded = load_digits()
    pictures = torch.tensor(loaded.images / 16, dtype=torch.float32)
    labels = torch.tensor(loaded.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(_SPLIT_SEED))
    ends = [_TRAINING, _TRAINING + _VALIDATION]
    return {
        name: Digits(pictures[part], labels[part])
        for name, part in zip(("training", "validation", "test"), order.tensor_split(ends))
    }


@cache
def evaluated(part: str) -> Pairs:
    """The pairs of a part by which accuracy is taken, the same for all."""
    return split()[part].draw(_EVALUATED, torch.Generator().manual_seed(_SPLIT_SEED))
