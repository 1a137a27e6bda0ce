"""Results own their memory: nothing the caller does with one changes anything else."""

import gc
import os

import pytest
import torch

import concord
from concord import _native
from concord.grad_operator import ConFIGOperator
from concord.momentum_operator import PseudoMomentumOperator
from concord.utils import get_gradient_vector

M, N = 3, 2000


def gradients(step):
    return torch.randn(M, N, generator=torch.Generator().manual_seed(step))


def test_clipping_and_unscaling_a_result_in_place_change_nothing(where):
    with PseudoMomentumOperator(M, **where) as used, PseudoMomentumOperator(M, **where) as twin:
        for step in range(6):
            grads = gradients(step)
            kept = grads.clone()
            found = used.calculate_gradient(grads)
            assert torch.equal(found, twin.calculate_gradient(grads))
            found.clamp_(-0.1, 0.1).mul_(1 / 3).zero_()
            assert torch.equal(grads, kept)


def test_a_kept_history_stays_as_it_was(where):
    with PseudoMomentumOperator(M, **where) as operator:
        history, copies = [], []
        for step in range(12):
            update = operator.calculate_gradient(step % M, gradients(step)[step % M])
            history.append(update)
            copies.append(update.clone())
        for update, copy in zip(history, copies):
            assert torch.equal(update, copy)
        assert len({update.data_ptr() for update in history}) == len(history)


def test_a_result_outlives_its_operator(where):
    operator = PseudoMomentumOperator(M, **where)
    update = operator.calculate_gradient(gradients(0))
    kept = update.clone()
    view = update[100:]
    operator.close()
    del operator, update
    gc.collect()
    assert torch.equal(view, kept[100:])


def test_memory_of_dropped_results_is_used_again_and_little_is_kept():
    operator = PseudoMomentumOperator(M)
    seen = set()
    for step in range(50):
        update = operator.calculate_gradient(step % M, gradients(step)[step % M])
        seen.add(update.data_ptr())
    assert len(seen) <= 2


def test_the_gradients_of_a_network_are_its_own():
    net = torch.nn.Linear(20, 10)
    operator = PseudoMomentumOperator(1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    twin = PseudoMomentumOperator(1)
    for step in range(5):
        torch.manual_seed(step)
        optimizer.zero_grad(set_to_none=False)
        net(torch.randn(4, 20)).square().sum().backward()
        vector = get_gradient_vector(net)
        kept = vector.clone()
        expected = twin.calculate_gradient(0, vector)
        operator.update_gradient(net, 0, vector)
        assert torch.equal(get_gradient_vector(net), expected)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1e-3)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        assert torch.equal(vector, kept)


def test_a_gradient_scaler_may_unscale_what_was_applied():
    net = torch.nn.Linear(20, 10)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    operator, twin = PseudoMomentumOperator(1), PseudoMomentumOperator(1)
    for step in range(4):
        torch.manual_seed(step)
        optimizer.zero_grad(set_to_none=False)
        scaler.scale(net(torch.randn(4, 20)).square().sum()).backward()
        vector = get_gradient_vector(net)
        expected = twin.calculate_gradient(0, vector) / scaler.get_scale()
        operator.update_gradient(net, 0, vector)
        scaler.unscale_(optimizer)
        torch.testing.assert_close(get_gradient_vector(net), expected)
        scaler.step(optimizer)
        scaler.update()


def test_gradients_that_are_views_of_a_networks_own_are_not_modified():
    weight = torch.nn.Linear(30, 1, bias=False)
    weight(torch.ones(2, 30)).sum().backward()
    given = weight.weight.grad.view(-1)
    kept = given.clone()
    PseudoMomentumOperator(1).update_gradient(weight, 0, given)
    assert torch.equal(given, kept)
    ConFIGOperator().update_gradient(weight, [given])
    assert torch.equal(given, kept)


def resident_bytes():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("close", [True, False])
def test_two_hundred_operators_leave_nothing(close):
    n = 200_000

    def use():
        operator = PseudoMomentumOperator(M)
        for index in range(M):
            operator.calculate_gradient(index, grads[index])
        if close:
            operator.close()

    grads = torch.randn(M, n)
    for _ in range(10):
        use()
    gc.collect()
    before = resident_bytes()
    for _ in range(200):
        use()
    gc.collect()
    # One operator holds more than 5 vectors of .8 MB: 200 leaked ones, 800 MB.
    assert resident_bytes() - before < 8e6


def test_two_hundred_operators_on_a_server_leave_nothing(server):
    from concord.session import server_info

    before = server_info(server.tcp)
    grads = torch.randn(M, 1000)
    for i in range(200):
        operator = PseudoMomentumOperator(M, server=server.tcp)
        operator.calculate_gradient(grads)
        if i % 2:
            operator.close()
        del operator
    gc.collect()
    after = server_info(server.tcp)
    assert after["sessions"] == before["sessions"]
    assert after["memory_reserved_bytes"] == before["memory_reserved_bytes"]


def test_a_result_buffer_is_plain_writable_memory():
    operator = PseudoMomentumOperator(1)
    update = operator.calculate_gradient(0, torch.ones(N))
    assert update.is_contiguous() and update.storage_offset() == 0
    assert isinstance(_native.cpu_instruction_set(), str)


class First(concord.GradientOperator):
    """Returns one of its inputs."""

    def calculate_gradient(self, grads, losses=None):
        return grads[0]


def test_a_users_operator_that_returns_its_input_does_not_share_it_with_the_network():
    network = torch.nn.Linear(3, 1)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    grads = torch.ones(2, 4)
    First().update_gradient(network, grads)
    torch.optim.SGD(network.parameters(), lr=1).zero_grad(set_to_none=False)
    assert torch.equal(grads, torch.ones(2, 4))


@pytest.mark.parametrize("kind", [concord.PseudoMomentumOperator, concord.SeparateMomentumOperator])
def test_an_update_over_a_users_operator_is_no_tensor_of_the_users(kind):
    kept = []

    class Keeping(concord.GradientOperator):
        def calculate_gradient(self, grads, losses=None):
            kept.append(grads.sum(dim=0))
            return kept[-1]

    operator = kind(1, gradient_operator=Keeping(), server="")
    update = operator.calculate_gradient(0, torch.ones(4, dtype=torch.float64))
    before = kept[-1].clone()
    update.zero_()
    assert torch.equal(kept[-1], before)
