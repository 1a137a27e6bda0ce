"""The demo's equation: its exact solution, points, network and derivatives."""

import numpy as np
import pytest
import torch
from burgers.network import LOSSES, Network, residual_loss
from burgers.problem import VISCOSITY, PointSampler, TestGrid, exact_solution, latin_hypercube
from burgers.schedule import learning_rate


def test_sixty_four_and_128_quadrature_nodes_agree():
    x, t = np.meshgrid(np.linspace(-1, 1, 101), np.linspace(0, 1, 41))
    assert np.abs(exact_solution(x, t, 64) - exact_solution(x, t, 128)).max() < 1e-9


def test_the_exact_solution_has_the_initial_and_boundary_values():
    x = np.linspace(-1, 1, 101)
    assert np.abs(exact_solution(x, 0.0) + np.sin(np.pi * x)).max() < 1e-12
    for edge in (-1.0, 1.0):
        assert np.abs(exact_solution(edge, np.linspace(0, 1, 50))).max() < 1e-12


def test_the_exact_solution_satisfies_the_equation():
    # Away from the front, where central differences of this step would be rough.
    x, t = np.meshgrid(np.linspace(-0.9, -0.1, 17), np.linspace(0.1, 0.9, 17))
    h = 1e-3
    u = exact_solution(x, t, 128)
    right, left = exact_solution(x + h, t, 128), exact_solution(x - h, t, 128)
    u_t = (exact_solution(x, t + h, 128) - exact_solution(x, t - h, 128)) / (2 * h)
    residual = u_t + u * (right - left) / (2 * h) - VISCOSITY * (right - 2 * u + left) / h**2
    assert np.abs(residual).max() < 1e-4 * np.abs(u_t).max()


def test_a_latin_hypercube_has_one_point_in_each_slice_of_every_axis():
    points = latin_hypercube(50, 3, np.random.default_rng(7))
    for axis in points.T:
        assert sorted((axis * 50).astype(int)) == list(range(50))


def test_the_points_lie_where_their_losses_are_taken():
    residual, initial, boundary = (PointSampler(3, loss).draw() for loss in range(3))
    assert [len(points) for points in (residual, initial, boundary)] == [500, 50, 50]
    assert residual[:, 0].min() < -0.98 and residual[:, 0].max() > 0.98
    assert residual[:, 1].min() >= 0 and residual[:, 1].max() <= 1
    assert (initial[:, 1] == 0).all() and initial[:, 0].min() < -0.9
    assert (boundary[:, 0].abs() == 1).all()
    assert boundary[:, 0].sum() == 0 and boundary[:, 1].max() > 0.9


def test_every_draw_is_a_new_one():
    sampler = PointSampler(3, 0)
    assert not torch.equal(sampler.draw(), sampler.draw())


def test_the_network_has_10401_parameters():
    assert Network(1).flat.shape == (10_401,)


def test_a_seed_says_all_of_network_and_points():
    assert torch.equal(Network(5).flat, Network(5).flat)
    assert not torch.equal(Network(5).flat, Network(6).flat)
    assert torch.equal(PointSampler(5, 0).draw(), PointSampler(5, 0).draw())


def _differentiated_twice(network, points):
    inputs = points.clone().requires_grad_()
    u = network(inputs)
    (first,) = torch.autograd.grad(u.sum(), inputs, create_graph=True)
    (second,) = torch.autograd.grad(first[:, 0].sum(), inputs, create_graph=True)
    return u, first[:, 0], first[:, 1], second[:, 0]


def test_derivatives_carried_forward_are_those_of_differentiating_twice():
    network, points = Network(2), PointSampler(2, 0).draw()
    for carried, wanted in zip(network.derivatives(points), _differentiated_twice(network, points)):
        torch.testing.assert_close(carried, wanted, rtol=1e-4, atol=1e-5)


def test_the_residuals_gradient_is_that_of_differentiating_twice():
    network, points = Network(2), PointSampler(2, 0).draw()
    u, u_x, u_t, u_xx = _differentiated_twice(network, points)
    wanted = network.gradient((u_t + u * u_x - VISCOSITY * u_xx).square().mean())
    found = network.gradient(residual_loss(network, points))
    assert (found - wanted).norm() < 1e-5 * wanted.norm()


@pytest.mark.parametrize("index", range(len(LOSSES)))
def test_every_loss_falls_along_its_own_negative_gradient(index):
    loss, network, points = LOSSES[index], Network(4), PointSampler(4, index).draw()
    before = loss(network, points)
    gradient = network.gradient(before)
    network.flat.sub_(gradient, alpha=1e-4)
    expected = 1e-4 * gradient.square().sum()
    fall = (before - loss(network, points)).item()
    assert fall == pytest.approx(expected.item(), rel=0.2)


def test_the_error_of_the_exact_solution_is_nothing():
    grid = TestGrid.make()
    assert grid.error(grid.exact) == 0
    assert grid.error(grid.exact + 0.5) == pytest.approx(0.25)


def test_the_rate_falls_from_the_first_to_the_last():
    rates = [learning_rate(progress / 10) for progress in range(11)]
    assert rates[0] == pytest.approx(1e-3) and rates[-1] == pytest.approx(1e-5)
    assert rates == sorted(rates, reverse=True)
    assert learning_rate(1.2) == rates[-1]
