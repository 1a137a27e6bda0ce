"""Aggregators and weightings of concord.aggregation inside torchjd itself."""

import pytest
import torch
import torchjd
import torchjd.aggregation as peer
from torch.nn import Linear, ReLU, Sequential
from torchjd.autogram import Engine
from torchjd.autojac import backward, jac_to_grad, mtl_backward

from concord import aggregation


def network():
    torch.manual_seed(0)
    return Sequential(Linear(4, 3), ReLU(), Linear(3, 1)).double()


def losses_of(model):
    generator = torch.Generator().manual_seed(1)
    inputs, targets = (torch.randn(3, k, generator=generator).double() for k in (4, 1))
    return ((model(inputs) - targets) ** 2).squeeze(1)


def jacobian(model):
    losses, parameters = losses_of(model), list(model.parameters())
    rows = [torch.autograd.grad(loss, parameters, retain_graph=True) for loss in losses]
    return torch.stack([torch.cat([part.reshape(-1) for part in row]) for row in rows])


def gradient(model):
    return torch.cat([parameter.grad.reshape(-1) for parameter in model.parameters()])


def test_torchjd_takes_the_base_classes_for_its_own():
    upgrad = aggregation.UPGrad()
    assert isinstance(upgrad, peer.GramianWeightedAggregator)
    assert isinstance(upgrad.gramian_weighting, peer.Weighting)
    assert isinstance(aggregation.Mean(), peer.WeightedAggregator)
    assert not isinstance(aggregation.Mean(), peer.GramianWeightedAggregator)
    assert isinstance(aggregation.GradVac(), torchjd.Stateful)
    assert not isinstance(upgrad, torchjd.Stateful)


@pytest.mark.parametrize("by_gramian", [False, True])
@pytest.mark.parametrize("name", ["UPGrad", "ConFIG", "MGDA", "IMTLG", "PCGrad", "GradVac"])
def test_jac_to_grad_gives_the_aggregation_and_its_weights(name, by_gramian):
    model = network()
    rows = jacobian(model)
    expected = getattr(aggregation, name)()(rows)
    backward(losses_of(model))
    weights = jac_to_grad(
        model.parameters(),
        getattr(aggregation, name)(),
        optimize_gramian_computation=by_gramian,
    )
    torch.testing.assert_close(gradient(model), expected)
    torch.testing.assert_close(weights @ rows, expected)


@pytest.mark.parametrize("name", ["Mean", "Sum"])
def test_jac_to_grad_takes_an_aggregator_that_needs_no_gramian(name):
    model = network()
    rows = jacobian(model)
    backward(losses_of(model))
    weights = jac_to_grad(model.parameters(), getattr(aggregation, name)())
    torch.testing.assert_close(gradient(model), getattr(peer, name)()(rows))
    torch.testing.assert_close(weights @ rows, gradient(model))


def test_jac_to_grad_gives_the_weights_that_a_hook_has_changed():
    model = network()
    aggregator = aggregation.MGDA()
    aggregator.gramian_weighting.register_forward_hook(lambda module, stats, weights: 2 * weights)
    rows = jacobian(model)
    backward(losses_of(model))
    weights = jac_to_grad(model.parameters(), aggregator)
    torch.testing.assert_close(weights @ rows, 2 * aggregation.MGDA()(rows))
    torch.testing.assert_close(gradient(model), weights @ rows)


def test_mtl_backward_takes_an_aggregator_for_the_shared_parameters():
    torch.manual_seed(2)
    shared, heads = Linear(4, 3), [Linear(3, 1), Linear(3, 1)]
    features = shared(torch.randn(5, 4))
    mtl_backward([head(features).square().mean() for head in heads], features)
    rows = torch.cat([parameter.jac.flatten(1) for parameter in shared.parameters()], dim=1)
    jac_to_grad(shared.parameters(), aggregation.ConFIG())
    torch.testing.assert_close(gradient(shared), aggregation.ConFIG()(rows))
    assert heads[0].weight.grad is not None


@pytest.mark.parametrize("name", ["UPGrad", "MGDA", "DualProj", "IMTLG", "GradVac"])
def test_autograms_weights_give_the_aggregation(name):
    model = network()
    expected = getattr(aggregation, name)()(jacobian(model))
    weighting = getattr(aggregation, f"{name}Weighting")()
    engine = Engine(model, batch_dim=0)
    losses = losses_of(model)
    losses.backward(weighting(engine.compute_gramian(losses)))
    torch.testing.assert_close(gradient(model), expected)


def test_torchjds_own_composites_take_the_weightings():
    rows = jacobian(network())
    theirs = peer.GramianWeightedAggregator(aggregation.MGDAWeighting())
    torch.testing.assert_close(theirs(rows), aggregation.MGDA()(rows))
    smoothed = peer.CRMOGMWeighting(aggregation.GradVacWeighting())
    first = smoothed(rows @ rows.T)
    smoothed(rows @ rows.T)
    smoothed.reset()
    torch.testing.assert_close(smoothed(rows @ rows.T), first)


@pytest.mark.parametrize("name", ["UPGrad", "DualProj"])
def test_a_projector_of_torchjd_says_how_to_regularise(name):
    class Projector:  # torchjd's own needs its solver to be installed.
        norm_eps, reg_eps = 1e-4, 0.0

    rows = jacobian(network())
    ours = getattr(aggregation, name)
    exact = ours(projector=aggregation.QuadprogProjector(reg_eps=0))
    torch.testing.assert_close(ours(projector=Projector())(rows), exact(rows))
