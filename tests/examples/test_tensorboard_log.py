"""The TensorBoard example: what it writes is what the steps found."""

import sys
import threading

import pytest
import tensorboard_log as example
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

import concord
from concord.loss_recorder import LatestLossRecorder
from concord.momentum_operator import PseudoMomentumOperator

GRADIENTS = torch.tensor([[3.0, 0.0, 0.0], [-1.0, 1.0, 0.0]])


def written(directory):
    """{tag: [(step, value)]}"""
    events = EventAccumulator(str(directory))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_the_scalars_are_the_results_own(tmp_path):
    recorder = LatestLossRecorder(2)
    operator = PseudoMomentumOperator(2, loss_recorder=recorder)
    with SummaryWriter(tmp_path / "runs") as writer:
        for turn in (0, 1, 0):
            operator.calculate_gradient(turn, GRADIENTS[turn], [turn + 0.5])
            example.log_step(writer, operator.last_step, ("heat", "edge"))
    found, result = written(tmp_path / "runs"), operator.last_step
    assert found["loss/heat"] == [(1, 0.5), (2, 0.5), (3, 0.5)]
    steps, cosines = zip(*found["cosine/heat, edge"])
    assert steps == (2, 3), "the first step is a warm-up"
    assert cosines[-1] == pytest.approx(result.cosines[0, 1].item()) and cosines[-1] < 0
    for row, loss in enumerate(("heat", "edge")):
        assert found[f"norm/{loss}"][-1] == (3, pytest.approx(GRADIENTS[row].norm().item()))
        coefficient = result.coefficients[row].item()
        assert found[f"coefficient/{loss}"][-1] == (3, pytest.approx(coefficient))
    assert found["direction/conflict-free"] == [(2, 1.0), (3, 1.0)]
    assert found["direction/Pareto-stationary"] == [(2, 0.0), (3, 0.0)]


def test_gradients_of_a_step_without_momentum_keep_their_losses_names(tmp_path, server):
    with (
        SummaryWriter(tmp_path / "runs") as writer,
        concord.Session(server, num_vectors=3, momentum="none") as session,
    ):
        example.log_step(writer, session.step({0: GRADIENTS[0], 2: GRADIENTS[1]}))
        session.delete()
    assert set(written(tmp_path / "runs")) >= {"norm/0", "norm/2", "cosine/0, 2"}


class Noticing(SummaryWriter):
    """Says when something has been written of a step."""

    def __init__(self, directory):
        super().__init__(directory)
        self.written = threading.Event()

    def add_scalar(self, *arguments):
        super().add_scalar(*arguments)
        self.written.set()


def test_a_session_is_followed_from_outside_until_it_ends(tmp_path, server, capsys):
    session = concord.Session(server, "logged", num_vectors=2)
    with Noticing(tmp_path / "runs") as writer:
        session.step({0: GRADIENTS[0], 1: GRADIENTS[1]})
        follower = threading.Thread(target=example.follow, args=(writer, server, "logged", 30.0))
        follower.start()
        assert writer.written.wait(30)
        session.delete()
        follower.join()
    assert "logged has ended" in capsys.readouterr().out
    found = written(tmp_path / "runs")
    assert found["cosine/0, 1"][0][0] == 1
    assert set(found) >= {"norm/0", "norm/1", "seconds waited/rank 0"}


def test_its_own_training_writes_a_line_a_step(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["log", f"--logdir={tmp_path}/runs", "--steps=20"])
    example.main()
    found = written(tmp_path / "runs")
    assert [step for step, _ in found["norm/rising"]] == list(range(2, 21))
    assert all(value > 0 for _, value in found["cosine of direction and/falling"])
