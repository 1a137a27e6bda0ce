"""The same numbers as conflictfree, where conflictfree is right."""

import conflictfree.grad_operator as peer_grad
import conflictfree.momentum_operator as peer_momentum
import numpy as np
import pytest
import torch

import concord.grad_operator as grad
from concord.momentum_operator import PseudoMomentumOperator
from oracle import Momentum, config

BOUNDS = {torch.float32: 2e-6, torch.float64: 1e-10}


class ExactConFIG(peer_grad.GradientOperator):
    """conflictfree's interface around a least squares solve that keeps the rank.

    conflictfree's own solve (LAPACK's default driver and cutoff) drops a rank at
    times, whatever the precision: its momentum code is the reference here, not
    that defect, which test_right_where_peer_is_wrong.py shows.
    """

    def calculate_gradient(self, grads, losses=None):
        return torch.from_numpy(config(grads.numpy()))


def subsets(m, steps, generator):
    for _ in range(steps):
        k = int(torch.randint(1, m + 1, (), generator=generator))
        yield torch.randperm(m, generator=generator)[:k].tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("m", [2, 3, 5])
@pytest.mark.parametrize("solve", ["own", "exact"])
def test_two_hundred_steps_equal_conflictfree(m, dtype, solve, where, float64_default):
    generator = torch.Generator().manual_seed(100 + m)
    n = 401
    operator = peer_grad.ConFIGOperator() if solve == "own" else ExactConFIG()
    peer = peer_momentum.PseudoMomentumOperator(num_vectors=m, gradient_operator=operator)
    scales = 10.0 ** torch.linspace(-2, 2, m)
    with PseudoMomentumOperator(num_vectors=m, **where) as ours:
        worst = 0.0
        for indexes in subsets(m, 200, generator):
            grads = [(torch.randn(n, generator=generator) * scales[i]).to(dtype) for i in indexes]
            expected = peer.calculate_gradient(indexes, [g.double() for g in grads])
            found = ours.calculate_gradient(indexes, grads)
            assert found.dtype is dtype
            error = (found.double() - expected).abs().max()
            worst = max(worst, float(error / max(1.0, float(expected.abs().max()))))
    assert worst <= BOUNDS[dtype]


def test_the_oracle_of_these_tests_is_the_definition(float64_default):
    generator = torch.Generator().manual_seed(7)
    peer = peer_momentum.PseudoMomentumOperator(num_vectors=3)
    oracle = Momentum(3, 50)
    for indexes in subsets(3, 50, generator):
        grads = [torch.randn(50, generator=generator) for _ in indexes]
        expected = peer.calculate_gradient(indexes, grads)
        np.testing.assert_allclose(oracle.step(indexes, grads), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("m", [1, 2, 3, 5])
def test_config_operator_equals_conflictfree(m, where, float64_default):
    grads = torch.randn(m, 300, generator=torch.Generator().manual_seed(m))
    expected = peer_grad.ConFIGOperator().calculate_gradient(grads)
    ours = grad.ConFIGOperator(**where)
    torch.testing.assert_close(ours.calculate_gradient(grads), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        ours.calculate_gradient(list(grads)), expected, rtol=1e-12, atol=1e-12
    )


def test_config_functions_equal_conflictfree(float64_default):
    grads = torch.randn(3, 300, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(grad.ConFIG_update(grads), peer_grad.ConFIG_update(grads))
    torch.testing.assert_close(
        grad.ConFIG_update_double(grads[0], grads[1]),
        peer_grad.ConFIG_update_double(grads[0], grads[1]),
    )


@pytest.mark.parametrize("m", [2, 3])
def test_weights_set_the_ratio_of_the_cosines(m):
    grads = torch.randn(m, 200, dtype=torch.float64, generator=torch.Generator().manual_seed(m))
    weights = [1.0, 2.0, 4.0][:m]
    model = grad.GivenWeight(weights)
    direction = grad.ConFIGOperator(model).calculate_gradient(grads)
    expected = config(grads.numpy(), weights)
    np.testing.assert_allclose(direction.numpy(), expected, rtol=1e-11, atol=1e-12)
    cosines = torch.nn.functional.cosine_similarity(grads, direction[None])
    torch.testing.assert_close(cosines / cosines[0], torch.tensor(weights, dtype=torch.float64))
