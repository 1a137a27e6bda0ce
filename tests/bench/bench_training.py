"""What combining costs in a real training loop: the share of a step's time.

    python tests/bench/bench_training.py [--json=FILE] [--baselines=DIR] [--work=burgers,mlp]

Two networks on the CPU, one thread each: that of client/examples/burgers (10,401
parameters, its three losses) and a perceptron of ten million parameters with three
losses on a batch of 64. M-ConFIG as it is meant: a step takes one loss, in rotation.
All loops do the same but for the combination:

    plain          the gradient of the step's loss, as a vector, and plain descent
    embedded       concord.torch.ConflictFree with an operator in this process
    shared, tcp    the same with a Session on a server of its own, in shared memory, over TCP
    gram_torch     the frozen baseline (--baselines, or CONCORD_BASELINES)
    conflictfree   its PseudoMomentumOperator, where it is installed

They are measured in turns (A B C A B C ...), each on its own copy of the network. A
figure is the median over the turns of the turns' medians; a share is the median over the
turns of (step - plain's step) / step.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from bench_python import (
    ROOT,
    THREADS,
    begin,
    common_parser,
    running_server,
    save,
)

sys.path.insert(0, str(ROOT / "client" / "examples"))

import torch
from burgers.network import LOSSES, Network
from burgers.problem import PointSampler

COUNT = 3
RATE = 1e-3
WIDTHS = (512, 2048, 2048, 2048, 512)  # 10.5 million parameters.
BATCH = 64
WARM_UP = 2 * COUNT

Step = Callable[[int], None]


class Burgers:
    """The example's network: parameters are views of one vector."""

    name = "burgers"
    steps_of_a_turn = 60

    def __init__(self) -> None:
        self._network = Network(0)
        self._samplers = [PointSampler(0, loss) for loss in range(COUNT)]
        self.parameters = self._network._leaves

    def loss(self, turn: int) -> torch.Tensor:
        return LOSSES[turn](self._network, self._samplers[turn].draw())


class Perceptron:
    """Three thirds of the outputs, each with a target of its own."""

    name = "mlp"
    steps_of_a_turn = 6

    def __init__(self) -> None:
        torch.manual_seed(0)
        layers: list[torch.nn.Module] = []
        for inputs, outputs in itertools.pairwise(WIDTHS):
            layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
        self._network = torch.nn.Sequential(*layers[:-1])
        self._inputs = torch.randn(BATCH, WIDTHS[0])
        self._targets = torch.randn(BATCH, WIDTHS[-1]).chunk(COUNT, dim=1)
        self.parameters = list(self._network.parameters())

    def loss(self, turn: int) -> torch.Tensor:
        outputs = self._network(self._inputs).chunk(COUNT, dim=1)[turn]
        return (outputs - self._targets[turn]).square().mean()


def descent(parameters: list[torch.Tensor]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=RATE)


def plain(work: Any, combine: Callable[[int, torch.Tensor], torch.Tensor]) -> Step:
    """A loop without concord.torch: the loss's gradient as a vector, and back."""
    optimizer = descent(work.parameters)

    def step(turn: int) -> None:
        parts = torch.autograd.grad(
            work.loss(turn), work.parameters, materialize_grads=True
        )
        update = combine(turn, torch.cat([part.reshape(-1) for part in parts]))
        sizes = [parameter.numel() for parameter in work.parameters]
        for parameter, part in zip(work.parameters, update.split(sizes)):
            parameter.grad = part.view(parameter.shape)
        optimizer.step()

    return step


def conflict_free(work: Any, operator: Any) -> Step:
    from concord.torch import ConflictFree

    optimizer = descent(work.parameters)
    cf = ConflictFree(work.parameters, operator)

    def step(turn: int) -> None:
        cf.step({turn: work.loss(turn)})
        optimizer.step()

    return step


def contenders(make: Any, servers: dict[str, str], gram_torch: Any) -> dict[str, Step]:
    """Loops on fresh networks, by name."""
    import concord
    from concord.momentum_operator import PseudoMomentumOperator

    steps = {
        "plain": plain(make(), lambda turn, gradient: gradient),
        "embedded": conflict_free(
            make(), PseudoMomentumOperator(COUNT, server="", max_vectors_per_step=1)
        ),
    }
    for name, server in servers.items():
        session = concord.Session(server, num_vectors=COUNT, max_vectors_per_step=1)
        steps[name] = conflict_free(make(), session)
    if gram_torch is not None:
        work = make()
        length = sum(parameter.numel() for parameter in work.parameters)
        steps["gram_torch"] = plain(work, gram_torch.GramMomentum(COUNT, length).step)
    with contextlib.suppress(ImportError):
        from conflictfree.momentum_operator import PseudoMomentumOperator as Peer

        steps["conflictfree"] = plain(
            make(), Peer(num_vectors=COUNT).calculate_gradient
        )
    return steps


def turn_of(step: Step, count: int) -> float:
    """Milliseconds of a step with its forward and backward pass: the mean over the losses,
    whose passes differ, of the median rotation."""
    times = []
    for _ in range(0, count, COUNT):
        start = time.perf_counter()
        for turn in range(COUNT):
            step(turn)
        times.append((time.perf_counter() - start) / COUNT)
    return statistics.median(times) * 1e3


def measure(
    make: Any, turns: int, reps: int, servers: dict[str, str], gram_torch: Any
) -> dict:
    steps = contenders(make, servers, gram_torch)
    for step in steps.values():
        turn_of(step, WARM_UP)
    figures: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(turns):
        for name, step in steps.items():
            figures[name].append(turn_of(step, reps))
    floor = figures["plain"]
    row: dict[str, Any] = {
        "network": make.name,
        "n": sum(parameter.numel() for parameter in make().parameters),
        "m": COUNT,
        "steps_of_a_turn": reps,
    }
    for name, values in figures.items():
        row[name] = {
            "median": statistics.median(values),
            "low": min(values),
            "high": max(values),
            "share": statistics.median(
                (value - base) / value for value, base in zip(values, floor)
            ),
        }
    return row


def table(rows: list[dict[str, Any]]) -> str:
    head = f"{COUNT} losses, one a step, fp32, {THREADS} thread each; a step with its passes"
    columns = f"{'network':<9}{'parameters':>11}  {'loop':<13}{'ms, median [lowest, highest]':>30}"
    lines = [head, f"{columns}{'of which combining':>20}"]
    for row in rows:
        for name, figure in row.items():
            if not isinstance(figure, dict):
                continue
            cell = f"{figure['median']:.4g} [{figure['low']:.4g}, {figure['high']:.4g}]"
            share = "-" if name == "plain" else f"{100 * figure['share']:.1f} %"
            lines.append(
                f"{row['network']:<9}{row['n']:>11}  {name:<13}{cell:>30}{share:>20}"
            )
    return "\n".join(lines)


def main() -> int:
    parser = common_parser(__doc__, turns=7)
    parser.add_argument("--work", default="burgers,mlp")
    arguments = parser.parse_args()

    gram_torch = begin(arguments)
    rows = []
    program = arguments.server_program
    with (
        running_server(program, shared_memory=True) as shared,
        running_server(program) as tcp,
    ):
        servers = {"shared": shared, "tcp": tcp}
        for make in (Burgers, Perceptron):
            if make.name in arguments.work.split(","):
                reps = arguments.reps or make.steps_of_a_turn
                rows.append(measure(make, arguments.turns, reps, servers, gram_torch))
                print(f"measured {make.name}", file=sys.stderr, flush=True)
    print(table(rows))
    save(arguments, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
