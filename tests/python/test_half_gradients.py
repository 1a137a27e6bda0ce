"""Gradients of 16 bits embedded: read where they lie, computed in float32."""

import pytest
import torch

from concord.aggregation import UPGrad
from concord.grad_operator import ConFIGOperator
from concord.momentum_operator import PseudoMomentumOperator, SeparateMomentumOperator
from concord.weight_model import WeightModel

M, N = 3, 20_011
HALVES = [torch.float16, torch.bfloat16]


def gradients(seed, dtype):
    return torch.randn(M, N, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("kind", [PseudoMomentumOperator, SeparateMomentumOperator])
def test_momenta_are_those_of_the_widened_gradients(kind, dtype):
    narrow, wide = kind(M, server=""), kind(M, server="")
    for step in range(5):
        grads = gradients(step, dtype)
        kept = grads.clone()
        expected = wide.calculate_gradient(grads.float()).to(dtype)
        assert torch.equal(narrow.calculate_gradient(grads), expected)
        assert torch.equal(grads, kept)
    assert torch.equal(
        narrow.calculate_gradient(1, grads[0]),
        wide.calculate_gradient(1, grads[0].float()).to(dtype),
    )


@pytest.mark.parametrize("dtype", HALVES)
def test_types_may_change_between_steps(dtype):
    mixed, wide = (PseudoMomentumOperator(M, server="") for _ in range(2))
    for step in range(6):
        grads = gradients(step, torch.float32 if step % 2 else dtype)
        update = mixed.calculate_gradient(grads)
        assert update.dtype is grads.dtype
        assert torch.equal(update, wide.calculate_gradient(grads.float()).to(grads.dtype))


@pytest.mark.parametrize("dtype", HALVES)
def test_out_takes_the_rounded_update(dtype):
    narrow, wide = (PseudoMomentumOperator(M, server="") for _ in range(2))
    for step in range(3):
        grads = gradients(step, dtype)
        expected = wide.calculate_gradient(grads.float()).to(dtype)
        out = grads[0]
        assert narrow.calculate_gradient(grads, out=out) is out
        assert torch.equal(out, expected)


@pytest.mark.parametrize("dtype", HALVES)
def test_a_single_combination_is_that_of_the_widened_gradients(dtype):
    grads = gradients(0, dtype)
    expected = ConFIGOperator(server="").calculate_gradient(grads.float())
    assert torch.equal(ConFIGOperator(server="").calculate_gradient(grads), expected.to(dtype))
    assert torch.equal(UPGrad()(grads), UPGrad()(grads.float()).to(dtype))


@pytest.mark.parametrize("dtype", HALVES)
def test_a_model_defined_in_python_is_given_float32(dtype):
    seen = []

    class Equal(WeightModel):
        def get_weights(self, gradients, losses=None, device=None):
            seen.append(gradients.dtype)
            return torch.ones(len(gradients))

    grads = gradients(0, dtype)
    update = ConFIGOperator(weight_model=Equal(), server="").calculate_gradient(grads)
    expected = ConFIGOperator(server="").calculate_gradient(grads.float())
    assert seen == [torch.float32]
    assert torch.allclose(update.float(), expected, rtol=1e-2, atol=1e-2)
