"""Vectors that travel in 16 bits. The oracle: torch's own conversions."""

import pickle

import pytest
import torch

import concord
from concord.errors import InvalidArgumentError, SessionExists
from concord.momentum_operator import PseudoMomentumOperator, SeparateMomentumOperator

M, N = 3, 701
TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def gradients(step, n=N):
    return torch.randn(M, n, generator=torch.Generator().manual_seed(step))


@pytest.fixture(params=TYPES)
def wire(request):
    return request.param


@pytest.mark.parametrize("chunk_bytes", [None, 1021])
@pytest.mark.parametrize("given", ["float32", "as sent"])
def test_updates_are_float32_ones_of_the_rounded_gradients_rounded(
    server, wire, given, chunk_bytes
):
    dtype = TYPES[wire]
    alone = PseudoMomentumOperator(M)
    with concord.Session(
        server.tcp, None, 0, 1, M, gradient_type=wire, update_type=dtype, chunk_bytes=chunk_bytes
    ) as session:
        for step in range(6):
            half = gradients(step).to(dtype)
            expected = alone.calculate_gradient(grads=half.float()).to(dtype)
            brought = gradients(step) if given == "float32" else half
            update = session.step((range(M), brought)).update
            # As precise as the gradients; the numbers are the rounded ones in any case.
            assert update.dtype is brought.dtype
            assert torch.equal(update.to(dtype), expected)
            assert torch.equal(update.float(), expected.float())
        session.delete()


@pytest.mark.parametrize("operator", [PseudoMomentumOperator, SeparateMomentumOperator])
def test_operators_travel_in_16_bits_too(server, wire, operator):
    dtype = TYPES[wire]
    alone = operator(M)
    remote = operator(M, server=server.unix, gradient_type=wire, update_type=wire)
    for step in range(4):
        half = gradients(step).to(dtype)
        expected = alone.calculate_gradient(grads=half.float()).to(dtype)
        update = remote.calculate_gradient(grads=half.float())
        assert update.dtype is torch.float32
        assert torch.equal(update, expected.float())
    remote = pickle.loads(pickle.dumps(remote))
    half = gradients(9).to(dtype)
    expected = alone.calculate_gradient(1, half[1].float()).to(dtype)
    assert torch.equal(remote.calculate_gradient(1, half[1]), expected)


def test_micro_batches_are_sent_as_they_are(server, wire):
    dtype = TYPES[wire]
    parts = [gradients(step).to(dtype) for step in (1, 2)]
    alone = PseudoMomentumOperator(M)
    expected = alone.calculate_gradient(grads=parts[0].float() + parts[1].float())
    with concord.Session(server.tcp, None, 0, 1, M, gradient_type=dtype) as session:
        session.accumulate((range(M), parts[0]))
        update = session.step((range(M), parts[1].float())).update
        assert torch.equal(update, expected)
        session.delete()


def test_embedded_operators_take_16_bit_gradients(wire):
    dtype = TYPES[wire]
    wide, narrow = PseudoMomentumOperator(M), PseudoMomentumOperator(M)
    for step in range(4):
        half = gradients(step).to(dtype)
        update = narrow.calculate_gradient(grads=half)
        assert torch.equal(update, wide.calculate_gradient(grads=half.float()).to(dtype))


def test_what_is_not_finite_in_16_bits_is_refused_and_changes_nothing(server):
    alone = PseudoMomentumOperator(M)
    with concord.Session(server.tcp, None, 0, 1, M, gradient_type="float16") as session:
        bad = gradients(1)
        bad[1, 17] = 70_000.0  # Infinite in float16.
        with pytest.raises(InvalidArgumentError, match="17"):
            session.step((range(M), bad))
        half = gradients(1).half()
        update = session.step((range(M), half.float())).update
        assert torch.equal(update, alone.calculate_gradient(grads=half.float()))
        session.delete()


def test_ranks_that_do_not_agree_are_refused_by_name(server):
    first = concord.Session(server.tcp, "wire-types", 0, 2, M, N, gradient_type="bfloat16")
    first.connect()
    other = concord.Session(server.tcp, "wire-types", 1, 2, M, N, gradient_type="float16")
    with pytest.raises(SessionExists, match="gradient_type"):
        other.connect()
    first.delete()


@pytest.mark.parametrize("field", ["gradient_type", "update_type"])
def test_what_is_no_wire_type_is_refused_by_name(server, field):
    with pytest.raises(InvalidArgumentError, match=field):
        concord.Session(server.tcp, None, 0, 1, M, **{field: "int8"})
    with pytest.raises(InvalidArgumentError, match=f"session.{field}"):
        concord.Session(
            server.tcp, None, 0, 1, M, N, torch.float64, **{field: "bfloat16"}
        ).connect()
    with pytest.raises(ValueError, match="server"):
        PseudoMomentumOperator(M, server="", **{field: "bfloat16"})
