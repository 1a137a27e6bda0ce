"""out=: the update goes into a tensor of the caller's, and the step is the same."""

import pytest
import torch

from concord.errors import InvalidArgumentError
from concord.grad_operator import ConFIGOperator, GradientOperator
from concord.loss_recorder import LatestLossRecorder
from concord.momentum_operator import PseudoMomentumOperator, SeparateMomentumOperator

M, N = 3, 5000


def gradients(step, dtype=torch.float32):
    return torch.randn(M, N, generator=torch.Generator().manual_seed(step)).to(dtype)


class Derived(GradientOperator):
    def calculate_gradient(self, grads, losses=None):
        return ConFIGOperator().calculate_gradient(grads)


@pytest.mark.parametrize("operator", [PseudoMomentumOperator, SeparateMomentumOperator])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_update_lies_in_out_with_the_bits_of_a_step_without_it(where, operator, dtype):
    with operator(M, **where) as used, operator(M, **where) as twin:
        out = torch.full((N,), 7.0, dtype=dtype)
        address = out.data_ptr()
        for step in range(6):
            grads = gradients(step, dtype)
            indexes = [0, 1, 2] if step == 0 else [step % M]
            found = used.calculate_gradient(indexes, grads[indexes], out=out)
            assert found is out
            assert out.data_ptr() == address
            assert torch.equal(out, twin.calculate_gradient(indexes, grads[indexes]))


def test_out_may_be_the_gradient_itself(where):
    with PseudoMomentumOperator(M, **where) as used, PseudoMomentumOperator(M, **where) as twin:
        for step in range(6):
            gradient = gradients(step)[step % M].clone()
            expected = twin.calculate_gradient(step % M, gradient)
            assert torch.equal(used.calculate_gradient(step % M, gradient, out=gradient), expected)
            assert torch.equal(gradient, expected)


def test_out_goes_with_recorded_losses():
    used = PseudoMomentumOperator(M, loss_recorder=LatestLossRecorder(M))
    twin = PseudoMomentumOperator(M, loss_recorder=LatestLossRecorder(M))
    out = torch.empty(N)
    for step in range(4):
        losses = [1.0, 2.0, float(step)]
        used.calculate_gradient(gradients(step), losses, out=out)
        assert torch.equal(out, twin.calculate_gradient(gradients(step), losses))


def test_out_goes_with_a_method_that_is_defined_in_python():
    used = PseudoMomentumOperator(M, gradient_operator=Derived())
    twin = PseudoMomentumOperator(M, gradient_operator=Derived())
    out = torch.empty(N)
    for step in range(3):
        assert used.calculate_gradient(gradients(step), out=out) is out
        assert torch.equal(out, twin.calculate_gradient(gradients(step)))


@pytest.mark.parametrize(
    ("out", "field"),
    [
        (torch.zeros(N - 1), "out.shape"),
        (torch.zeros(1, N), "out.shape"),
        (torch.zeros(N, dtype=torch.float64), "out.dtype"),
        (torch.zeros(2 * N)[::2], "out"),
        (torch.zeros(N, requires_grad=True), "out"),
        (torch.zeros(N, device="meta"), "out.device"),
    ],
    ids=["short", "two-dimensional", "dtype", "strided", "requires-grad", "device"],
)
def test_an_out_that_does_not_fit_is_refused_and_the_step_not_taken(where, out, field):
    with PseudoMomentumOperator(M, **where) as used, PseudoMomentumOperator(M, **where) as twin:
        used.calculate_gradient(gradients(0))
        twin.calculate_gradient(gradients(0))
        with pytest.raises(InvalidArgumentError) as refused:
            used.calculate_gradient(gradients(1), out=out)
        assert refused.value.field == field
        assert torch.equal(
            used.calculate_gradient(gradients(2)), twin.calculate_gradient(gradients(2))
        )


def test_an_out_that_is_no_tensor_is_a_type_error():
    with pytest.raises(TypeError, match="out must be a tensor"):
        PseudoMomentumOperator(M).calculate_gradient(gradients(0), out=[0.0] * N)
