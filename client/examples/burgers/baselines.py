"""What the three workers are compared with: the same network, points, losses and schedule.

adam      Adam on the sum of the losses, for as much CPU time as the workers
          and their server take together
embedded  M-ConFIG with Concord inside the training process, no server
"""

from __future__ import annotations

import time
from multiprocessing.sharedctypes import Synchronized

import torch
from concord.momentum_operator import PseudoMomentumOperator

from burgers.contestant import Report, Seat, cosine_triple, error, finish
from burgers.network import LOSSES, Network
from burgers.problem import PointSampler
from burgers.schedule import BETA_2, learning_rate


def train_adam(seat: Seat, budget: Synchronized, budget_is_final: Synchronized) -> None:
    """Trains until this process has used `budget` seconds of CPU time.

    `budget` is what the other side will need, as extrapolated from what it has
    used so far; it settles as that side goes on, and is exact once
    `budget_is_final`. The cosine schedule runs over the share of the budget.
    """
    recipe = seat.recipe
    network, samplers = Network(recipe.seed), _samplers(recipe.seed)
    # Adam itself, on the one flat vector.
    network.flat.grad = torch.zeros_like(network.flat)
    optimizer = torch.optim.Adam([network.flat])
    iteration = reported = 0
    losses: list[torch.Tensor] = []
    while True:
        total = budget.value
        progress = time.process_time() / total if total > 0 else 0.0
        if progress >= 1:
            if budget_is_final.value:
                break
            time.sleep(0.02)  # Ahead of the other side: wait for a better estimate.
            continue
        losses = [loss(network, sampler.draw()) for loss, sampler in zip(LOSSES, samplers)]
        network.flat.grad.copy_(network.gradient(sum(losses)))
        optimizer.param_groups[0]["lr"] = learning_rate(progress)
        optimizer.step()
        iteration += 1
        seat.iteration.value = iteration
        if int(progress * recipe.reports) > reported:
            reported = int(progress * recipe.reports)
            seat.messages.send(Report(iteration, error(network, seat.grid), _values(losses)))
    seat.messages.send(Report(iteration, error(network, seat.grid), _values(losses)))
    finish(seat, network)


def train_embedded(seat: Seat) -> None:
    recipe = seat.recipe
    network, samplers = Network(recipe.seed), _samplers(recipe.seed)
    operator = PseudoMomentumOperator(num_vectors=len(LOSSES), beta_2=BETA_2)
    every = max(1, recipe.iterations // recipe.reports)
    losses = [0.0] * len(LOSSES)
    for iteration in range(recipe.iterations):
        turn = iteration % len(LOSSES)
        loss = LOSSES[turn](network, samplers[turn].draw())
        update = operator.calculate_gradient(turn, network.gradient(loss))
        network.flat.sub_(update, alpha=learning_rate(iteration / recipe.iterations))
        losses[turn] = loss.item()
        seat.iteration.value = iteration + 1
        if (iteration + 1) % every == 0:
            cosines = operator.last_step.cosines
            seat.messages.send(
                Report(iteration + 1, error(network, seat.grid), losses, cosine_triple(cosines))
            )
    finish(seat, network)


def _values(losses: list[torch.Tensor]) -> list[float]:
    return [loss.item() for loss in losses]


def _samplers(seed: int) -> list[PointSampler]:
    return [PointSampler(seed, loss) for loss in range(len(LOSSES))]
