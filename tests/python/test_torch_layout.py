"""Networks whose parameters are frozen and unfrozen while they train.

Reference: M-ConFIG by its definition (oracle.Momentum), whose vectors are rearranged by
hand, on gradients of torch.autograd.
"""

import numpy as np
import pytest
import torch
import torch.distributed as dist

import concord
import oracle
from concord import Session
from concord.errors import ConcordError, LayoutMismatch
from concord.grad_operator import ConFIGOperator
from concord.momentum_operator import MomentumOperator, PseudoMomentumOperator
from concord.torch import ConflictFree

M, STEPS, FREEZE, UNFREEZE, RATE = 2, 60, 20, 40, 1e-2


def network():
    torch.manual_seed(5)
    return torch.nn.Sequential(
        torch.nn.Linear(3, 6), torch.nn.Tanh(), torch.nn.Linear(6, M)
    ).double()


def losses_of(net, step, rank=0, size=1):
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(12, 3, generator=generator, dtype=torch.float64).chunk(size)[rank]
    y = net(x)
    return [(y[:, 0] - x[:, 0]).square().mean(), (y[:, 1] + x[:, 0] * x[:, 1]).square().mean()]


def half(net):
    """What is frozen for a time: the last layer, so that all that is left moves to the front
    of the vectors; and the first weight, which lies before what stays."""
    return [net[0].weight, *net[2].parameters()]


def turn(net, step):
    """Whether this step begins with other parameters."""
    if step in (FREEZE, UNFREEZE):
        for parameter in half(net):
            parameter.requires_grad_(step == UNFREEZE)
    return step in (FREEZE, UNFREEZE)


def trainable(net):
    return [p for p in net.parameters() if p.requires_grad]


def flat(net):
    return torch.cat([p.detach().reshape(-1) for p in net.parameters()]).clone()


def by_hand():
    """The reference's parameters after all steps, and its momenta."""
    net = network()
    sizes = {id(p): p.numel() for p in net.parameters()}
    momentum = oracle.Momentum(M, sum(sizes.values()))
    for step in range(STEPS):
        before = [id(p) for p in trainable(net)]
        if turn(net, step):
            after = [id(p) for p in trainable(net)]

            def moved(vector, before=before, after=after):
                parts = dict(zip(before, np.split(vector, np.cumsum([sizes[i] for i in before]))))
                return np.concatenate([parts.get(i, np.zeros(sizes[i])) for i in after])

            momentum.m = np.stack([moved(row) for row in momentum.m])
            momentum.s, momentum.f = moved(momentum.s), moved(momentum.f)
        rows = [
            torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, trainable(net))]).numpy()
            for loss in [losses_of(net, step)[j] for j in range(M)]
        ]
        update = torch.from_numpy(momentum.step(range(M), rows))
        with torch.no_grad():
            parts = update.split([p.numel() for p in trainable(net)])
            for p, part in zip(trainable(net), parts):
                p -= RATE * part.view(p.shape)
    return flat(net), momentum


def train(rank, size, make, steps=STEPS):
    net = network()
    operator = make(rank, size)
    cf = ConflictFree(net, operator, verify=1)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    for step in range(steps):
        if turn(net, step):
            cf.update_layout()
        cf.step(losses_of(net, step, rank, size))
        optimizer.step()
    return flat(net), operator


def test_freezing_at_20_and_unfreezing_at_40_is_m_config_on_what_is_left(where):
    found, operator = train(0, 1, lambda rank, size: PseudoMomentumOperator(M, **where))
    expected, momentum = by_hand()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    if operator.server is None:
        assert operator.t == momentum.t == STEPS
        for row, right in zip(operator.m, momentum.m):
            np.testing.assert_allclose(row.numpy(), right, rtol=0, atol=1e-12)
    operator.close()


class Making:
    """An operator or a session of all ranks, made on a rank."""

    def __init__(self, way, server):
        self.way, self.server = way, server

    def __call__(self, rank, size):
        if self.way == "embedded":
            return PseudoMomentumOperator(M)
        if self.way == "operator":
            return PseudoMomentumOperator(M, server=self.server)
        return Session(self.server, f"freezing-{self.way}-{size}", rank, size, M)


def on_ranks(rank, size, make):
    found, operator = train(rank, size, make)
    dist.barrier()
    operator.close()
    return found


@pytest.mark.parametrize("way", ["embedded", "operator", "session"])
def test_ranks_freeze_and_unfreeze_together(way, ranks, server):
    found = ranks.run(on_ranks, 3, Making(way, server.tcp))
    for one in found[1:]:
        assert torch.equal(one, found[0])
    torch.testing.assert_close(found[0], by_hand()[0], rtol=0, atol=1e-10)


def freezing_apart(rank, size):
    net = network()
    operator = PseudoMomentumOperator(M)
    cf = ConflictFree(net, operator)
    cf.step(losses_of(net, 0, rank, size))
    before = [p.grad.clone() for p in net.parameters()]
    if rank == 1:
        net[0].bias.requires_grad_(False)
    with pytest.raises(LayoutMismatch) as found:
        cf.update_layout()
    assert found.value.metadata["ranks"] == "1"
    assert all(torch.equal(p.grad, g) for p, g in zip(net.parameters(), before))
    net[0].bias.requires_grad_(True)
    twin = PseudoMomentumOperator(M)
    ConflictFree(net, twin).step(losses_of(net, 0, rank, size))
    return all(
        torch.equal(
            cf.step(losses_of(net, 1, rank, size)).update,
            ConflictFree(net, twin).step(losses_of(net, 1, rank, size)).update,
        )
        for _ in range(2)
    )


def test_ranks_that_freeze_other_parameters_are_told_and_go_on(ranks):
    assert ranks.run(freezing_apart, 2) == [True, True]


def test_what_is_frozen_without_saying_so_is_refused_and_how_to_say_it_is_named():
    net = network()
    cf = ConflictFree(net, PseudoMomentumOperator(M, server=""))
    cf.step(losses_of(net, 0))
    net[2].bias.requires_grad_(False)
    with pytest.raises(LayoutMismatch, match=r"2\.bias\.requires_grad = False.*update_layout"):
        cf.step(losses_of(net, 1))
    cf.update_layout()
    assert cf.step(losses_of(net, 1)).update.numel() == flat(net).numel() - M


def test_parameters_that_are_added_begin_with_zero_momenta():
    net = network()
    operator = PseudoMomentumOperator(M, server="")
    cf = ConflictFree(net, operator)
    cf.step(losses_of(net, 0))
    old = operator.m[0]
    net.append(torch.nn.Linear(M, M).double())
    cf.update_layout()
    count = sum(p.numel() for p in net[3].parameters())
    assert torch.equal(operator.m[0][:-count], old) and not operator.m[0][-count:].any()
    cf.step(losses_of(net, 1))
    assert net[3].weight.grad is not None


def test_heads_may_change_and_no_momentum_does():
    net = network()
    operator = PseudoMomentumOperator(M, server="")
    cf = ConflictFree(net, operator, shared=net[0])
    cf.step(losses_of(net, 0))
    before = operator.m[0]
    net[2].bias.requires_grad_(False)
    cf.update_layout()
    assert torch.equal(operator.m[0], before)
    cf.step(losses_of(net, 1))
    net[0].bias.requires_grad_(False)
    cf.update_layout()
    assert operator.m[0].numel() == net[0].weight.numel()


def test_operators_without_momentum_need_nothing_and_foreign_momenta_are_refused():
    net = network()
    cf = ConflictFree(net, ConFIGOperator())
    cf.step(losses_of(net, 0))
    turn(net, FREEZE)
    cf.update_layout()
    assert cf.step(losses_of(net, 1)).update.numel() == 6

    class Own(MomentumOperator):
        def calculate_gradient(self, indexes=None, grads=None, losses=None):
            return torch.stack(list(grads)).mean(0)

    cf = ConflictFree(net, Own(M))
    cf.step(losses_of(net, 2))
    turn(net, UNFREEZE)
    with pytest.raises(TypeError, match="update_layout"):
        cf.update_layout()


def test_a_session_that_was_told_another_layout_is_refused(server):
    net = network()
    layout = concord.layout_of(net)
    session = Session(server.tcp, "told", num_vectors=M, layout=layout)
    ConflictFree(net, session).step(losses_of(net, 0))
    turned = Session(server.tcp, "told-otherwise", num_vectors=M, layout=layout[::-1])
    with pytest.raises(LayoutMismatch, match=r"segment 0 is 2\.bias \[2\], not 0\.weight"):
        ConflictFree(net, turned)
    session.delete()


def test_the_server_knows_what_is_inside_the_vectors_without_being_told(server):
    net = network()
    session = Session(server.tcp, "named", num_vectors=M)
    ConflictFree(net, session).step(losses_of(net, 0))
    with pytest.raises(ConcordError, match=r"layout\.segments\[0\].*2\.bias.*0\.weight"):
        Session(
            server.tcp, "named", num_vectors=M, layout=concord.layout_of(net)[::-1],
            dtype=torch.float64,
        ).connect()  # fmt: skip
    session.delete()


def freezing_all(rank, size):
    net = network()
    operator = PseudoMomentumOperator(M)
    cf = ConflictFree(net, operator)
    cf.step(losses_of(net, 0, rank, size))
    if rank == 1:
        net.requires_grad_(False)
    with pytest.raises(ValueError, match="rank 1: no parameter requires grad"):
        cf.update_layout()
    net.requires_grad_(True)
    return cf.step(losses_of(net, 1, rank, size)).update


def test_what_one_rank_cannot_do_all_ranks_raise(ranks):
    one, other = ranks.run(freezing_all, 2)
    assert torch.equal(one, other)


def adding(net):
    net.append(torch.nn.Linear(M, M).double())


def replacing(net):
    net[2] = torch.nn.Linear(6, M).double()


def removing(net):
    del net[2]


@pytest.mark.parametrize(
    "change, text",
    [
        (adding, r"3\.weight = a parameter; accepted: none"),
        (replacing, r"2\.weight = another one"),
        (removing, r"2\.weight = none; accepted: a parameter"),
    ],
)
def test_other_parameters_are_refused_by_name(change, text):
    net = network()
    cf = ConflictFree(net, PseudoMomentumOperator(M, server=""))
    cf.step(losses_of(net, 0))
    losses = losses_of(net, 1)
    change(net)
    with pytest.raises(LayoutMismatch, match=text):
        cf.step(losses)


# ---- sessions and states that know of a layout, and others ----


def stepped(session, net, step=0):
    return ConflictFree(net, session).step(losses_of(net, step)).update


def unlike(server, name, **options):
    return Session(server.tcp, name, num_vectors=M, dtype=torch.float64, **options)


def test_a_session_that_was_made_without_a_layout_is_used_as_it_is(server):
    net = network()
    n = flat(net).numel()
    made = unlike(server, "made-without", num_parameters=n).connect()
    stepped(made, net)
    made.resync()
    stepped(made, net, 1)
    made.close()
    resumed = unlike(server, "made-without", resume_step=2)
    assert stepped(resumed, net, 2).numel() == n
    resumed.delete()


def test_who_names_no_layout_joins_a_session_that_has_one(server):
    net = network()
    first = unlike(server, "has-one")
    stepped(first, net)
    first.close()
    plain = unlike(server, "has-one", num_parameters=flat(net).numel(), resume_step=1).connect()
    assert plain.applied_step == 1
    plain.delete()


@pytest.mark.parametrize("origin", ["embedded", "session", "operator"])
@pytest.mark.parametrize("target", ["embedded", "session", "operator", "with a layout"])
def test_states_go_where_the_length_fits_whoever_knows_of_a_layout(origin, target, server):
    net = network()
    twin = PseudoMomentumOperator(M, server="")
    name = f"state-{origin}-{target}".replace(" ", "-")
    made = {
        "embedded": lambda: PseudoMomentumOperator(M, server=""),
        "operator": lambda: PseudoMomentumOperator(M, server=server.tcp),
        "session": lambda: unlike(server, name + "-from"),
    }[origin]()
    loops = [ConflictFree(net, one) for one in (twin, made)]
    for loop in loops:
        loop.step(losses_of(net, 0))
    net[0].weight.requires_grad_(False)
    for loop in loops:
        loop.update_layout()
        loop.step(losses_of(net, 1))
    state = made.state_dict()
    made.delete() if origin == "session" else made.close()

    other = {
        "embedded": lambda: PseudoMomentumOperator(M, server=""),
        "operator": lambda: PseudoMomentumOperator(M, server=server.tcp),
        "session": lambda: unlike(server, name + "-to"),
        "with a layout": lambda: unlike(server, name + "-to", layout=concord.layout_of(net)),
    }[target]()
    other.load_state_dict(state)
    found = ConflictFree(net, other).step(losses_of(net, 2)).update
    assert torch.equal(found, loops[0].step(losses_of(net, 2)).update)
    other.delete() if isinstance(other, Session) else other.close()


def test_a_session_of_that_name_that_came_later_is_left_alone(server):
    layout = [("all", (4,))]
    first = unlike(server, "replaced", layout=layout).connect()
    twin = PseudoMomentumOperator(M, server="")
    other = unlike(server, "replaced", layout=layout)
    concord.Session(server.tcp, "replaced", num_vectors=M, layout=layout, dtype=torch.float64
                    ).connect().delete()  # fmt: skip
    other.connect()
    grads = torch.eye(M, 4, dtype=torch.float64)
    assert torch.equal(other.step((range(M), grads)).update, twin.calculate_gradient(grads))
    with pytest.raises(ConcordError, match="SESSION_REPLACED"):
        first.update_layout([("half", (2,))])
    assert torch.equal(other.step((range(M), grads)).update, twin.calculate_gradient(grads))
    other.delete()
