"""NaN and Inf in steps of parameters that are sharded over ranks: with on_nonfinite="skip"
all ranks skip them, as if they had not been."""

import numpy as np
import pytest
import torch
import torch.distributed as dist

from concord.loss_recorder import LatestLossRecorder
from test_methods import M
from test_sharded import KINDS, N, caught, described, make, part_of, steps


def overflowing_run(rank, size, kind, bad, recording):
    """Steps with overflows on rank 2 among others: updates of the others, what was skipped."""
    options = {"loss_recorder": LatestLossRecorder(M)} if recording else {}
    operator = make(kind, group=dist.group.WORLD, on_nonfinite="skip", **options)
    kept, skipped = [], []
    good = steps("none", seed=3, count=8)
    for number in range(1, 9 + len(bad)):
        spoilt = number in bad
        if spoilt:
            grads, losses = torch.ones(M, N, dtype=torch.float64), [1.0] * M
            if rank == 2 and bad[number] == "gradient":
                grads[2, 50] = float("inf")
            if rank == 2 and bad[number] == "loss":
                losses[0] = float("nan")
        else:
            _, grads = next(good)
            losses = [float(number)] * M
        update = operator.calculate_gradient(part_of(grads), losses if recording else None)
        last = operator.last_step
        if spoilt:
            skipped.append((last.skipped_nonfinite, last.step))
            assert not update.any()
        else:
            assert last.skipped_nonfinite == ()
            kept.append(update.numpy())
    return kept, skipped, operator.last_step.step


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("recording", [False, True])
def test_an_overflow_on_one_rank_is_skipped_by_all_as_if_it_had_not_been(kind, recording, ranks):
    bad = {1: "gradient", 7: "gradient", 8: "gradient"}
    if recording:
        bad[7] = "loss"
    wanted = [
        (((2, 0 if what == "loss" else 2),), step) for what, step in zip(bad.values(), (0, 5, 5))
    ]
    undisturbed = ranks.run(overflowing_run, 3, kind, {}, recording)
    for (kept, skipped, last), (right, _, _) in zip(
        ranks.run(overflowing_run, 3, kind, bad, recording), undisturbed
    ):
        assert skipped == wanted and last == 8
        assert all(np.array_equal(one, other) for one, other in zip(kept, right))


def spoilt_twice(rank, size):
    """One rank has NaN, another a part of another length."""
    operator = make("pseudo", group=dist.group.WORLD, on_nonfinite="skip")
    operator.calculate_gradient(torch.ones(M, 5, dtype=torch.float64))
    grads = torch.ones(M, 5 + (rank == 2), dtype=torch.float64)
    if rank == 1:
        grads[0, 0] = float("nan")
    error = described(caught(lambda: operator.calculate_gradient(grads)))
    return error, operator.calculate_gradient(torch.eye(M, 5, dtype=torch.float64)).any().item()


def test_what_is_wrong_beside_a_nan_is_not_skipped(ranks):
    for error, goes_on in ranks.run(spoilt_twice, 3):
        assert error["metadata"]["ranks"] == "1, 2"
        assert goes_on
