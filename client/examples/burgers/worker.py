"""One worker process: one loss, one rank of a Concord session.

Each step of M-ConFIG uses one loss, in rotation: all three ranks take part in
every round, the one whose turn it is brings its gradient, and all get the same
update back. So the three copies of the network stay bitwise equal without ever
being exchanged.
"""

from __future__ import annotations

from typing import Optional

import concord
import torch
from concord.loss_recorder import LatestLossRecorder

from burgers.contestant import Report, Seat, cosine_triple, error, finish
from burgers.memory import Memory
from burgers.network import LOSSES, Network
from burgers.problem import PointSampler
from burgers.schedule import BETA_2, learning_rate


def train(seat: Seat, server: Optional[str], rank: int, memory: Optional[Memory] = None) -> None:
    """The whole life of worker `rank`, which looks after LOSSES[rank]. With a memory it
    goes on where an earlier process of that rank was ended."""
    recipe, workers = seat.recipe, len(LOSSES)
    network, sampler = Network(recipe.seed), PointSampler(recipe.seed, rank)
    applied = memory.recall(network, sampler) if memory else None
    session = concord.Session(
        server,
        f"burgers-{recipe.seed}",
        rank=rank,
        num_workers=workers,
        num_vectors=workers,
        num_parameters=network.flat.numel(),
        dtype=torch.float32,
        max_vectors_per_step=1,
        beta_2=BETA_2,
        loss_recorder=LatestLossRecorder(workers),
        resume_step=applied,
    )
    reporting = rank == workers - 1  # The one whose loss is the cheapest.
    every = max(1, recipe.iterations // recipe.reports)
    for iteration in range(applied or 0, recipe.iterations):
        gradients: Optional[dict[int, torch.Tensor]] = None
        losses: Optional[dict[int, float]] = None
        if iteration % workers == rank:
            loss = LOSSES[rank](network, sampler.draw())
            gradients = {rank: network.gradient(loss)}
            losses = {rank: loss.item()}
        step = session.step(gradients, losses)
        # Plain gradient descent: the momentum is the server's affair.
        network.flat.sub_(step.update, alpha=learning_rate(iteration / recipe.iterations))
        if memory:
            memory.keep(session.applied_step, network, sampler)

        if reporting:
            seat.iteration.value = iteration + 1
            if (iteration + 1) % every == 0:
                seat.messages.send(
                    Report(
                        iteration + 1,
                        error(network, seat.grid),
                        step.losses,
                        cosine_triple(step.cosines),
                    )
                )
    session.close()
    finish(seat, network, with_prediction=reporting)
