"""Per-loss gradients in one process: which parameters, heads, micro-batches, checkpoints."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from concord.errors import InvalidArgumentError, LayoutMismatch
from concord.torch import GradientAccumulator, per_loss_gradients

POINTS = torch.randn(24, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


class Network(torch.nn.Module):
    """A trunk with a head for each of three losses."""

    def __init__(self, segment=None):
        super().__init__()
        self.trunk = torch.nn.Sequential(
            torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 5), torch.nn.Tanh()
        )
        self.heads = torch.nn.ModuleList([torch.nn.Linear(5, 1) for _ in range(3)])
        self.segment = segment or (lambda trunk, x: trunk(x))

    def forward(self, x):
        features = self.segment(self.trunk, x)
        return features, [head(features)[:, 0] for head in self.heads]


def network(**options):
    torch.manual_seed(1)
    return Network(**options).double()


def losses_of(net, points=POINTS):
    targets = (points[:, 0], points[:, 1].square(), points[:, 2].sin())
    _, outputs = net(points)
    return [(out - wanted).square().mean() for out, wanted in zip(outputs, targets)]


def by_hand(net, points=POINTS, parameters=None):
    """(3, n): a forward and a backward pass of its own for each loss."""
    parameters = list(net.parameters() if parameters is None else parameters)
    rows = []
    for j in range(3):
        for parameter in net.parameters():
            parameter.grad = None
        losses_of(net, points)[j].backward()
        rows.append(
            torch.cat(
                [
                    (torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1)
                    for p in parameters
                ]
            )
        )
    for parameter in net.parameters():
        parameter.grad = None
    return torch.stack(rows)


def test_each_loss_has_its_own_gradient_with_zeros_where_it_uses_nothing():
    net = network()
    indexes, vectors = per_loss_gradients(losses_of(net), net)
    assert indexes == [0, 1, 2]
    assert torch.equal(torch.stack(vectors), by_hand(net))
    assert (vectors[0][-6:] == 0).all(), "the last head is not the first loss's"


def test_no_gradient_of_the_network_is_touched():
    net = network()
    per_loss_gradients(losses_of(net), net)
    assert all(parameter.grad is None for parameter in net.parameters())


def test_frozen_parameters_have_no_part_in_vectors():
    net = network()
    net.trunk[0].requires_grad_(False)
    vectors = per_loss_gradients(losses_of(net), net).vectors
    trainable = [p for p in net.parameters() if p.requires_grad]
    assert torch.equal(torch.stack(vectors), by_hand(net, parameters=trainable))


def test_a_parameter_that_modules_share_counts_once():
    net = network()
    net.heads[2].weight = net.heads[0].weight
    vectors = per_loss_gradients(losses_of(net), net).vectors
    assert torch.equal(torch.stack(vectors), by_hand(net))


def test_a_loss_that_the_batch_does_not_have_has_no_vector():
    net = network()
    first, _, last = losses_of(net)
    indexes, vectors = per_loss_gradients([first, None, last], net)
    assert indexes == [0, 2]
    assert torch.equal(torch.stack(vectors), by_hand(net)[[0, 2]])


def test_the_pair_is_what_operators_take():
    from concord.momentum_operator import PseudoMomentumOperator

    net = network()
    found = PseudoMomentumOperator(3).calculate_gradient(*per_loss_gradients(losses_of(net), net))
    assert torch.equal(found, PseudoMomentumOperator(3).calculate_gradient(by_hand(net)))


@pytest.mark.parametrize("name", ["ConFIG", "UPGrad", "AlignedMTL"])
def test_trunk_and_heads_are_those_of_mtl_backward(name):
    from torchjd import aggregation
    from torchjd.autojac import jac_to_grad, mtl_backward

    from concord import ConFIGOperator, methods
    from concord.utils import apply_gradient_vector_para_based

    operator = {
        "ConFIG": ConFIGOperator,
        "UPGrad": lambda: methods.UPGradOperator(reg_eps=1e-4),
        "AlignedMTL": methods.AlignedMTLOperator,
    }[name]()
    theirs, ours = network(), network()
    features, outputs = theirs(POINTS)
    targets = (POINTS[:, 0], POINTS[:, 1].square(), POINTS[:, 2].sin())
    mtl_backward(
        [(out - wanted).square().mean() for out, wanted in zip(outputs, targets)],
        features=features,
    )
    jac_to_grad(theirs.trunk.parameters(), getattr(aggregation, name)())

    _, vectors = per_loss_gradients(losses_of(ours), ours, shared=ours.trunk)
    apply_gradient_vector_para_based(ours.trunk, operator.calculate_gradient(vectors))
    assert vectors[0].numel() == sum(p.numel() for p in ours.trunk.parameters())
    for (place, one), other in zip(ours.named_parameters(), theirs.parameters()):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-6, atol=1e-6, msg=place)


def test_a_head_that_no_loss_reaches_has_no_gradient():
    net = network()
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    first, second, _ = losses_of(net)
    per_loss_gradients([first, second, None], net, shared=net.trunk)
    assert all(p.grad is None for p in net.heads[2].parameters())
    assert all((p.grad != 1).any() for p in net.heads[0].parameters())
    assert all((p.grad == 1).all() for p in net.trunk.parameters()), "their vectors are"


def accumulated(net, parts, weights=None, **options):
    accumulator = GradientAccumulator(net, 3, **options)
    for part in parts[:-1]:
        accumulator.add(losses_of(net, part), weights=weights and len(part))
    return accumulator.take(losses_of(net, parts[-1]), weights=weights and len(parts[-1]))


def test_four_micro_batches_give_the_large_batchs_gradients():
    net = network()
    whole = torch.stack(per_loss_gradients(losses_of(net), net).vectors)
    parts = torch.stack(accumulated(net, POINTS.chunk(4)).vectors)
    torch.testing.assert_close(parts, whole, rtol=1e-13, atol=1e-15)
    uneven = torch.stack(accumulated(net, POINTS.split([3, 10, 11]), weights=True).vectors)
    torch.testing.assert_close(uneven, whole, rtol=1e-13, atol=1e-15)


def test_heads_get_the_large_batchs_gradients_too():
    net = network()
    per_loss_gradients(losses_of(net), net, shared=net.trunk)
    whole = [p.grad.clone() for p in net.heads.parameters()]
    accumulated(net, POINTS.split([3, 10, 11]), weights=True, shared=net.trunk)
    for one, other in zip(net.heads.parameters(), whole):
        torch.testing.assert_close(one.grad, other, rtol=1e-13, atol=1e-15)


def test_the_same_micro_batches_give_the_same_bits_and_begin_anew_after_each_step():
    net = network().float()
    parts = [part.float() for part in POINTS.chunk(4)]
    accumulator = GradientAccumulator(net, 3)
    found = []
    for _ in range(2):
        for part in parts[:-1]:
            accumulator.add(losses_of(net, part))
        found.append([v.clone() for v in accumulator.take(losses_of(net, parts[-1])).vectors])
    for one, other in zip(*found):
        assert torch.equal(one, other)


def test_a_loss_missing_from_some_micro_batches_is_averaged_over_the_others():
    net = network()
    accumulator = GradientAccumulator(net, 3)
    halves = POINTS.chunk(2)
    accumulator.add(losses_of(net, halves[0]))
    first, _, _ = losses_of(net, halves[1])
    indexes, vectors = accumulator.take([first, None, None])
    assert indexes == [0, 1, 2]
    assert torch.equal(vectors[1], by_hand(net, halves[0])[1])
    torch.testing.assert_close(vectors[0], by_hand(net)[0], rtol=1e-13, atol=1e-15)


def segmented(use_reentrant):
    return lambda trunk, x: checkpoint(trunk, x.requires_grad_(), use_reentrant=use_reentrant)


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("use_backward", [False, True])
def test_activation_checkpointing(use_reentrant, use_backward):
    net = network(segment=segmented(use_reentrant))
    points = POINTS.clone()
    losses = losses_of(net, points)
    if use_reentrant and not use_backward:
        with pytest.raises(RuntimeError, match=r"use_reentrant=True.*use_backward=True"):
            per_loss_gradients(losses, net)
        return
    for parameter in net.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    vectors = per_loss_gradients(losses, net, use_backward=use_backward).vectors
    assert all((p.grad == 7).all() for p in net.parameters()), "what was there is there again"
    assert torch.equal(torch.stack(vectors), by_hand(network()))


def test_micro_batches_under_checkpointing():
    net = network(segment=segmented(True))
    parts = [part.clone() for part in POINTS.chunk(4)]
    found = torch.stack(accumulated(net, parts, use_backward=True).vectors)
    torch.testing.assert_close(found, by_hand(network()), rtol=1e-13, atol=1e-15)


def test_sparse_gradients_and_parameters_of_several_types_make_one_vector():
    torch.manual_seed(2)
    table = torch.nn.Embedding(4, 2, sparse=True)
    layer = torch.nn.Linear(2, 1).double()
    loss = layer(table(torch.tensor([1, 3])).double()).square().mean()
    _, (vector,) = per_loss_gradients([loss], torch.nn.ModuleList([table, layer]))
    assert vector.dtype is torch.float64 and vector.numel() == 11
    rows = vector[:8].reshape(4, 2)
    assert (rows[[0, 2]] == 0).all() and (rows[[1, 3]] != 0).all()


def test_what_is_wrong_is_said_and_nothing_is_kept_of_it():
    net = network()
    losses = losses_of(net)
    accumulator = GradientAccumulator(net, 3)
    with pytest.raises(InvalidArgumentError, match=r"LENGTH_MISMATCH: len\(losses\) = 2"):
        accumulator.take(losses[:2])
    with pytest.raises(InvalidArgumentError, match=r"losses\[1\] = requires_grad=False"):
        accumulator.take([losses[0], losses[1].detach(), None])
    with pytest.raises(InvalidArgumentError, match=r"losses\[1\] = \(2,\)"):
        accumulator.take([losses[0], torch.ones(2, requires_grad=True), None])
    with pytest.raises(InvalidArgumentError, match=r"weights\[0\] = -1"):
        accumulator.take(losses, weights=-1)
    with pytest.raises(ValueError, match="shared: weight is none of params"):
        per_loss_gradients(losses, net, shared=torch.nn.Linear(2, 2))
    assert torch.equal(torch.stack(accumulator.take(losses_of(net)).vectors), by_hand(net))


def test_parameters_that_are_frozen_on_the_way_are_refused_by_name():
    net = network()
    accumulator = GradientAccumulator(net, 3)
    net.trunk[2].weight.requires_grad_(False)
    with pytest.raises(LayoutMismatch, match=r"trunk\.2\.weight\.requires_grad = False"):
        accumulator.take(losses_of(net))
