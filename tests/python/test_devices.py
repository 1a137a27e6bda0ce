"""Tensors that are not in host memory: kernels of their device, and their way to a server."""

import pytest
import torch

import concord
from concord import _native, _process
from concord._embedded import EmbeddedBackend
from concord._inputs import parse_gradients
from concord.errors import UnavailableError
from concord.grad_operator import ConFIGOperator
from concord.momentum_operator import PseudoMomentumOperator, SeparateMomentumOperator
from conftest import Server
from test_inputs import gradients

M = 3


def test_the_torch_kernels_of_the_package_write_into_a_tensor():
    """The way of a CUDA tensor, on LibTorch's CPU."""
    rows = parse_gradients(gradients(), M)
    options = _native.make_options(num_vectors=M, num_parameters=rows.length)
    engine = _native.Engine(options, _native.torch_kernels("cpu"))
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
        _native.device_kernels("cuda")


def test_a_step_over_a_connection_may_land_where_the_caller_says(server):
    """The way of an update to a CUDA tensor, with memory that is not page-locked."""
    with concord.Session(server.tcp, num_vectors=M) as used:
        twin = PseudoMomentumOperator(M)
        for step in range(3):
            rows = parse_gradients(gradients(seed=step), M)
            landing = torch.full((rows.length,), 7.0)
            native = used._live(rows)
            addresses = [row.data_ptr() for row in rows.rows]
            buffer, _ = native.step(
                [0, 1, 2], addresses, [1.0] * M, [], [], [], [], 20.0, into=landing.data_ptr()
            )
            assert buffer is None
            assert torch.equal(landing, twin.calculate_gradient(torch.stack(rows.rows)))
        used.delete()


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@needs_gpu
@pytest.mark.parametrize("operator", [PseudoMomentumOperator, SeparateMomentumOperator])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_cuda_tensors_are_used_where_they_lie(operator, dtype):
    here, there = operator(M), operator(M)
    for step in range(8):
        indexes = [0, 1, 2] if step == 0 else [step % M]
        grads = gradients(dtype, seed=step)[indexes]
        expected = here.calculate_gradient(indexes, grads)
        found = there.calculate_gradient(indexes, grads.cuda())
        assert found.is_cuda and found.dtype is dtype
        assert_same(found.cpu(), expected)
    assert_same(
        ConFIGOperator().calculate_gradient(grads.cuda()).cpu(),
        ConFIGOperator().calculate_gradient(grads),
    )


def assert_same(found, expected):
    """The cuda kernels have the processor's bits; PyTorch's are near."""
    if _process.kernels(torch.device("cuda")).backend == "cuda":
        assert torch.equal(found, expected)
    else:
        torch.testing.assert_close(found, expected)


@needs_gpu
def test_a_step_waits_for_what_the_callers_stream_has_to_do():
    here, there = PseudoMomentumOperator(M), PseudoMomentumOperator(M)
    ready = gradients(seed=1)
    on_device = ready.cuda()
    big = torch.randn(4096, 4096, device="cuda")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(4):
            late = torch.zeros_like(on_device)
            for _ in range(20):
                big = (big @ big).clamp(-1, 1)  # Milliseconds.
            late.copy_(on_device)
            found = there.calculate_gradient(late) * 2
            expected = here.calculate_gradient(ready) * 2
            assert_same(found.cpu(), expected)


@needs_gpu
@pytest.mark.parametrize("serving", ["server", "sharing_server"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_cuda_tensors_travel_to_a_server_and_back(request, dtype, serving):
    here = PseudoMomentumOperator(M)
    with concord.Session(request.getfixturevalue(serving).tcp, num_vectors=M) as session:
        for step in range(5):
            grads = gradients(dtype, seed=step)
            result = session.step(([0, 1, 2], grads.cuda()))
            assert result.update.is_cuda and result.update.dtype is dtype
            assert torch.equal(result.update.cpu(), here.calculate_gradient(grads))
        session.delete()


@needs_gpu
def test_a_server_on_the_gpu_gives_the_same_updates(tmp_path):
    server = Server(tmp_path, device="cuda")
    try:
        here = PseudoMomentumOperator(M)
        with concord.Session(server.tcp, num_vectors=M) as session:
            for step in range(5):
                grads = gradients(seed=step)
                update = session.step(([0, 1, 2], grads)).update
                assert_same(update, here.calculate_gradient(grads))
            session.delete()
    finally:
        server.stop()
