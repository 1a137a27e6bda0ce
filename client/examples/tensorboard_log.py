"""What steps find, in TensorBoard: how the losses agree, what each weighs, how long it is.

    .venv/bin/pip install tensorboard
    .venv/bin/python client/examples/tensorboard_log.py --logdir runs
    .venv/bin/python client/examples/tensorboard_log.py --logdir runs \\
        --server 127.0.0.1:50051 --session burgers
    .venv/bin/tensorboard --logdir runs

The first trains a small network in this process. The second looks at somebody else's
job on a server, from outside, until it ends. In a program of one's own `log_step` is
all that is needed: after `operator.calculate_gradient(...)` with `operator.last_step`,
after `session.step(...)` with its result.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import combinations

import concord
import torch
from concord.errors import SessionNotFound
from concord.momentum_operator import PseudoMomentumOperator
from concord.utils import get_gradient_vector
from torch.utils.tensorboard import SummaryWriter


def log_step(
    writer: SummaryWriter,
    result: concord.StepResult,
    names: Sequence[str] | None = None,
) -> None:
    """One step's findings as scalars. `names`: of the losses; default their indexes.

    Until every loss has been seen there is nothing to combine: only the recorded
    losses are written.
    """

    def name(index: int) -> str:
        return str(index) if names is None else names[index]

    def put(tag: str, value: float) -> None:
        writer.add_scalar(tag, value, result.step)

    for index, loss in enumerate(result.losses):
        put(f"loss/{name(index)}", loss)
    if result.warming_up:
        return
    # With momentum a row for every loss, without it one for every gradient of the step.
    rows = [name(index) for index in result.indexes or range(len(result.coefficients))]
    norms = result.gram.diagonal().sqrt()
    for row, label in enumerate(rows):
        put(f"norm/{label}", norms[row].item())
        put(f"coefficient/{label}", result.coefficients[row].item())
        put(f"cosine of direction and/{label}", result.direction_cosines[row].item())
    for one, other in combinations(range(len(rows)), 2):
        put(f"cosine/{rows[one]}, {rows[other]}", result.cosines[one, other].item())
    put("direction/length", result.length)
    put("direction/conflict-free", float(result.conflict_free))
    put("direction/Pareto-stationary", float(result.pareto_stationary))


def train(writer: SummaryWriter, steps: int) -> None:
    """A line through two clouds of points that want different ones."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Linear(1, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)
    )
    operator = PseudoMomentumOperator(num_vectors=2)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-2)
    slopes = (1.0, -0.5)
    for step in range(steps):
        turn = step % len(slopes)
        x = torch.rand(32, 1)
        optimizer.zero_grad()
        (network(x) - slopes[turn] * x).square().mean().backward()
        operator.update_gradient(network, turn, get_gradient_vector(network))
        optimizer.step()
        log_step(writer, operator.last_step, ("rising", "falling"))


def follow(
    writer: SummaryWriter, server: str, session: str, timeout: float | None
) -> None:
    """Steps of a session on a server, until it is deleted or none comes for `timeout`
    seconds."""
    try:
        for told in concord.watch(server, session, timeout=timeout):
            log_step(writer, told.result)
            for rank, seconds in told.ranks.items():
                # Who was late has waited least.
                writer.add_scalar(
                    f"seconds waited/rank {rank}", seconds["wait"], told.result.step
                )
    except SessionNotFound:
        print(f"{session} has ended")
    except concord.errors.DeadlineExceeded:
        print(f"no step of {session} in {timeout} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--logdir", required=True)
    parser.add_argument(
        "--steps", type=int, default=500, help="of the training in this process"
    )
    parser.add_argument("--server", help="look at a session there instead")
    parser.add_argument("--session")
    parser.add_argument(
        "--timeout", type=float, help="longest wait for a step, in seconds"
    )
    arguments = parser.parse_args()
    if (arguments.server is None) != (arguments.session is None):
        parser.error("--server and --session belong together")
    with SummaryWriter(arguments.logdir) as writer:
        if arguments.server is None:
            train(writer, arguments.steps)
        else:
            follow(writer, arguments.server, arguments.session, arguments.timeout)


if __name__ == "__main__":
    main()
