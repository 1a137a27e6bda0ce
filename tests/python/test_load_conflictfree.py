"""A job that has begun with conflictfree goes on with Concord."""

from __future__ import annotations

import conflictfree.momentum_operator as peers
import pytest
import torch

from concord.errors import InvalidArgumentError
from concord.loss_recorder import LatestLossRecorder
from concord.momentum_operator import PseudoMomentumOperator

M, N = 3, 1_009


def gradients(step: int) -> tuple[list[int], torch.Tensor]:
    """All losses at first, then one after the other."""
    generator = torch.Generator().manual_seed(step)
    indexes = list(range(M)) if step < 3 else [step % M]
    grads = torch.randn(len(indexes), N, generator=generator, dtype=torch.float64)
    return indexes, grads.to(torch.get_default_dtype())


def step_of(peer, step: int) -> torch.Tensor:
    """The peer takes a single gradient without its list alone."""
    indexes, grads = gradients(step)
    return peer.calculate_gradient(
        *((indexes, list(grads)) if len(indexes) > 1 else (indexes[0], grads[0]))
    )


def begun(steps: int) -> peers.PseudoMomentumOperator:
    peer = peers.PseudoMomentumOperator(M)
    for step in range(1, steps + 1):
        step_of(peer, step)
    return peer


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_it_goes_on_as_the_peer_does(float64_default, where, steps):
    peer = begun(steps)
    with PseudoMomentumOperator(M, **where) as operator:
        operator.load_conflictfree(peer)
        for step in range(steps + 1, steps + 7):
            expected = step_of(peer, step)
            update = operator.calculate_gradient(*gradients(step))
            torch.testing.assert_close(update, expected, rtol=1e-9, atol=1e-11)


def test_in_single_precision_too():
    peer = begun(6)
    operator = PseudoMomentumOperator(M, server="")
    operator.load_conflictfree(peer)
    for step in range(7, 12):
        expected = step_of(peer, step)
        update = operator.calculate_gradient(*gradients(step))
        assert (update - expected).norm() <= 1e-4 * expected.norm()


def test_before_every_loss_was_seen_the_warm_up_goes_on(float64_default):
    peer = peers.PseudoMomentumOperator(M)
    operator = PseudoMomentumOperator(M, server="")
    _, grads = gradients(1)
    peer.calculate_gradient([0, 1], list(grads[:2]))
    operator.load_conflictfree(peer)
    assert operator.t == 0 and not operator.all_initialized
    expected = peer.calculate_gradient(2, grads[2])
    update = operator.calculate_gradient([2], grads[2:])
    torch.testing.assert_close(update, expected, rtol=1e-9, atol=1e-11)
    assert operator.t == peer.t == 1


def test_a_peer_without_a_step_is_a_new_operator():
    operator = PseudoMomentumOperator(M, server="")
    operator.calculate_gradient(*gradients(1))
    operator.load_conflictfree(peers.PseudoMomentumOperator(M))
    fresh = PseudoMomentumOperator(M, server="")
    assert torch.equal(
        operator.calculate_gradient(*gradients(2)), fresh.calculate_gradient(*gradients(2))
    )


def test_losses_are_recorded_anew():
    operator = PseudoMomentumOperator(M, server="", loss_recorder=LatestLossRecorder(M))
    operator.load_conflictfree(begun(4))
    operator.calculate_gradient([0], gradients(5)[1][:1], [0.5])
    assert operator.last_step.losses[0] == 0.5


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda peer: setattr(peer, "beta_1", 0.8), "peer.beta_1"),
        (lambda peer: setattr(peer, "beta_2", 0.99), "peer.beta_2"),
        (lambda peer: setattr(peer, "num_vectors", 2), "peer.num_vectors"),
        (lambda peer: setattr(peer, "fake_m", torch.randn(N)), "peer.fake_m"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(change, field):
    operator = PseudoMomentumOperator(M, server="")
    control = PseudoMomentumOperator(M, server="")
    for step in (1, 2):
        operator.calculate_gradient(*gradients(step))
        control.calculate_gradient(*gradients(step))
    peer = begun(3)
    change(peer)
    with pytest.raises(InvalidArgumentError) as raised:
        operator.load_conflictfree(peer)
    assert raised.value.field == field
    assert torch.equal(
        operator.calculate_gradient(*gradients(3)), control.calculate_gradient(*gradients(3))
    )
