"""Rounds of several ranks from Python: quorum, leaving, shared losses, micro-batches."""

import threading
import time

import pytest
import torch

import concord
from concord import PseudoMomentumOperator
from concord.errors import ConcordError, InvalidArgumentError, ResyncWeights

M, N = 2, 1_003


def gradients(step):
    return torch.randn(M, N, generator=torch.Generator().manual_seed(step))


def started(action):
    """`action` on a thread; its result after `join`."""
    results = []
    thread = threading.Thread(target=lambda: results.append(action()))
    thread.start()

    def finish():
        thread.join(60)
        return results[0]

    return finish


def pair(server, name, **options):
    return [concord.Session(server.tcp, name, rank, 2, M, N, **options) for rank in range(2)]


def test_a_round_goes_on_without_a_straggler_and_tells_it_so(server):
    ranks = pair(server, "quorum", min_workers=1, straggler_timeout=3.0)
    alone = concord.Session(server.tcp, "quorum-alone", num_vectors=M)
    grads = gradients(1)
    finish = started(lambda: ranks[1].step({1: grads[1]}))
    ranks[0].step({0: grads[0]})
    finish()
    alone.step((range(M), grads))

    grads = gradients(2)
    second = ranks[0].step({0: grads[0]})
    assert second.missing_ranks == [1] and not second.dropped
    assert torch.equal(second.update, alone.step({0: grads[0]}).update)
    late = ranks[1].step({1: grads[1]})
    assert late.dropped and late.step == 2 and torch.equal(late.update, second.update)

    # Back in time, it is waited for again.
    grads = gradients(3)
    finish = started(lambda: ranks[1].step({1: grads[1]}))
    third = ranks[0].step({0: grads[0]})
    assert torch.equal(finish().update, third.update)
    ranks[0].delete()
    alone.delete()


def test_who_has_left_is_not_waited_for(server):
    ranks = pair(server, "leaves", min_workers=1, straggler_timeout=300.0, round_timeout=600.0)
    for rank in ranks:
        rank.connect()
    ranks[1].leave()
    result = ranks[0].step({0: gradients(1)[0]}, deadline=60.0)
    assert result.step == 1 and result.missing_ranks == [1]
    with pytest.raises(RuntimeError, match="closed"):
        ranks[1].step({1: gradients(1)[1]})
    ranks[0].delete()


def test_ranks_that_share_a_loss_are_averaged(server):
    ranks = pair(server, "shared", max_ranks_per_vector=2)
    alone = PseudoMomentumOperator(M, server="")
    ours, theirs = gradients(1), gradients(2)
    finish = started(lambda: ranks[1].step(([0, 1], theirs), sample_weights={0: 3.0, 1: 3.0}))
    result = ranks[0].step(([0, 1], ours))
    mean = (ours.double() + 3 * theirs.double()) / 4
    expected = alone.calculate_gradient(mean.float())
    torch.testing.assert_close(result.update, expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(finish().update, result.update)
    ranks[0].delete()


def test_micro_batches_are_bit_for_bit_their_sum(server):
    whole = PseudoMomentumOperator(M, server="")
    with concord.Session(server.tcp, "micro", num_vectors=M) as session:
        for step in range(3):
            parts = [gradients(10 * step + i) for i in range(3)]
            for part in parts[:-1]:
                session.accumulate((range(M), part))
            result = session.step((range(M), parts[-1]))
            total = (parts[0] + parts[1]) + parts[2]
            assert torch.equal(result.update, whole.calculate_gradient(total))
        session.delete()


def test_a_micro_batch_that_is_refused_leaves_the_step_to_be_done_again(server):
    whole = PseudoMomentumOperator(M, server="")
    session = concord.Session(server.tcp, "micro-refused", num_vectors=M)
    bad = gradients(1)
    bad[0, 5] = float("nan")
    with pytest.raises(InvalidArgumentError) as raised:
        session.accumulate((range(M), gradients(0)))
        session.accumulate((range(M), bad))
        session.step((range(M), gradients(2)))
    assert raised.value.reason == "NON_FINITE"
    result = session.step((range(M), gradients(3)))
    assert result.step == 1
    assert torch.equal(result.update, whole.calculate_gradient(gradients(3)))
    session.delete()


@pytest.mark.parametrize("history", [0, 3])
def test_who_has_fallen_behind_catches_up_or_is_told_to_get_weights(server, history):
    options = {"min_workers": 1, "straggler_timeout": 0.02, "update_history": history}
    ranks = pair(server, f"behind-{history}", **options)
    for rank in ranks:
        rank.connect()
    updates = [ranks[0].step({0: gradients(step)[0]}).update for step in range(3)]
    if history:
        for update in updates:
            late = ranks[1].step({1: gradients(9)[1]})
            assert late.dropped and torch.equal(late.update, update)
    else:
        with pytest.raises(ResyncWeights) as raised:
            ranks[1].step({1: gradients(9)[1]})
        assert raised.value.metadata["committed_step"] == "3"
        ranks[1].resync(ranks[0].applied_step)
    grads = gradients(5)
    finish = started(lambda: ranks[1].step({1: grads[1]}))
    result = ranks[0].step({0: grads[0]})
    assert finish().step == result.step == 4
    ranks[0].delete()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("durability", "always"),
        ("min_workers", -1),
        ("min_workers", 1.5),
        ("straggler_timeout", 0),
        ("straggler_timeout", float("nan")),
        ("checkpoint_seconds", -1.0),
        ("update_history", 2**32),
    ],
)
def test_options_that_make_no_sense_are_refused_naming_them(server, option, value):
    with pytest.raises(InvalidArgumentError) as raised:
        concord.Session(server.tcp, "refused", num_vectors=M, **{option: value})
    assert raised.value.field == option


def test_durability_needs_a_server_that_keeps_something(server):
    session = concord.Session(
        server.tcp, "not-kept", num_vectors=M, num_parameters=N, durability="step"
    )
    with pytest.raises(ConcordError) as raised:
        session.connect()
    assert raised.value.reason == "NOT_DURABLE"


def test_checkpoints_are_taken_by_the_sessions_policy_and_begin_another(durable_server):
    grads = [gradients(step) for step in range(7)]
    session = concord.Session(
        durable_server.tcp, "policy", num_vectors=M, checkpoint_steps=3, checkpoints_kept=2
    )
    for step in range(3):
        session.step((range(M), grads[step]))
    # The server takes it beside the steps.
    deadline = time.monotonic() + 30
    while not (kept := session.checkpoints()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [checkpoint["step"] for checkpoint in kept] == [3]
    copy = concord.Session(
        durable_server.tcp,
        "copy",
        num_vectors=M,
        num_parameters=N,
        restore_from=kept[0]["name"],
        resume_step=3,
    )
    for step in range(3, 7):
        expected = session.step((range(M), grads[step]))
        result = copy.step((range(M), grads[step]))
        assert result.step == step + 1 and torch.equal(result.update, expected.update)
