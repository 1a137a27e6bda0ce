"""One rank of the disturbed job: says every step that it has applied, and its update.

Arguments: server, session, rank, ranks, vector length, last step, step applied before,
and the session's further options in JSON. Stands still where its parent has gone.
"""

import hashlib
import json
import sys

import numpy
import torch

import concord


def gradient(rank: int, step: int, length: int) -> torch.Tensor:
    """Of the rank's loss; the same in every run and process."""
    random = numpy.random.Generator(numpy.random.Philox(key=[rank, step]))
    return torch.from_numpy(random.standard_normal(length, dtype=numpy.float32))


def overflows(rank: int, step: int) -> bool:
    """Whether the rank's gradient is infinite, and the step so a skipped one."""
    return rank == 1 and step % 7 == 3


def main() -> None:
    server, name = sys.argv[1:3]
    rank, ranks, length, last, applied = map(int, sys.argv[3:8])
    torch.set_num_threads(1)
    session = concord.Session(
        server,
        name,
        rank,
        ranks,
        num_vectors=ranks,
        num_parameters=length,
        dtype=torch.float32,
        loss_recorder=concord.MomentumLossRecorder(ranks),
        resume_step=applied,
        **json.loads(sys.argv[8]),
    )
    session.connect(timeout=120)
    for step in range(applied + 1, last + 1):
        brought = gradient(rank, step, length)
        if overflows(rank, step):
            brought[step % length] = float("inf")
        result = session.step({rank: brought}, {rank: 1 / (rank + step)})
        assert result.step == step
        skipped = ((1, 1),) if overflows(1, step) else ()
        assert result.skipped_nonfinite == skipped, (step, result.skipped_nonfinite)
        told = hashlib.sha256(result.update.numpy()).hexdigest()
        # One write: a worker that is killed has told a step whole, or not at all.
        sys.stdout.write(f"{step} {told} {result.attempts}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
