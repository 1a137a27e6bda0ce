"""Cosines of ConFIG's direction with its own losses, by conflictfree and by Concord.

    .venv/bin/python client/examples/cosines.py [n ...]

Prints a Markdown table for float32 gradients on the CPU (default n: 1e6 and 1e7):
three random ones, and three of which two oppose each other with a cosine of -0.98.
By definition of ConFIG the three cosines are equal and positive.
"""

from __future__ import annotations

import sys

import torch
from concord.grad_operator import ConFIGOperator
from conflictfree.grad_operator import ConFIGOperator as PeerOperator


def cosines(direction: torch.Tensor, gradients: torch.Tensor) -> str:
    direction = direction.double()
    norm = direction.norm()
    return " ".join(
        f"{(row.double() @ direction / row.double().norm() / norm).item():+.4f}"
        for row in gradients
    )


def main() -> None:
    print("| n | gradients | cosines by conflictfree | cosines by Concord |")
    print("|---|---|---|---|")
    for n in [int(float(value)) for value in sys.argv[1:]] or [10**6, 10**7]:
        torch.manual_seed(0)
        random = torch.randn(3, n)
        opposing = random.clone()
        opposing[1] = -0.98 * random[0] + (1 - 0.98**2) ** 0.5 * random[1]
        for name, gradients in (("random", random), ("two oppose", opposing)):
            peer = cosines(PeerOperator().calculate_gradient(gradients), gradients)
            ours = cosines(ConFIGOperator().calculate_gradient(gradients), gradients)
            print(f"| {n:,} | {name} | {peer} | {ours} |")


if __name__ == "__main__":
    main()
