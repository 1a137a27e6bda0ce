"""Vectors of networks, and small helpers."""

import conflictfree.utils as peer
import pytest
import torch

import concord.utils as utils


def network(backward=True, unused=False):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    if backward:
        output = net[0](torch.randn(5, 3)) if unused else net(torch.randn(5, 3))
        output.square().sum().backward()
    return net


@pytest.mark.parametrize("mode", ["skip", "zero"])
@pytest.mark.parametrize("unused", [False, True])
def test_vectors_equal_conflictfrees(mode, unused):
    net = network(unused=unused)
    assert torch.equal(utils.get_gradient_vector(net, mode), peer.get_gradient_vector(net, mode))
    assert torch.equal(utils.get_para_vector(net), peer.get_para_vector(net))


@pytest.mark.parametrize("mode", ["skip", "pad_zero", "pad_value"])
def test_gradients_are_applied_as_conflictfree_does(mode):
    ours, theirs = network(unused=True), network(unused=True)
    vector = torch.arange(1.0, 27.0)
    utils.apply_gradient_vector(ours, vector, "zero", mode)
    peer_mode = mode
    if mode != "pad_value":
        peer.apply_gradient_vector(theirs, vector, "zero", peer_mode)
    else:
        peer.apply_gradient_vector_para_based(theirs, vector)
    for a, b in zip(ours.parameters(), theirs.parameters()):
        assert (a.grad is None) == (b.grad is None)
        assert a.grad is None or torch.equal(a.grad, b.grad)


def test_applied_vectors_are_copied():
    net = network()
    vector = torch.ones(26)
    utils.apply_gradient_vector(net, vector)
    next(net.parameters()).grad.zero_()
    utils.apply_para_vector(net, vector)
    with torch.no_grad():
        next(net.parameters()).zero_()
    assert torch.equal(vector, torch.ones(26))
    utils.apply_para_vector(net, vector)
    assert torch.equal(utils.get_para_vector(net), vector)


@pytest.mark.parametrize("length", [25, 27])
def test_a_vector_of_another_length_is_refused_before_anything_is_written(length):
    net = network()
    gradient, parameters = utils.get_gradient_vector(net), utils.get_para_vector(net)
    for apply in (
        utils.apply_gradient_vector,
        utils.apply_gradient_vector_para_based,
        utils.apply_para_vector,
    ):
        with pytest.raises(ValueError, match="26"):
            apply(net, torch.zeros(length))
    assert torch.equal(utils.get_gradient_vector(net), gradient)
    assert torch.equal(utils.get_para_vector(net), parameters)


def test_missing_gradients_and_unknown_modes_are_errors():
    net = network(unused=True)
    with pytest.raises(RuntimeError, match="no gradient"):
        utils.get_gradient_vector(net, "raise")
    with pytest.raises(RuntimeError):
        utils.get_gradient_vector(network(backward=False))
    with pytest.raises(ValueError):
        utils.get_gradient_vector(net, "other")
    with pytest.raises(ValueError):
        utils.apply_gradient_vector(net, torch.zeros(16), "raise")
    with pytest.raises(ValueError):
        utils.apply_gradient_vector(net, torch.zeros(26), "zero", "other")


def test_small_helpers_equal_conflictfrees():
    torch.manual_seed(0)
    a, b, c, d = torch.randn(4, 9)
    torch.testing.assert_close(utils.get_cos_similarity(a, b), peer.get_cos_similarity(a, b))
    torch.testing.assert_close(utils.unit_vector(a), peer.unit_vector(a))
    stack = torch.stack([a, b, c])
    torch.testing.assert_close(utils.estimate_conflict(stack), peer.estimate_conflict(stack))
    weights = torch.tensor([1.0, 2.0])
    torch.testing.assert_close(
        utils.transfer_coef_double(weights, a, b, c, d)[0],
        peer.transfer_coef_double(weights, a, b, c, d)[0],
    )
    assert utils.has_zero([1, 0]) and not utils.has_zero([1, 2])
    assert not utils.unit_vector(torch.zeros(3)).any()
    assert utils.get_cos_similarity(torch.zeros(3), torch.ones(3)) == 0


def test_the_ordered_selector_goes_round_as_conflictfrees_does():
    ours, theirs = utils.OrderedSliceSelector(), peer.OrderedSliceSelector()
    source = list("abcde")
    for n in (1, 2, 3, 5, 4, 1, 1, 5, 2):
        assert ours.select(n, source) == theirs.select(n, source)
    with pytest.raises(ValueError):
        ours.select(6, source)


def test_the_random_selector_takes_none_twice():
    selector = utils.RandomSliceSelector()
    source = list("abcde")
    for n in range(1, 6):
        indexes, chosen = selector.select(n, source)
        assert len(set(indexes)) == n and all(type(i) is int for i in indexes)
        assert (chosen if n > 1 else [chosen]) == [source[i] for i in indexes]
    with pytest.raises(ValueError):
        selector.select(6, source)
