"""Steps with NaN or Inf under on_nonfinite="skip": nothing moves, nobody hangs."""

import hashlib
import pickle

import pytest
import torch
import torch.multiprocessing

import concord
from concord import PseudoMomentumOperator, SeparateMomentumOperator
from concord.errors import ConcordError, InvalidArgumentError

M, N = 3, 1_003
NAN, INF = float("nan"), float("inf")


def gradients(step):
    return torch.randn(M, N, generator=torch.Generator().manual_seed(step))


def with_value(value, gradient, position=-1):
    gradient = gradient.clone()
    gradient[position] = value
    return gradient


def network():
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3))


def loss_of(model, index, count):
    """The rank's own loss, on the batch of the count-th step that counts."""
    inputs = torch.randn(32, 8, generator=torch.Generator().manual_seed(count))
    return (model(inputs)[:, index] - inputs[:, index]).square().mean()


def train(rank, server, name, overflows, results):
    """A loop with a GradScaler, in which rank 1 overflows at some steps."""
    torch.set_num_threads(1)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12, growth_interval=4)
    session = concord.Session(
        server, name, rank, M, num_vectors=M, on_nonfinite="skip", round_timeout=60.0
    )
    counted, skipped = 0, []
    for step in range(1, 13):
        optimizer.zero_grad()
        scaler.scale(loss_of(model, rank, counted)).backward()
        if rank == 1 and step in overflows:
            model[0].weight.grad[3, 5] = INF
        scaler.unscale_(optimizer)
        result = session.step({rank: concord.utils.get_gradient_vector(model)})
        if result.skipped_nonfinite:
            skipped.append((step, result.step, result.skipped_nonfinite))
        else:
            counted += 1
            concord.utils.apply_gradient_vector(model, result.update)
            scaler.step(optimizer)
        scaler.update()
    session.close()
    weights = concord.utils.get_para_vector(model).numpy().tobytes()
    results.put((rank, counted, skipped, scaler.get_scale(), hashlib.sha256(weights).hexdigest()))


def test_three_ranks_with_overflows_train_as_if_there_had_been_none(sharing_server):
    context = torch.multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [
        context.Process(
            target=train, args=(rank, sharing_server.tcp, "overflows", (1, 7, 8), results)
        )
        for rank in range(M)
    ]
    for worker in workers:
        worker.start()
    found = sorted(results.get(timeout=120) for _ in workers)
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    # One process, all losses, and no overflow.
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    operator = PseudoMomentumOperator(M, server="")
    for count in range(9):
        grads = []
        for index in range(M):
            optimizer.zero_grad()
            loss_of(model, index, count).backward()
            grads.append(concord.utils.get_gradient_vector(model))
        concord.utils.apply_gradient_vector(model, operator.calculate_gradient(grads))
        optimizer.step()
    weights = concord.utils.get_para_vector(model).numpy().tobytes()
    expected = hashlib.sha256(weights).hexdigest()
    for rank, counted, skipped, scale, digest in found:
        assert counted == 9 and digest == expected
        assert skipped == [(step, step, ((1, 1),)) for step in (1, 7, 8)]
        # Only the rank that has overflowed takes its scale back.
        assert scale < 2.0**12 if rank == 1 else scale > 2.0**12


@pytest.mark.parametrize("kind", [PseudoMomentumOperator, SeparateMomentumOperator])
def test_an_operator_s_skipped_steps_change_nothing(kind, where):
    with (
        kind(M, on_nonfinite="skip", **where) as operator,
        kind(M, server="") as twin,
    ):
        bad = list(gradients(50))
        bad[0], bad[2] = with_value(NAN, bad[0], 0), with_value(-INF, bad[2])
        for step in range(5):
            if step in (0, 3):
                update = operator.calculate_gradient(range(M), bad)
                assert torch.equal(update, torch.zeros(N))
                assert operator.last_step.skipped_nonfinite == ((0, 0), (0, 2))
                # And the short way of one vector.
                assert not operator.calculate_gradient(1, with_value(INF, bad[1])).any()
                assert operator.last_step.skipped_nonfinite == ((0, 1),)
            grads = gradients(step)
            update = operator.calculate_gradient(range(M), grads)
            assert torch.equal(update, twin.calculate_gradient(range(M), grads))
            assert operator.last_step.skipped_nonfinite == ()
            assert torch.equal(
                operator.calculate_gradient(2, grads[0]), twin.calculate_gradient(2, grads[0])
            )


def test_what_is_recorded_stays_too_also_where_the_loss_itself_is_not_finite(where):
    made = {"loss_recorder": concord.MomentumLossRecorder(M)}
    with PseudoMomentumOperator(M, on_nonfinite="skip", **made, **where) as operator:
        operator.calculate_gradient(range(M), gradients(1), [1.0, 2.0, 3.0])
        before = list(operator.loss_recorder.current_losses)
        update = operator.calculate_gradient([0, 1], gradients(2)[:2], [0.5, NAN])
        assert not update.any()
        assert operator.last_step.skipped_nonfinite == ((0, 1),)
        bad = with_value(INF, gradients(2)[0])
        assert not operator.calculate_gradient([2], [bad], torch.tensor([0.5])).any()
        assert operator.last_step.skipped_nonfinite == ((0, 2),)
        assert operator.last_step.losses == before
        assert operator.loss_recorder.current_losses == before


def test_the_zeros_are_the_caller_s_type_and_go_where_he_wants_them(where):
    with PseudoMomentumOperator(M, on_nonfinite="skip", **where) as operator:
        grads = gradients(1).half()
        grads[1, 7] = INF
        out = torch.ones(N, dtype=torch.float16)
        assert operator.calculate_gradient(range(M), grads, out=out) is out
        assert not out.any()
        assert operator.last_step.skipped_nonfinite == ((0, 1),)


def test_other_mistakes_are_refused_as_ever(where):
    with PseudoMomentumOperator(M, on_nonfinite="skip", **where) as operator:
        operator.calculate_gradient(range(M), gradients(1))
        with pytest.raises(InvalidArgumentError) as raised:
            operator.calculate_gradient(0, with_value(NAN, gradients(1)[0])[:-1])
        assert raised.value.reason == "LENGTH_MISMATCH"
        with pytest.raises(InvalidArgumentError) as raised:
            operator.calculate_gradient(0, torch.full((N,), 1e30))
        assert raised.value.reason == "OUT_OF_SCALE"
        assert operator.last_step.skipped_nonfinite == ()


def test_without_the_option_and_with_another_word_it_is_an_error(where, server):
    with PseudoMomentumOperator(M, **where) as operator, pytest.raises(ValueError, match="NaN"):
        operator.calculate_gradient(0, with_value(NAN, gradients(1)[0]))
    with pytest.raises(InvalidArgumentError, match="on_nonfinite"):
        PseudoMomentumOperator(M, on_nonfinite="ignore", **where)
    with pytest.raises(InvalidArgumentError, match="on_nonfinite"):
        concord.Session(server.tcp, on_nonfinite="ignore")


def test_a_gradient_operator_in_python_skips_as_well():
    class Mean(concord.GradientOperator):
        def calculate_gradient(self, grads, losses=None):
            return grads.mean(0) * self.factor

    rule = Mean()
    rule.factor = 1.0
    operator = PseudoMomentumOperator(M, gradient_operator=rule, server="", on_nonfinite="skip")
    twin = PseudoMomentumOperator(M, gradient_operator=rule, server="")
    for step in range(3):
        bad = with_value(NAN, gradients(9)[1])
        assert not operator.calculate_gradient(1, bad).any()
        grads = gradients(step)
        assert torch.equal(
            operator.calculate_gradient(range(M), grads), twin.calculate_gradient(range(M), grads)
        )
    # What the rule itself makes of good gradients is its author's mistake.
    rule.factor = INF
    with pytest.raises(InvalidArgumentError, match="gradient operator's result"):
        operator.calculate_gradient(range(M), gradients(4))


def test_a_pickled_operator_skips_on():
    operator = PseudoMomentumOperator(M, server="", on_nonfinite="skip")
    operator.calculate_gradient(range(M), gradients(1))
    copy = pickle.loads(pickle.dumps(operator))
    assert not copy.calculate_gradient(0, with_value(NAN, gradients(1)[0])).any()
    assert torch.equal(
        copy.calculate_gradient(0, gradients(2)[0]), operator.calculate_gradient(0, gradients(2)[0])
    )


def test_a_session_s_micro_batches_and_state_go_on_over_a_skipped_step(server):
    session = concord.Session(server.tcp, num_vectors=M, on_nonfinite="skip")
    twin = PseudoMomentumOperator(M, server="")
    session.step((range(M), gradients(1)))
    twin.calculate_gradient(gradients(1))
    session.accumulate({0: with_value(INF, gradients(2)[0]), 1: gradients(2)[1]})
    result = session.step({0: gradients(3)[0], 1: gradients(3)[1]})
    assert result.skipped_nonfinite == ((0, 0),) and not result.update.any()
    assert result.step == 2 and session.applied_step == 2 and result.coefficients.numel() == 0
    # The file's number is the session's; the operator has counted one step.
    state = session.state_dict()
    other = PseudoMomentumOperator(M, server="")
    other.load_state_dict(state)
    assert session.load_state_dict(state) == 2
    again = session.step((range(M), gradients(4)))
    assert again.step == 3
    expected = twin.calculate_gradient(gradients(4))
    assert torch.equal(again.update, expected)
    assert torch.equal(other.calculate_gradient(gradients(4)), expected)
    session.delete()


def test_a_rank_of_the_other_policy_is_refused(server):
    first = concord.Session(server.tcp, "policy", 0, 2, M, N, on_nonfinite="skip").connect()
    with pytest.raises(ConcordError, match="on_nonfinite"):
        concord.Session(server.tcp, "policy", 1, 2, M, N).connect()
    first.delete()


def test_a_watcher_and_the_counts_tell_of_it(server):
    session = concord.Session(server.tcp, "watched-skip", num_vectors=M, on_nonfinite="skip")
    session.step((range(M), gradients(1)))
    session.step({0: with_value(NAN, gradients(2)[0])})
    with session.watch(timeout=10) as told:
        result = next(iter(told)).result
    assert result.step == 2 and result.skipped_nonfinite == ((0, 0),)
    assert result.gram.numel() == 0
    session.delete()
