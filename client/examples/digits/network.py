"""The network (128 -> 12 -> 12 -> 10 + 10, tanh) and the two losses.

Parameters live in one flat vector, of which the layers are views. Every method gets
gradients by all of it; a head's part is zero in the other loss's.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from digits.data import Pairs

TASKS = ("left", "right")
_CLASSES = 10
WIDTHS = (128, 12, 12, _CLASSES * len(TASKS))


class Network:
    """All parameters are `flat` (1,964 of them), Glorot-normal from `seed`."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        shapes = list(zip(WIDTHS, WIDTHS[1:]))
        parts: list[torch.Tensor] = []
        for inputs, outputs in shapes:
            weights = torch.randn(inputs * outputs, generator=generator)
            parts += [(2 / (inputs + outputs)) ** 0.5 * weights, torch.zeros(outputs)]
        self.flat = torch.cat(parts)
        views = self.flat.split([len(part) for part in parts])
        self._leaves = [view.detach().requires_grad_() for view in views]
        self._layers = [
            (self._leaves[2 * i].view(shape), self._leaves[2 * i + 1])
            for i, shape in enumerate(shapes)
        ]

    def __call__(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Logits (k, 10) of the left and of the right digit."""
        hidden = pictures
        for weight, bias in self._layers[:-1]:
            hidden = torch.tanh(torch.addmm(bias, hidden, weight))
        weight, bias = self._layers[-1]
        return torch.addmm(bias, hidden, weight).split(_CLASSES, dim=1)

    def losses(self, pairs: Pairs) -> list[torch.Tensor]:
        """The mean cross-entropy of each task."""
        found = zip(self(pairs.pictures), pairs.labels)
        return [functional.cross_entropy(logits, labels) for logits, labels in found]

    def gradient(self, loss: torch.Tensor, keep: bool = False) -> torch.Tensor:
        """One backward pass: of `loss` by all parameters, one flat vector. `keep`: another
        pass through the same graph follows."""
        found = torch.autograd.grad(loss, self._leaves, retain_graph=keep, materialize_grads=True)
        return torch.cat([part.reshape(-1) for part in found])

    @torch.no_grad()
    def accuracies(self, pairs: Pairs) -> list[float]:
        """The share of pairs whose digit is recognised, of each task."""
        found = zip(self(pairs.pictures), pairs.labels)
        return [(logits.argmax(1) == labels).double().mean().item() for logits, labels in found]
