"""ConFIG where conflictfree's solve fails: large n, dependent rows, scales, edges."""

import conflictfree.grad_operator as peer_grad
import numpy as np
import pytest
import torch

from concord.grad_operator import ConFIGOperator
from concord.momentum_operator import PseudoMomentumOperator
from oracle import config, cosines


def rows(kind, n, seed=0):
    """Three gradients, float32."""
    generator = torch.Generator().manual_seed(seed)
    g = torch.randn(3, n, generator=generator)
    if kind == "equal to 1e-3":
        return g[:1] + 1e-3 * g
    if kind == "opposing to 1e-2":
        return torch.stack([g[0], -g[0] + 1e-2 * g[1], g[2]])
    if kind == "badly scaled":
        return g * torch.tensor([1e-6, 1.0, 1e6])[:, None]
    assert kind == "random"
    return g


KINDS = ["random", "equal to 1e-3", "opposing to 1e-2", "badly scaled"]


def check(found, grads, tolerance=1e-5):
    """Direction and length of a float64 solve; equal positive cosines."""
    expected = config(grads.double().numpy())
    found = found.double().numpy()
    length = np.linalg.norm(expected)
    assert np.linalg.norm(found - expected) <= tolerance * length
    assert abs(np.linalg.norm(found) - length) <= tolerance * length
    cos = cosines(found, grads)
    assert (cos > 0).all()
    # A cosine of near-opposing gradients is itself small: the spread is absolute.
    assert cos.max() - cos.min() <= tolerance


@pytest.mark.parametrize("n", [10**6, pytest.param(10**7, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_config_is_exact_at_large_n(kind, n):
    grads = rows(kind, n)
    check(ConFIGOperator().calculate_gradient(grads), grads)


@pytest.mark.parametrize("n", [10**6, pytest.param(10**7, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_momentum_combines_exactly_at_large_n(kind, n):
    # Without decay of the first momentum, and after one step, the rows combined
    # are the gradients, and the update is the direction's sign: r / |r|.
    grads = rows(kind, n)
    operator = PseudoMomentumOperator(3, beta_1=0.0)
    update = operator.calculate_gradient(grads)
    last = operator.last_step
    expected = config(grads.double().numpy())
    direction = (last.coefficients @ grads.double()).numpy()
    assert np.linalg.norm(direction - expected) <= 1e-5 * np.linalg.norm(expected)
    assert last.conflict_free and not last.pareto_stationary
    spread = last.direction_cosines.max() - last.direction_cosines.min()
    assert spread <= 1e-5 and last.direction_cosines.min() > 0
    large = np.abs(expected) > 1e-3 * np.abs(expected).max()
    assert (np.sign(update.numpy()[large]) == np.sign(expected[large])).all()


@pytest.mark.parametrize(
    "kind, n", [("opposing to 1e-2", 10**6), pytest.param("random", 10**7, marks=pytest.mark.slow)]
)
def test_conflictfree_is_wrong_at_large_n_on_a_cpu(kind, n):
    grads = rows(kind, n)
    theirs = cosines(peer_grad.ConFIGOperator().calculate_gradient(grads), grads)
    ours = cosines(ConFIGOperator().calculate_gradient(grads), grads)
    assert theirs.max() - theirs.min() > 0.1, "conflictfree has been mended: say so in the README"
    assert ours.max() - ours.min() < 1e-5 and ours.min() > 0


def dependent_rows(seed, n=10_401):
    """g1, a g1 + (1-a) g2, -a g1 + (1-a) g3: what PINN losses look like at times."""
    generator = torch.Generator().manual_seed(seed)
    g = torch.randn(3, n, generator=generator)
    a = 1 - 10 ** (-4 + 3 * torch.rand((), generator=generator))
    return torch.stack([g[0], a * g[0] + (1 - a) * g[1], -a * g[0] + (1 - a) * g[2]])


def test_no_rank_is_dropped_where_conflictfree_drops_one():
    dropped = 0
    for seed in range(60):
        grads = dependent_rows(seed)
        cos = cosines(peer_grad.ConFIGOperator().calculate_gradient(grads), grads)
        dropped += cos.max() - cos.min() > 1e-3
        check(ConFIGOperator().calculate_gradient(grads), grads, tolerance=1e-4)
    assert dropped > 0, "conflictfree has been mended: say so in the README"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_gradients_give_their_sum(dtype):
    grads = torch.tensor([[1.0, 2.0, 3.0]] * 2, dtype=dtype)
    theirs = peer_grad.ConFIGOperator().calculate_gradient(grads)
    found = ConFIGOperator().calculate_gradient(grads)
    right = torch.tensor([2.0, 4.0, 6.0], dtype=dtype)
    torch.testing.assert_close(found, right)
    assert not torch.allclose(theirs, right)


def test_a_zero_row_is_dropped():
    grads = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    assert peer_grad.ConFIGOperator().calculate_gradient(grads).isnan().any()
    torch.testing.assert_close(ConFIGOperator().calculate_gradient(grads), grads[0])
    assert not ConFIGOperator().calculate_gradient(torch.zeros(3, 4)).any()


def test_opposing_gradients_give_zero():
    grads = torch.tensor([[0.1, 0.2, 0.3], [-0.3, -0.6, -0.9]])
    theirs = peer_grad.ConFIGOperator().calculate_gradient(grads)
    assert theirs.norm() > 0.1, "conflictfree returns something against loss 1"
    found = ConFIGOperator().calculate_gradient(grads)
    assert found.norm() <= 1e-6 * grads.norm()


def test_exactly_opposing_momenta_are_flagged():
    g = torch.randn(50, generator=torch.Generator().manual_seed(0))
    operator = PseudoMomentumOperator(2)
    update = operator.calculate_gradient([g, -2 * g])
    assert not update.any()
    assert operator.last_step.pareto_stationary and not operator.last_step.conflict_free


def test_more_losses_than_parameters_is_a_least_squares_solution():
    grads = torch.tensor([[1.0, 0.1], [0.2, 1.0], [1.0, 1.0]], dtype=torch.float64)
    found = ConFIGOperator().calculate_gradient(grads)
    np.testing.assert_allclose(found.numpy(), config(grads.numpy()), atol=1e-12)


def test_order_of_losses_does_not_matter():
    grads = rows("random", 1000).double()
    first = ConFIGOperator().calculate_gradient(grads)
    second = ConFIGOperator().calculate_gradient(grads[[2, 0, 1]])
    torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-12)
