"""Copies, pickles, closing, processes."""

import copy
import gc
import multiprocessing
import os
import pickle
import weakref

import pytest
import torch

from concord.grad_operator import ConFIGOperator, GivenWeight
from concord.loss_recorder import LatestLossRecorder
from concord.momentum_operator import PseudoMomentumOperator

M, N = 3, 500


def gradients(step):
    return torch.randn(M, N, generator=torch.Generator().manual_seed(step))


def steps(operator, first, last):
    return [
        operator.calculate_gradient([s % M, (s + 1) % M], gradients(s)[:2], [float(s), s + 0.5])
        for s in range(first, last)
    ]


def operator(**options):
    return PseudoMomentumOperator(M, loss_recorder=LatestLossRecorder(M), **options)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda o: pickle.loads(pickle.dumps(o)),
    "pickle, twice": lambda o: pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(o)))),
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("after", [0, 1, 7])
def test_a_copy_carries_on_identically(way, after):
    first = operator(gradient_operator=ConFIGOperator(GivenWeight([1, 2, 3])))
    steps(first, 0, after)
    second = COPIES[way](first)
    for found, expected in zip(steps(second, after, 20), steps(first, after, 20)):
        assert torch.equal(found, expected)
    assert second.loss_recorder is not first.loss_recorder
    assert second.loss_recorder.current_losses == first.loss_recorder.current_losses


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_on_a_server_is_another_handle_on_the_same_session(way, server):
    plain = operator()
    first = operator(server=server.tcp)
    for found, expected in zip(steps(first, 0, 5), steps(plain, 0, 5)):
        assert torch.equal(found, expected)
    second = COPIES[way](first)
    first.close()
    del first
    gc.collect()
    for found, expected in zip(steps(second, 5, 10), steps(plain, 5, 10)):
        assert torch.equal(found, expected)
    second._backend._session.delete()


def test_a_copy_is_independent():
    first = operator()
    steps(first, 0, 4)
    second = copy.deepcopy(first)
    steps(second, 10, 20)
    third = operator()
    steps(third, 0, 4)
    for found, expected in zip(steps(first, 4, 8), steps(third, 4, 8)):
        assert torch.equal(found, expected)


def test_configuration_pickles():
    for thing in (ConFIGOperator(GivenWeight([1, 2])), LatestLossRecorder(2)):
        twin = pickle.loads(pickle.dumps(thing))
        assert type(twin) is type(thing)
    used = ConFIGOperator()
    expected = used.calculate_gradient(gradients(0))
    assert torch.equal(pickle.loads(pickle.dumps(used)).calculate_gradient(gradients(0)), expected)


def test_close_is_idempotent_and_final(where):
    with operator(**where) as used:
        steps(used, 0, 2)
    used.close()
    with pytest.raises(RuntimeError, match="closed"):
        used.calculate_gradient(gradients(0))
    assert used.last_step is None
    # Never used at all.
    with operator(**where):
        pass


def test_an_operator_is_freed_when_forgotten(where):
    used = operator(**where)
    steps(used, 0, 2)
    reference = weakref.ref(used)
    del used
    gc.collect()
    assert reference() is None


def test_two_momentum_operators_may_share_one_gradient_operator(where):
    shared = ConFIGOperator()
    pair = [PseudoMomentumOperator(M, gradient_operator=shared, **where) for _ in range(2)]
    apart = [PseudoMomentumOperator(M) for _ in range(2)]
    for step in range(6):
        for k in range(2):
            grads = gradients(100 * k + step)
            found = pair[k].calculate_gradient(grads)
            assert torch.equal(found, apart[k].calculate_gradient(grads))
            shared.calculate_gradient(grads[:2])
    for used in pair:
        used.close()


class Batches(torch.utils.data.Dataset):
    """A dataset that drags an operator into its workers, and uses it if told to."""

    def __init__(self, carried, use):
        self.carried, self.use = carried, use

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if self.use:
            return self.carried.calculate_gradient(gradients(50))
        return torch.tensor(float(index))


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.parametrize("kind", ["embedded", "server"])
def test_dataloader_workers_neither_stop_nor_disturb_anything(start, kind, request):
    if kind == "server":
        used = operator(server=request.getfixturevalue("server").tcp)
    else:
        used = operator()
    twin = operator()
    # A spawned worker takes seconds to import torch.
    for epoch in range(2 if start == "fork" else 1):
        begin = 5 * epoch
        for found, expected in zip(steps(used, begin, begin + 5), steps(twin, begin, begin + 5)):
            assert torch.equal(found, expected)
        loader = torch.utils.data.DataLoader(
            Batches(used, use=False),
            num_workers=2 if start == "fork" else 1,
            multiprocessing_context=start,
        )
        assert [float(x) for x in loader] == [0.0, 1.0, 2.0, 3.0]
    used.close()


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_an_embedded_operator_works_on_in_a_worker_as_a_copy(start):
    used = operator()
    steps(used, 0, 5)
    twin = copy.deepcopy(used)
    loader = torch.utils.data.DataLoader(
        Batches(used, use=True), num_workers=1, batch_size=None, multiprocessing_context=start
    )
    found = list(loader)
    expected = [twin.calculate_gradient(gradients(50)) for _ in found]
    for one, other in zip(found, expected):
        assert torch.equal(one, other)
    # The parent's has seen none of it.
    third = operator()
    steps(third, 0, 5)
    assert torch.equal(steps(used, 5, 6)[0], steps(third, 5, 6)[0])


def test_a_forked_child_that_exits_cleanly_leaves_the_parents_session(server):
    used, twin = operator(server=server.tcp), operator()
    steps(used, 0, 3), steps(twin, 0, 3)
    child = os.fork()
    if child == 0:
        # Finalisers run here, of this process's copy of the operator.
        code = 1
        try:
            try:
                used.calculate_gradient(gradients(3))
            except RuntimeError as error:
                code = 0 if "forked" in str(error) else 2
            used.close()
            del used
            gc.collect()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for found, expected in zip(steps(used, 3, 6), steps(twin, 3, 6)):
        assert torch.equal(found, expected)
    used.close()


def _worker(pipe, carried):
    pipe.send(carried.calculate_gradient(gradients(3)).numpy())


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_process_may_be_handed_an_operator(start):
    context = multiprocessing.get_context(start)
    used, twin = operator(), operator()
    steps(used, 0, 3), steps(twin, 0, 3)
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_worker, args=(send, used))
    process.start()
    assert receive.poll(60)
    found = receive.recv()
    process.join(60)
    assert process.exitcode == 0
    assert torch.equal(torch.from_numpy(found), twin.calculate_gradient(gradients(3)))
