"""Vectors of networks, and small helpers."""

import inspect

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


class Single(torch.nn.Module):
    """A network with one parameter, which is a number."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(2.0))


class Tied(torch.nn.Module):
    """The second layer has the first one's weight."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(3, 3)
        self.second = torch.nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x))


def test_every_name_of_conflictfrees_utils_has_its_arguments():
    members = [
        (name, member)
        for name, member in vars(peer).items()
        if not name.startswith("_") and getattr(member, "__module__", "") == peer.__name__
    ]
    assert len(members) == len(utils.__all__)
    for name, member in members:
        pairs = [(member, getattr(utils, name))]
        if inspect.isclass(member):
            pairs.append((member.select, getattr(utils, name).select))
        for theirs, ours in pairs:
            theirs, ours = (list(inspect.signature(f).parameters.values()) for f in (theirs, ours))
            shared, added = ours[: len(theirs)], ours[len(theirs) :]
            assert [(p.name, p.default, p.kind) for p in shared] == [
                (p.name, p.default, p.kind) for p in theirs
            ], name
            # What ours have beyond that changes no call of theirs.
            assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in added), name


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


@pytest.mark.parametrize("make", [network, Single, Tied])
def test_vectors_never_share_the_networks_memory(make):
    net = make()
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    gradient, values = utils.get_gradient_vector(net), utils.get_para_vector(net)
    before = values.clone()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.grad.zero_()
            parameter.fill_(7)
    assert torch.equal(gradient, torch.ones_like(gradient))
    assert torch.equal(values, before)
    assert not gradient.requires_grad and not values.requires_grad


def test_a_network_of_one_number_has_a_vector_of_one_element():
    net = Single()
    (net.scale**2).backward()
    gradient = utils.get_gradient_vector(net)
    assert gradient.tolist() == [4.0]
    utils.apply_gradient_vector(net, 2 * gradient)
    assert net.scale.grad.shape == () and net.scale.grad == 8
    utils.apply_para_vector(net, torch.tensor([3.0]))
    assert net.scale == 3


def test_a_parameter_that_modules_share_counts_once():
    net = Tied()
    net(torch.ones(2, 3)).sum().backward()
    gradient = utils.get_gradient_vector(net)
    assert gradient.numel() == utils.get_para_vector(net).numel() == 12
    assert torch.equal(gradient[:9].view(3, 3), net.second.weight.grad)
    utils.apply_gradient_vector(net, torch.arange(12.0))
    assert net.second.weight.grad is net.first.weight.grad
    assert torch.equal(net.first.bias.grad, torch.arange(9.0, 12.0))
    utils.apply_para_vector(net, torch.arange(12.0))
    assert net.second.weight is net.first.weight
    assert torch.equal(net.second.weight, torch.arange(9.0).view(3, 3))


@pytest.mark.parametrize("mode", ["zero", "skip"])
def test_vectors_do_not_depend_on_the_memory_format_and_gradients_keep_it(mode):
    torch.manual_seed(0)
    plain = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 2, 1))
    last = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 2, 1))
    last.load_state_dict(plain.state_dict())
    last = last.to(memory_format=torch.channels_last)
    assert not last[0].weight.is_contiguous()
    images = torch.randn(2, 3, 6, 6)
    for net in (plain, last):
        net(images).square().sum().backward()
    assert torch.equal(utils.get_para_vector(last), utils.get_para_vector(plain))
    torch.testing.assert_close(utils.get_gradient_vector(last), utils.get_gradient_vector(plain))

    vector = torch.arange(float(utils.get_para_vector(plain).numel()))
    for net in (plain, last):
        utils.apply_gradient_vector(net, vector, mode)
        utils.apply_para_vector(net, vector)
        assert torch.equal(utils.get_gradient_vector(net), vector)
        assert torch.equal(utils.get_para_vector(net), vector)
    for parameter in last.parameters():
        assert parameter.grad.stride() == parameter.stride()
    assert last[0].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "small, large, common",
    [
        (torch.float16, torch.float32, torch.float32),
        (torch.float16, torch.bfloat16, torch.float32),
        (torch.float32, torch.float64, torch.float64),
    ],
)
def test_several_types_make_a_vector_that_holds_all_and_gradients_of_their_own(
    small, large, common
):
    net = torch.nn.Sequential(
        torch.nn.Linear(3, 2, dtype=small), torch.nn.Linear(2, 1, dtype=large)
    )
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    assert utils.get_para_vector(net).dtype is common
    assert utils.get_gradient_vector(net).dtype is common
    net[0].bias.grad = None
    assert utils.get_gradient_vector(net, "zero").dtype is common

    vector = torch.arange(11, dtype=common)
    utils.apply_gradient_vector(net, vector, "zero")
    utils.apply_para_vector(net, vector)
    assert torch.equal(utils.get_gradient_vector(net), vector)
    assert torch.equal(utils.get_para_vector(net), vector)
    for layer, dtype in zip(net, (small, large)):
        for parameter in layer.parameters():
            assert parameter.dtype is parameter.grad.dtype is dtype


def test_sparse_gradients_are_filled_up():
    net = torch.nn.Linear(3, 2, bias=False)
    dense = torch.tensor([[0.0, 1.0, 0.0], [2.0, 0.0, 0.0]])
    net.weight.grad = dense.to_sparse()
    assert torch.equal(utils.get_gradient_vector(net), dense.reshape(-1))


def test_gradients_that_were_applied_have_no_history():
    net = network()
    vector = torch.ones(26, requires_grad=True) * 2
    utils.apply_gradient_vector(net, vector)
    assert not any(parameter.grad.requires_grad for parameter in net.parameters())
    utils.put_gradients(net, vector, "zero", "pad_value")
    assert not any(parameter.grad.requires_grad for parameter in net.parameters())


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
    with pytest.raises(RuntimeError, match="no parameters"):
        utils.get_para_vector(torch.nn.ReLU())
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


def test_gradients_go_where_the_caller_says():
    net = torch.nn.Linear(3, 2)
    net(torch.ones(1, 3)).sum().backward()
    out = torch.empty(8)
    assert utils.get_gradient_vector(net, out=out) is out
    assert torch.equal(out, utils.get_gradient_vector(net))
    for wrong in (torch.empty(7), torch.empty(2, 4), torch.empty(16)[::2]):
        with pytest.raises(ValueError, match=r"accepted: \(8,\), contiguous"):
            utils.get_gradient_vector(net, out=wrong)
