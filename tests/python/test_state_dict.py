"""States: out of an operator and into another, embedded or on a server."""

from __future__ import annotations

import copy
import io

import pytest
import torch

import concord
from concord import _state
from concord.loss_recorder import LatestLossRecorder, MomentumLossRecorder
from concord.methods import CRMOGMOperator, TrimmedMeanOperator, UPGradOperator
from concord.momentum_operator import PseudoMomentumOperator, SeparateMomentumOperator

N = 2003


def gradients(step: int, dtype=torch.float32) -> tuple[list[int], torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    indexes = [0, 1, 2] if step < 3 else [step % 3]
    return indexes, torch.randn(len(indexes), N, generator=generator, dtype=torch.float64).to(dtype)


def run(operator, first: int, last: int, dtype=torch.float32, losses=False) -> list[torch.Tensor]:
    updates = []
    for step in range(first, last + 1):
        indexes, grads = gradients(step, dtype)
        values = [float(step + i) for i in indexes] if losses else None
        updates.append(operator.calculate_gradient(indexes, grads, values))
    return updates


def same(left, right) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right)) and len(left) == len(right)


KINDS = {
    "pseudo": lambda **o: PseudoMomentumOperator(3, **o),
    "separate": lambda **o: SeparateMomentumOperator(3, **o),
    "columns": lambda **o: PseudoMomentumOperator(3, gradient_operator=TrimmedMeanOperator(1), **o),
    "memory": lambda **o: PseudoMomentumOperator(
        3, gradient_operator=CRMOGMOperator(UPGradOperator()), **o
    ),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["embedded", "in", "out", "served"])
def test_a_state_goes_on_with_the_same_bits(server, kind, way, dtype):
    make = KINDS[kind]
    source = {"server": server.tcp if way in ("out", "served") else ""}
    target = {"server": server.tcp if way in ("in", "served") else ""}
    with make(**source) as operator, make(**target) as other:
        run(operator, 1, 5, dtype)
        other.load_state_dict(operator.state_dict())
        assert same(run(other, 6, 10, dtype), run(operator, 6, 10, dtype))


@pytest.mark.parametrize("make", [LatestLossRecorder, MomentumLossRecorder])
def test_a_recorder_goes_with_it(make):
    operator = PseudoMomentumOperator(3, loss_recorder=make(3), server="")
    other = PseudoMomentumOperator(3, loss_recorder=make(3), server="")
    run(operator, 1, 5, losses=True)
    other.load_state_dict(operator.state_dict())
    assert other.loss_recorder.current_losses == operator.loss_recorder.current_losses
    assert same(run(other, 6, 9, losses=True), run(operator, 6, 9, losses=True))
    assert other.loss_recorder.current_losses == operator.loss_recorder.current_losses


def test_torch_saves_it_beside_a_model():
    operator = PseudoMomentumOperator(3, server="")
    run(operator, 1, 4)
    file = io.BytesIO()
    torch.save({"momentum": operator.state_dict()}, file)
    file.seek(0)
    other = PseudoMomentumOperator(3, server="")
    other.load_state_dict(torch.load(file)["momentum"])
    assert same(run(other, 5, 8), run(operator, 5, 8))


def test_any_reader_of_safetensors_opens_the_file():
    load = pytest.importorskip("safetensors.torch").load
    operator = PseudoMomentumOperator(3, server="")
    run(operator, 1, 4)
    state = operator.state_dict()
    read = load(_state.pack(state))
    assert torch.equal(read["momentum.1"], operator.m[1])
    assert set(read) == {*state, "checksum"} - {"metadata"}


def test_a_state_before_the_first_step_is_empty_and_begins_anew():
    operator = PseudoMomentumOperator(3, server="")
    assert operator.state_dict() == {}
    run(operator, 1, 4)
    operator.load_state_dict({})
    assert same(run(operator, 1, 4), run(PseudoMomentumOperator(3, server=""), 1, 4))


def test_a_state_that_does_not_fit_changes_nothing(server):
    other = SeparateMomentumOperator(3, server="")
    run(other, 1, 3)
    for address in ("", server.tcp):
        with PseudoMomentumOperator(3, server=address) as operator:
            run(operator, 1, 3)
            twin = PseudoMomentumOperator(3, server="")
            run(twin, 1, 3)
            with pytest.raises(concord.errors.InvalidArgumentError):
                operator.load_state_dict(other.state_dict())
            broken = {**copy.copy(twin.state_dict()), "momentum.1": torch.zeros(N + 1)}
            with pytest.raises(concord.errors.ConcordError):
                operator.load_state_dict(broken)
            assert same(run(operator, 4, 6), run(twin, 4, 6))


def test_a_session_is_put_back_to_its_checkpoint(durable_server):
    with concord.Session(durable_server.tcp, "job", num_vectors=3) as session:
        updates = []
        for step in range(1, 9):
            indexes, grads = gradients(step)
            updates.append(session.step((indexes, grads)).update)
            if step == 5:
                taken = session.checkpoint()
        assert taken["name"] == "sessions/job/checkpoints/5"
        assert [c["step"] for c in session.checkpoints()] == [5]
        assert session.restore() == 5
        for step in range(6, 9):
            indexes, grads = gradients(step)
            assert torch.equal(session.step((indexes, grads)).update, updates[step - 1])
        session.delete()
