"""Three losses under DistributedDataParallel, in a plain loop.

    .venv/bin/torchrun --nproc-per-node=2 client/examples/train_ddp.py
    .venv/bin/torchrun --nproc-per-node=2 client/examples/train_ddp.py --server

A network learns a curve from its values, its slopes and its ends: three losses, of which
each rank has its part of the points. Every rank combines by itself; with --server one
concord-server does for all ranks of the machine. Each rank prints a digest of its
parameters at the end: they are the same, bit for bit, and the same either way.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib

import torch
import torch.distributed as dist
from concord.momentum_operator import PseudoMomentumOperator
from concord.torch import ConflictFree, SharedServer
from torch.nn.parallel import DistributedDataParallel


def curve(x: torch.Tensor) -> torch.Tensor:
    return torch.sin(3 * x) + 0.3 * torch.cos(11 * x)


def slope(x: torch.Tensor) -> torch.Tensor:
    return 3 * torch.cos(3 * x) - 3.3 * torch.sin(11 * x)


class Curve(torch.nn.Module):
    """Values, and slopes by forward differentiation."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(1, 64),
            torch.nn.Tanh(),
            torch.nn.Linear(64, 64),
            torch.nn.Tanh(),
            torch.nn.Linear(64, 1),
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        value = self.layers(x)
        (slopes,) = torch.autograd.grad(value.sum(), x, create_graph=True)
        return value, slopes


def losses_of(network: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    ends = torch.tensor([[-1.0], [1.0]])
    value, slopes = network(torch.cat([x, ends]).requires_grad_())
    return [
        (value[:-2] - curve(x)).square().mean(),
        (slopes[:-2] - slope(x)).square().mean(),
        (value[-2:] - curve(ends)).square().mean(),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--server", action="store_true", help="let a server combine")
    arguments = parser.parse_args()

    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)  # The points' generator is the rank's own.
    network = Curve()
    model = DistributedDataParallel(network) if size > 1 else network
    points = torch.Generator().manual_seed(rank)
    with contextlib.ExitStack() as stack:
        operator = PseudoMomentumOperator(num_vectors=3, server="")
        if arguments.server:
            server = stack.enter_context(SharedServer(options=["--threads=1"]))
            operator = server.session("curve", num_vectors=3)
        cf = ConflictFree(model, operator, verify=100)
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
        for step in range(arguments.steps):
            x = 2 * torch.rand(64, 1, generator=points) - 1
            result = cf.step(losses_of(model, x))
            optimizer.step()
            if rank == 0 and (step + 1) % 100 == 0:
                losses = "  ".join(f"{loss:.5f}" for loss in result.losses)
                print(f"step {step + 1:5}   values, slopes, ends: {losses}", flush=True)
        operator.close()
    vector = torch.nn.utils.parameters_to_vector(network.parameters()).detach()
    digest = hashlib.sha256(vector.numpy().tobytes()).hexdigest()
    print(f"rank {rank}: {digest[:16]}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
