"""One training run of one method."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from concord.momentum_operator import PseudoMomentumOperator
from concord.utils import get_cos_similarity

from digits.data import evaluated, split
from digits.methods import METHODS, Method
from digits.network import TASKS, Network

_BATCH = 64


@dataclass(frozen=True)
class Run:
    """What there is to do."""

    method: str
    rate: float
    seed: int  # Of the network and of the batches.
    passes: int  # Backward passes, of whatever loss: the budget.
    part: str = "test"  # By which accuracy is taken.
    reports: int = 20  # How often on the way.


@dataclass(frozen=True)
class Outcome:
    """What came of it. Accuracies are (left, right)."""

    run: Run
    accuracy: list[float]  # At the end, never the best.
    history: list[tuple[int, list[float]]]  # Passes used, accuracies.
    # Steps in which the two gradients, or the two momenta, had a negative cosine;
    # None where they are not known apart.
    conflicts: float | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def train(run: Run) -> Outcome:
    method = METHODS[run.method]
    network = Network(run.seed)
    generator = torch.Generator().manual_seed(run.seed)
    step = _STEPS[method.kind](method, network)
    pairs = evaluated(run.part)
    history: list[tuple[int, list[float]]] = []
    used = 0
    while used < run.passes:
        batch = split()["training"].draw(_BATCH, generator)
        rate = run.rate * 0.5 * (1 + math.cos(math.pi * used / run.passes))
        used += step(batch, rate)
        if used * run.reports >= run.passes * (len(history) + 1):
            history.append((used, network.accuracies(pairs)))
    return Outcome(run, network.accuracies(pairs), history, step.conflicts)


class _Summed:
    """The sum of the losses, by torch's own optimiser."""

    conflicts = None

    def __init__(self, method: Method, network: Network) -> None:
        self._network = network
        network.flat.grad = torch.zeros_like(network.flat)
        self._optimizer: torch.optim.Optimizer = (
            torch.optim.SGD([network.flat], momentum=0.9)
            if method.kind == "sgd"
            else torch.optim.Adam([network.flat])
        )

    def __call__(self, batch, rate: float) -> int:
        self._descend(self._network.gradient(sum(self._network.losses(batch))), rate)
        return 1

    def _descend(self, direction: torch.Tensor, rate: float) -> None:
        self._network.flat.grad = direction
        self._optimizer.param_groups[0]["lr"] = rate
        self._optimizer.step()


class _Combined(_Summed):
    """Both gradients, combined; Adam goes along the combination."""

    def __init__(self, method: Method, network: Network) -> None:
        super().__init__(method, network)
        self._operator = method.operator()
        self._steps = self._conflicting = 0

    def __call__(self, batch, rate: float) -> int:
        left, right = self._network.losses(batch)
        gradients = [self._network.gradient(left, keep=True), self._network.gradient(right)]
        self._steps += 1
        self._conflicting += bool(get_cos_similarity(*gradients) < 0)
        self._descend(self._operator.calculate_gradient(gradients), rate)
        return len(gradients)

    @property
    def conflicts(self) -> float:
        return self._conflicting / self._steps


class _Momentum:
    """A momentum for every loss, one loss's gradient a step, and plain descent."""

    def __init__(self, method: Method, network: Network) -> None:
        self._network = network
        self._operator = PseudoMomentumOperator(
            num_vectors=len(TASKS), gradient_operator=method.operator()
        )
        self._steps = self._live = self._conflicting = 0

    def __call__(self, batch, rate: float) -> int:
        turn = self._steps % len(TASKS)
        gradient = self._network.gradient(self._network.losses(batch)[turn])
        update = self._operator.calculate_gradient(turn, gradient)
        self._network.flat.sub_(update, alpha=rate)
        self._steps += 1
        found = self._operator.last_step
        if not found.warming_up:
            self._live += 1
            self._conflicting += bool(found.cosines[0, 1] < 0)
        return 1

    @property
    def conflicts(self) -> float:
        return self._conflicting / max(1, self._live)


_STEPS = {"adam": _Summed, "sgd": _Summed, "combined": _Combined, "momentum": _Momentum}
