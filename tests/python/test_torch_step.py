"""A training step in one process: what is in `.grad` after it, AMP, what is refused."""

import warnings

import pytest
import torch

from concord import ConFIGOperator, GradientOperator, LatestLossRecorder, Session
from concord.errors import InvalidArgumentError
from concord.momentum_operator import PseudoMomentumOperator
from concord.torch import ConflictFree

POINTS = torch.randn(16, 2, generator=torch.Generator().manual_seed(7))


def network():
    torch.manual_seed(4)
    return torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2))


def losses_of(net, scale=1.0):
    out = net(POINTS)
    return [
        scale * (out[:, 0] - POINTS[:, 0]).square().mean(),
        scale * (out[:, 1] + POINTS[:, 0]).square().mean(),
    ]


def rows_of(net):
    """By a forward pass for each loss."""
    parameters, rows = list(net.parameters()), []
    for j in range(2):
        parts = torch.autograd.grad(losses_of(net)[j], parameters, materialize_grads=True)
        rows.append(torch.cat([part.reshape(-1) for part in parts]))
    return rows


def gradients(net):
    return torch.cat([p.grad.reshape(-1) for p in net.parameters()])


@pytest.mark.parametrize("make", [lambda: PseudoMomentumOperator(2), ConFIGOperator])
def test_the_operators_own_result_is_in_grad_whatever_was_there(make):
    net, other = network(), network()
    cf, plain = ConflictFree(net, make()), make()
    for _ in range(3):
        result = cf.step(losses_of(net))
        wanted = plain.calculate_gradient(rows_of(other))
        assert torch.equal(gradients(net), wanted) and torch.equal(result.update, wanted)
        for one in (net, other):
            torch.nn.utils.vector_to_parameters(
                torch.nn.utils.parameters_to_vector(one.parameters()).detach() - 0.01 * wanted,
                one.parameters(),
            )


def test_losses_by_index_and_as_a_list_are_the_same():
    net = network()
    one = ConflictFree(net, ConFIGOperator(), num_losses=2).step(dict(enumerate(losses_of(net))))
    other = ConflictFree(net, ConFIGOperator()).step(losses_of(net))
    assert torch.equal(one.update, other.update) and one.losses == other.losses
    with pytest.raises(TypeError, match="num_losses="):
        ConflictFree(net, ConFIGOperator()).step({0: losses_of(net)[0]})


def test_a_recorder_gets_the_losses_means_over_micro_batches():
    net = network()
    operator = PseudoMomentumOperator(2, loss_recorder=LatestLossRecorder(2))
    cf = ConflictFree(net, operator)
    cf.accumulate(losses_of(net, 3.0))
    result = cf.step(losses_of(net))
    wanted = [2 * x.item() for x in losses_of(net)]
    assert result.losses == pytest.approx(wanted, rel=1e-6)
    assert operator.loss_recorder.current_losses == result.losses


def test_losses_that_are_none_everywhere_are_refused():
    net = network()
    with pytest.raises(InvalidArgumentError, match="EMPTY_ROUND"):
        ConflictFree(net, PseudoMomentumOperator(2)).step([None, None])


class Mean(GradientOperator):
    """One that a user wrote, who keeps what he returns."""

    def calculate_gradient(self, grads, losses=None):
        self.kept = torch.stack(list(grads)).mean(dim=0)
        self.losses = losses
        return self.kept


def test_an_operator_written_in_python_keeps_what_it_returned():
    net, operator = network(), Mean()
    ConflictFree(net, operator).step(losses_of(net))
    before = operator.kept.clone()
    assert torch.equal(gradients(net), before)
    for parameter in net.parameters():
        parameter.grad.zero_()
    assert torch.equal(operator.kept, before)
    assert operator.losses == pytest.approx([x.item() for x in losses_of(net)])


def scaler_of(power):
    return torch.amp.GradScaler("cpu", init_scale=2.0**power, growth_interval=10**6)


def test_a_scaler_changes_no_bit():
    nets = [network(), network()]
    scaler = scaler_of(12)
    plain = ConflictFree(nets[0], PseudoMomentumOperator(2))
    scaled = ConflictFree(nets[1], PseudoMomentumOperator(2), scaler=scaler)
    optimizers = [torch.optim.SGD(net.parameters(), lr=1e-2) for net in nets]
    for _ in range(5):
        one, other = plain.step(losses_of(nets[0])), scaled.step(losses_of(nets[1]))
        assert torch.equal(one.update, other.update) and one.losses == other.losses
        assert torch.equal(gradients(nets[1]), one.update * 2.0**12)
        optimizers[0].step()
        scaler.step(optimizers[1])
        scaler.update()
    assert torch.equal(*[torch.cat([p.reshape(-1) for p in n.parameters()]) for n in nets])


def test_heads_and_trunk_are_both_what_a_scaler_unscales():
    net = network()
    plain, scaled = [], []
    for scaler, found in ((None, plain), (scaler_of(9), scaled)):
        cf = ConflictFree(net, PseudoMomentumOperator(2), shared=net[0], scaler=scaler)
        cf.step(losses_of(net))
        if scaler is not None:
            scaler.unscale_(torch.optim.SGD(net.parameters(), lr=1e-2))
        found.append(gradients(net).clone())
    assert torch.equal(plain[0], scaled[0])


@pytest.mark.parametrize("of_operator", ["raise", "skip"])
def test_a_sum_that_overflows_is_told_of_whatever_the_operator_does_with_it(of_operator):
    net = torch.nn.Linear(1, 1, bias=False).half()
    operator = PseudoMomentumOperator(2, server="", on_nonfinite=of_operator)

    def losses():
        out = net(torch.ones(1, 1, dtype=torch.float16)).sum()
        return [out * 1e4, out]  # 64 times the first's gradient is beyond float16.

    for policy in ("skip", "raise"):
        cf = ConflictFree(net, operator, on_nonfinite=policy)
        if policy == "raise":
            with pytest.raises(InvalidArgumentError, match=r"rank 0: loss 0"):
                cf.accumulate(losses(), weights=64.0)
                cf.step(losses(), weights=64.0)
            continue
        cf.accumulate(losses(), weights=64.0)
        result = cf.step(losses(), weights=64.0)
        assert result.skipped_nonfinite == ((0, 0),) and result.update is None
        assert net.weight.grad is None
    assert ConflictFree(net, operator).step(losses()).skipped_nonfinite == ()


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("where", ["trunk", "head", "loss"])
def test_a_skipped_step_is_as_if_it_had_not_been(scaled, where):
    def run(overflow):
        net = network()
        scaler = scaler_of(5) if scaled else None
        operator = PseudoMomentumOperator(2)
        cf = ConflictFree(net, operator, shared=net[0], on_nonfinite="skip", scaler=scaler)
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-2, momentum=0.5)
        for step in range(4):
            losses = losses_of(net)
            if overflow and step == 2:
                bad = list(losses)
                if where == "loss":
                    bad[1] = bad[1] + torch.inf
                else:
                    layer = net[0] if where == "trunk" else net[2]
                    # The derivative of the root at 0.
                    bad[1] = bad[1] + (layer.weight.sum() * 0).abs().sqrt()
                result = cf.step(bad)
                assert result.skipped_nonfinite == ((0, 1),) and result.update is None
                assert operator.last_step.step == 2
                assert scaled or all(p.grad is None for p in net.parameters())
                if scaled:
                    scaler.step(optimizer)
                    scaler.update()
                    assert scaler.get_scale() == 2.0**4
                else:
                    optimizer.step()
                losses = losses_of(net)
            assert cf.step(losses).skipped_nonfinite == ()
            if scaled:
                scaler.step(optimizer)
                scaler.update()
            else:
                optimizer.step()
        return torch.cat([p.detach().reshape(-1) for p in net.parameters()])

    assert torch.equal(run(True), run(False))


def test_nan_raises_unless_it_is_to_be_skipped():
    net = network()
    cf = ConflictFree(net, PseudoMomentumOperator(2))
    with pytest.raises(InvalidArgumentError, match=r"NON_FINITE.*rank 0: loss 1"):
        cf.step([losses_of(net)[0], losses_of(net)[1] * torch.nan])


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam])
def test_adam_after_a_momentum_operator_is_warned_of_once(optimizer):
    net = network()
    cf = ConflictFree(net, PseudoMomentumOperator(2))
    adam = optimizer(net.parameters())
    cf.step(losses_of(net))
    with pytest.warns(UserWarning, match=f"{optimizer.__name__}.*torch.optim.SGD"):
        adam.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cf.step(losses_of(net))
        adam.step()


@pytest.mark.parametrize(
    "make, optimizer",
    [
        (lambda: PseudoMomentumOperator(2), torch.optim.SGD),
        (ConFIGOperator, torch.optim.AdamW),
        (lambda: PseudoMomentumOperator(2), None),
    ],
)
def test_sgd_after_it_is_not_nor_adam_after_one_without_momentum_or_elsewhere(make, optimizer):
    net = network()
    cf = ConflictFree(net, make())
    cf.step(losses_of(net))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if optimizer is None:
            other = torch.nn.Parameter(torch.ones(2))
            other.grad = torch.ones(2)
            torch.optim.Adam([other]).step()
        else:
            optimizer(net.parameters(), lr=1e-3).step()


def test_a_session_of_one_worker(server):
    net, other = network(), network()
    with Session(server.unix, num_vectors=2) as session:
        remote = ConflictFree(net, session).step(losses_of(net))
        embedded = ConflictFree(other, PseudoMomentumOperator(2)).step(losses_of(other))
        assert torch.equal(remote.update, embedded.update)
        session.delete()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"average": "nobody"}, "average = nobody"),
        ({"average": "server"}, "concord.Session of all ranks"),
        ({"on_nonfinite": "ignore"}, "on_nonfinite = ignore"),
        ({"verify": -1}, "verify = -1"),
        ({"num_losses": 3}, "num_losses = 3"),
    ],
)
def test_says_what_is_wrong_with_an_argument(options, message):
    with pytest.raises(ValueError, match=message):
        ConflictFree(network(), PseudoMomentumOperator(2), **options)


def test_something_else_is_no_operator():
    with pytest.raises(TypeError, match=r"momentum operator.*not Adam"):
        ConflictFree(network(), torch.optim.Adam(network().parameters()))
