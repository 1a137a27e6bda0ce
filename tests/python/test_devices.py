"""Tensors that are not in host memory go through the torch kernels."""

import pytest
import torch

from concord import _native, _process
from concord._embedded import EmbeddedBackend
from concord._inputs import parse_gradients
from concord.errors import UnavailableError
from concord.grad_operator import ConFIGOperator
from concord.momentum_operator import PseudoMomentumOperator
from test_inputs import gradients

M = 3


def test_the_torch_kernels_of_the_package_write_into_a_tensor():
    """The way of a CUDA tensor, on LibTorch's CPU."""
    rows = parse_gradients(gradients(), M)
    options = _native.make_options(num_vectors=M, num_parameters=rows.length)
    engine = _native.Engine(options, _native.torch_kernels("cpu", _process._torch_module()))
    native = EmbeddedBackend({"num_vectors": M}, rows)
    for step in range(5):
        rows = parse_gradients(gradients(seed=step), M)
        update = torch.empty(rows.length)
        addresses = [row.data_ptr() for row in rows.rows]
        engine.step_into([0, 1, 2], addresses, True, [], [], [], "", update.data_ptr())
        torch.testing.assert_close(update, native.step([0, 1, 2], rows), rtol=2e-6, atol=2e-6)
    assert len(engine.committed()["update_cosines"]) == M


def test_a_device_that_is_not_there_is_an_error_that_says_so():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UnavailableError):
        _native.torch_kernels("cuda", _process._torch_module())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_cuda_tensors_are_used_where_they_lie(dtype):
    here, there = PseudoMomentumOperator(M), PseudoMomentumOperator(M)
    for step in range(8):
        grads = gradients(dtype, seed=step)
        expected = here.calculate_gradient(grads)
        found = there.calculate_gradient(grads.cuda())
        assert found.is_cuda and found.dtype is dtype
        torch.testing.assert_close(found.cpu(), expected)
    torch.testing.assert_close(
        ConFIGOperator().calculate_gradient(grads.cuda()).cpu(),
        ConFIGOperator().calculate_gradient(grads),
    )
