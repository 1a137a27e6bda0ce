"""The session of the workers in other languages (docs/clients.md), with `concord` itself.

    python client/examples/twenty_steps.py HOST:PORT SESSION [PAUSE_MS]

Takes 20 steps of three losses and prints the SHA-256 of all updates, which is the same
from every language. PAUSE_MS: how long a "backward pass" takes.
"""

from __future__ import annotations

import hashlib
import sys
import time

import concord
import numpy as np
import torch

LOSSES, PARAMETERS, STEPS = 3, 300_007, 20


def gradient(loss: int, step: int) -> torch.Tensor:
    """Numbers in [-1, 1) that float32 holds exactly: the same in every language."""
    element = np.arange(PARAMETERS, dtype=np.uint64)
    state = (element * 1103515245 + 12345 * (loss + 1) + step * 2654435761) % 2**32
    return torch.from_numpy(
        (((state >> 16).astype(np.int64) - 32768) / 32768).astype("<f4")
    )


def main() -> None:
    server, name = sys.argv[1:3]
    pause = float(sys.argv[3]) / 1e3 if len(sys.argv) > 3 else 0.0
    digest = hashlib.sha256()
    with concord.Session(
        server, name, num_vectors=LOSSES, num_parameters=PARAMETERS
    ) as session:
        for step in range(1, STEPS + 1):
            losses = range(LOSSES) if step == 1 else [step % LOSSES]
            time.sleep(pause)
            result = session.step({loss: gradient(loss, step) for loss in losses})
            digest.update(result.update.numpy().tobytes())
    print(digest.hexdigest())


if __name__ == "__main__":
    main()
