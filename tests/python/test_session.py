"""Session.step: jobs of several workers, diagnostics, errors of a server."""

import threading

import pytest
import torch

import concord
from concord.errors import (
    ConcordError,
    DeadlineExceeded,
    FailedPreconditionError,
    InvalidArgumentError,
    SessionExists,
    SessionInProgress,
    SessionNotFound,
)
from concord.grad_operator import ConFIGOperator, GivenWeight
from concord.loss_recorder import LatestLossRecorder
from concord.momentum_operator import PseudoMomentumOperator
from concord.session import server_info
from concord.utils import get_gradient_vector

M, N = 3, 700


def gradients(step, dtype=torch.float32):
    return torch.randn(M, N, generator=torch.Generator().manual_seed(step)).to(dtype)


def together(calls):
    """Runs the calls at once; their results, or the first error."""
    results, errors = [None] * len(calls), []

    def run(i):
        try:
            results[i] = calls[i]()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def test_three_workers_get_what_one_process_would_compute(server):
    alone = PseudoMomentumOperator(M)
    name = "three-workers"
    workers = [
        concord.Session(server.tcp if rank else server.unix, name, rank, 3, M) for rank in range(3)
    ]
    for step in range(8):
        grads = gradients(step)
        results = together([lambda w=w, g=g: w.step({w.rank: g}) for w, g in zip(workers, grads)])
        expected = alone.calculate_gradient(grads)
        for result in results:
            assert torch.equal(result.update, expected)
            assert result.step == step + 1 and not result.repeated
            assert result.contributors == {0: [0], 1: [1], 2: [2]}
    assert [worker.applied_step for worker in workers] == [8, 8, 8]
    workers[0].delete()
    with pytest.raises(SessionNotFound):
        workers[1].step({1: gradients(0)[1]})


@pytest.mark.parametrize("travels", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["server", "sharing_server"])
def test_an_empty_gradient_may_be_filled_for_every_step(request, kind, travels):
    network = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.Linear(30, 2))
    length = sum(parameter.numel() for parameter in network.parameters())
    alone = PseudoMomentumOperator(1)
    session = concord.Session(
        request.getfixturevalue(kind).tcp,
        f"empty-gradient-{str(travels)[6:]}",
        num_parameters=length,
        dtype=torch.float32,
        gradient_type=travels,
    )
    vector = session.empty_gradient()
    assert (vector.dtype, vector.shape, vector.device.type) == (travels, (length,), "cpu")
    for step in range(3):
        network.zero_grad()
        network(torch.randn(5, 20, generator=torch.Generator().manual_seed(step))).sum().backward()
        if travels is torch.float32:
            assert get_gradient_vector(network, out=vector) is vector
        else:
            vector.copy_(get_gradient_vector(network))
        result = session.step({0: vector})
        assert torch.equal(result.update.float(), alone.calculate_gradient(0, vector).float())
    broken = session.empty_gradient()
    broken.fill_(float("inf"))
    with pytest.raises(InvalidArgumentError):
        session.step({0: broken})
    assert torch.isinf(broken).all()
    result = session.step({0: vector})
    assert torch.equal(result.update.float(), alone.calculate_gradient(0, vector).float())
    session.delete()


def test_a_rank_may_bring_any_losses_also_none(server):
    alone = PseudoMomentumOperator(M)
    workers = [
        concord.Session(server.tcp, "any-losses", rank, 2, M, num_parameters=N, dtype=torch.float32)
        for rank in range(2)
    ]
    for step in range(4):
        grads = gradients(step)
        first, second = together([lambda g=grads: workers[0].step(([2, 0, 1], g)), workers[1].step])
        assert torch.equal(first.update, second.update)
        assert torch.equal(first.update, alone.calculate_gradient([2, 0, 1], grads))
        assert second.contributors == {0: [2, 0, 1]} or second.contributors == {
            0: [2, 0, 1],
            1: [],
        }
    with pytest.raises(FailedPreconditionError) as raised:
        together([workers[0].step, workers[1].step])
    assert raised.value.reason == "EMPTY_ROUND"
    workers[0].delete()


def test_a_step_says_what_it_found(server):
    with concord.Session(
        server.tcp,
        num_vectors=M,
        loss_recorder=LatestLossRecorder(M),
        momentum="pseudo",
        update_cosines=True,
    ) as session:
        first = session.step({1: gradients(0)[1]}, {1: 2.5})
        assert first.warming_up and not first.update.any() and first.losses == [0.0, 2.5, 0.0]
        found = session.step(([0, 2], gradients(1)[:2]), [1.5, 0.5])
        assert not found.warming_up and found.losses == [1.5, 2.5, 0.5]
        assert found.step == 2 and found.conflict_free and not found.pareto_stationary
        assert found.rank == M and found.gram.shape == found.cosines.shape == (M, M)
        torch.testing.assert_close(found.cosines.diagonal(), torch.ones(M).double())
        assert found.direction_cosines.min() > 0
        assert found.direction_cosines.max() - found.direction_cosines.min() < 1e-9
        assert found.update_cosines.shape == (M,) and found.coefficients.shape == (M,)
        assert set(found.timings) == {"receive", "wait", "solve", "commit"}
        assert found.attempts == 1
        session.delete()


def test_embedded_and_server_find_the_same(server):
    with PseudoMomentumOperator(M, server=server.tcp) as remote:
        embedded = PseudoMomentumOperator(M)
        for step in range(4):
            grads = gradients(step)
            assert torch.equal(remote.calculate_gradient(grads), embedded.calculate_gradient(grads))
            here, there = embedded.last_step, remote.last_step
            for name in ("coefficients", "gram", "cosines", "direction_cosines"):
                assert torch.equal(getattr(here, name), getattr(there, name))
            for name in ("step", "warming_up", "conflict_free", "rank", "length", "indexes"):
                assert getattr(here, name) == getattr(there, name)


def test_without_momentum_a_step_combines_what_it_brings(server):
    session = concord.Session(server.tcp, num_vectors=M, momentum="none")
    operator = ConFIGOperator()
    for indexes in ([0, 1, 2], [2, 0], [1]):
        grads = gradients(len(indexes))[: len(indexes)]
        result = session.step((indexes, grads))
        # Rows are combined in the order of their losses.
        ordered = grads[sorted(range(len(indexes)), key=lambda i: indexes[i])]
        assert torch.equal(result.update, operator.calculate_gradient(ordered))
        assert result.indexes == sorted(indexes)
    session.delete()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_updates_have_the_gradients_type(server, dtype):
    with concord.Session(server.tcp, num_vectors=M) as session:
        result = session.step((range(M), gradients(0, dtype)))
        assert result.update.dtype is dtype
        session.delete()


def test_other_options_of_the_same_name_are_refused_naming_the_field(server):
    first = concord.Session(server.tcp, "options-differ", num_vectors=M)
    first.step((range(M), gradients(0)))
    other = concord.Session(server.tcp, "options-differ", num_vectors=M, beta_1=0.5)
    with pytest.raises(SessionExists, match="beta_1"):
        other.step((range(M), gradients(0)))
    weighted = concord.Session(
        server.tcp, "options-differ", num_vectors=M,
        gradient_operator=ConFIGOperator(GivenWeight([1, 2, 3])),
    )  # fmt: skip
    with pytest.raises(SessionExists):
        weighted.step((range(M), gradients(0)))
    first.delete()


def test_a_restarted_script_does_not_take_an_old_runs_update(server):
    alone = PseudoMomentumOperator(M)
    first = concord.Session(server.tcp, "restarted", num_vectors=M)
    for step in range(3):
        first.step((range(M), gradients(step)))
        expected = alone.calculate_gradient(gradients(step))
    first.close()
    with pytest.raises(SessionInProgress) as raised:
        concord.Session(server.tcp, "restarted", num_vectors=M).step((range(M), gradients(3)))
    assert raised.value.reason == "SESSION_IN_PROGRESS"
    # From a checkpoint before the last update: the committed update once more.
    again = concord.Session(server.tcp, "restarted", num_vectors=M, resume_step=2)
    result = again.step((range(M), gradients(99)))
    assert result.repeated and result.step == 3 and torch.equal(result.update, expected)
    result = again.step((range(M), gradients(4)))
    assert torch.equal(result.update, alone.calculate_gradient(gradients(4)))
    again.delete()


def test_a_round_that_stays_incomplete_ends_at_the_deadline_and_can_be_tried_again(server):
    alone = PseudoMomentumOperator(M)
    workers = [concord.Session(server.tcp, "incomplete", rank, 2, M) for rank in range(2)]
    grads = gradients(0)
    with pytest.raises(DeadlineExceeded):
        workers[0].step(([0, 1], grads[:2]), deadline=0.5)
    results = together(
        [lambda: workers[0].step(([0, 1], grads[:2])), lambda: workers[1].step({2: grads[2]})]
    )
    assert torch.equal(results[0].update, alone.calculate_gradient(grads))
    workers[0].delete()


def test_the_server_refuses_what_only_it_can_see_and_keeps_its_state(server):
    alone = PseudoMomentumOperator(M)
    workers = [concord.Session(server.tcp, "refuses", rank, 2, M) for rank in range(2)]
    grads = gradients(0)

    def brings_too_much():
        with pytest.raises(InvalidArgumentError) as raised:
            workers[1].step(([0, 2], grads[[0, 2]]))
        assert raised.value.reason == "DUPLICATE_INDEX"
        return workers[1].step({2: grads[2]})

    holder = threading.Thread(target=lambda: kept.append(workers[0].step(([0, 1], grads[:2]))))
    kept = []
    holder.start()
    # Joins until the other rank's contribution is there to collide with.
    result = None
    while result is None:
        if server_info(server.tcp)["streams"] >= 1:
            result = brings_too_much()
    holder.join()
    expected = alone.calculate_gradient(grads)
    assert torch.equal(result.update, expected) and torch.equal(kept[0].update, expected)
    workers[0].delete()


def test_arguments_are_checked_before_anything_is_sent():
    nowhere = "127.0.0.1:1"
    with pytest.raises(ValueError, match="server"):
        concord.Session()
    with pytest.raises(InvalidArgumentError):
        concord.Session(nowhere, rank=2, num_workers=2)
    with pytest.raises(InvalidArgumentError):
        concord.Session(nowhere, num_vectors=0)
    session = concord.Session(nowhere, num_vectors=M)
    with pytest.raises(TypeError):
        session.step([gradients(0)])
    with pytest.raises(InvalidArgumentError):
        session.step({5: gradients(0)[0]})
    with pytest.raises(InvalidArgumentError, match="num_parameters"):
        session.step()
    with pytest.raises(InvalidArgumentError, match="LOSSES_WITHOUT_RECORDER"):
        session.step({0: gradients(0)[0]}, {0: 1.0})
    with pytest.raises(ValueError):
        PseudoMomentumOperator(M, session="without-a-server")


def test_a_server_that_is_not_there_is_an_error_that_says_so():
    with pytest.raises(ConcordError) as raised:
        server_info("127.0.0.1:1", timeout=0.3)
    assert "127.0.0.1:1" in str(raised.value)


def test_the_environment_names_the_default_server(server, monkeypatch):
    monkeypatch.setenv("CONCORD_SERVER", server.tcp)
    before = server_info()["sessions"]
    with PseudoMomentumOperator(M) as operator:
        operator.calculate_gradient(gradients(0))
        assert server_info()["sessions"] == before + 1
    assert server_info()["sessions"] == before
    with PseudoMomentumOperator(M, server="") as operator:
        operator.calculate_gradient(gradients(0))
        assert server_info()["sessions"] == before


def test_stateless_combination_on_a_server_is_the_same_bits(server):
    grads = gradients(0)
    here = ConFIGOperator().calculate_gradient(grads)
    for address in (server.tcp, server.unix):
        assert torch.equal(ConFIGOperator(server=address).calculate_gradient(grads), here)


def test_errors_keep_their_detail_through_pickle():
    import pickle

    with pytest.raises(InvalidArgumentError) as raised:
        PseudoMomentumOperator(M).calculate_gradient(7, gradients(0)[0])
    copy = pickle.loads(pickle.dumps(raised.value))
    assert type(copy) is InvalidArgumentError and str(copy) == str(raised.value)
    assert (copy.reason, copy.value) == ("INDEX_OUT_OF_RANGE", "7")
    assert str(SessionNotFound("gone")) == "gone"
