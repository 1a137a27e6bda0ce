"""Classes that a user writes in Python: embedded they work, against a server they are refused."""

import copy

import conflictfree.grad_operator as peer_grad
import conflictfree.momentum_operator as peer_momentum
import pytest
import torch

import concord
from concord.grad_operator import ConFIGOperator, GradientOperator
from concord.length_model import LengthModel, ProjectionLength
from concord.loss_recorder import LatestLossRecorder, LossRecorder
from concord.momentum_operator import PseudoMomentumOperator
from concord.weight_model import EqualWeight, WeightModel

M, N = 3, 200


class Mean(GradientOperator):
    def calculate_gradient(self, grads, losses=None):
        return grads.mean(dim=0) if losses is None else grads.mean(dim=0) * (1 + sum(losses))


class LossWeights(WeightModel):
    """Without a device parameter, as the base class of conflictfree has it."""

    def get_weights(self, gradients=None, losses=None):
        weights = torch.arange(1.0, len(gradients) + 1)
        return weights if losses is None else weights * torch.tensor(losses)


class Twice(LengthModel):
    def get_length(self, target_vector=None, unit_target_vector=None, gradients=None, losses=None):
        return 2.0


class Smallest(LossRecorder):
    def record_loss(self, losses_indexes, losses):
        indexes, losses = self._preprocess_losses(losses_indexes, losses)
        for index, loss in zip(indexes, losses):
            old = self.current_losses[index]
            self.current_losses[index] = min(old, loss) if old else loss
        return self.current_losses


class Failing(Mean):
    fail = False

    def calculate_gradient(self, grads, losses=None):
        if self.fail:
            raise ZeroDivisionError("in the user's code")
        return super().calculate_gradient(grads, losses)


def gradients(step, dtype=torch.float64):
    return torch.randn(M, N, generator=torch.Generator().manual_seed(step)).to(dtype)


def test_momentum_around_a_derived_operator_equals_conflictfree(float64_default):
    class PeerMean(peer_grad.GradientOperator):
        def calculate_gradient(self, grads, losses=None):
            return Mean().calculate_gradient(grads, losses)

    peer = peer_momentum.PseudoMomentumOperator(M, gradient_operator=PeerMean())
    ours = PseudoMomentumOperator(M, gradient_operator=Mean())
    for step in range(40):
        indexes = [step % M] if step % 2 else [step % M, (step + 1) % M]
        grads = list(gradients(step)[: len(indexes)])
        expected = peer.calculate_gradient(indexes, grads)
        found = ours.calculate_gradient(indexes, grads)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_a_derived_operator_that_is_config_equals_the_engine():
    class MyConFIG(ConFIGOperator):
        pass

    engine = PseudoMomentumOperator(M)
    derived = PseudoMomentumOperator(M, gradient_operator=MyConFIG())
    for step in range(20):
        grads = gradients(step)[step % M]
        expected = engine.calculate_gradient(step % M, grads)
        found = derived.calculate_gradient(step % M, grads)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_derived_weights_and_lengths_work():
    grads = gradients(0)
    operator = ConFIGOperator(LossWeights(), Twice())
    found = operator.calculate_gradient(grads, [1.0, 1.0, 2.0])
    assert abs(float(found.norm()) - 2) < 1e-9
    cosines = torch.nn.functional.cosine_similarity(grads, found[None])
    torch.testing.assert_close(cosines / cosines[0], torch.tensor([1.0, 2.0, 6.0]).double())
    momentum = PseudoMomentumOperator(
        M, gradient_operator=operator, loss_recorder=LatestLossRecorder(M)
    )
    assert momentum.calculate_gradient(grads, [1.0, 1.0, 2.0]).abs().max() > 0.5


def test_a_derived_recorder_records_and_is_put_back_when_the_step_is_refused():
    recorder = Smallest(M)
    operator = PseudoMomentumOperator(M, loss_recorder=recorder)
    operator.calculate_gradient(gradients(0), [3.0, 2.0, 1.0])
    operator.calculate_gradient(gradients(1), [2.0, 5.0, 0.5])
    assert recorder.current_losses == [2.0, 2.0, 0.5]
    bad = gradients(2)
    bad[1, 5] = float("nan")
    with pytest.raises(ValueError):
        operator.calculate_gradient(bad, [0.1, 0.1, 0.1])
    assert recorder.current_losses == [2.0, 2.0, 0.5]


def test_an_error_in_the_users_code_changes_nothing():
    failing = Failing()
    operator = PseudoMomentumOperator(M, gradient_operator=failing)
    twin = PseudoMomentumOperator(M, gradient_operator=Mean())
    for step in range(6):
        if step % 2:
            failing.fail = True
            with pytest.raises(ZeroDivisionError):
                operator.calculate_gradient(1, gradients(100 + step)[0])
            failing.fail = False
        grads = gradients(step)
        assert torch.equal(operator.calculate_gradient(grads), twin.calculate_gradient(grads))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_derived_operator_gets_and_gives_the_inputs_type(dtype):
    operator = PseudoMomentumOperator(M, gradient_operator=Mean())
    update = operator.calculate_gradient(0, gradients(0, dtype)[0])
    assert update.dtype is dtype and not update.any()
    assert operator.calculate_gradient(gradients(0, dtype)).dtype is dtype
    second = copy.deepcopy(operator)
    grads = gradients(1, dtype)
    assert torch.equal(operator.calculate_gradient(grads), second.calculate_gradient(grads))


PARTS = {
    "operator": {"gradient_operator": Mean()},
    "subclass of ConFIG": {"gradient_operator": type("Mine", (ConFIGOperator,), {})()},
    "weights": {"gradient_operator": ConFIGOperator(LossWeights())},
    "length": {"gradient_operator": ConFIGOperator(EqualWeight(), Twice())},
    "recorder": {"loss_recorder": Smallest(M)},
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("how", ["server=", "CONCORD_SERVER", "Session"])
def test_derived_classes_are_refused_against_a_server(part, how, monkeypatch):
    with pytest.raises(TypeError, match="embedded only"):
        if how == "server=":
            PseudoMomentumOperator(M, server="127.0.0.1:1", **PARTS[part])
        elif how == "CONCORD_SERVER":
            monkeypatch.setenv("CONCORD_SERVER", "127.0.0.1:1")
            PseudoMomentumOperator(M, **PARTS[part])
        else:
            concord.Session("127.0.0.1:1", num_vectors=M, **PARTS[part])


def test_base_classes_say_what_has_to_be_defined():
    with pytest.raises(NotImplementedError, match="calculate_gradient"):
        GradientOperator().calculate_gradient(torch.zeros(1, 1))
    with pytest.raises(NotImplementedError, match="get_weights"):
        WeightModel().get_weights()
    with pytest.raises(NotImplementedError, match="get_length"):
        LengthModel().get_length()
    with pytest.raises(NotImplementedError, match="record_loss"):
        LossRecorder(2).record_loss(0, 1.0)
    grads = gradients(0)
    expected = grads.sum(0) @ (grads[0] / grads[0].norm())
    torch.testing.assert_close(ProjectionLength().get_length(grads[0], gradients=grads), expected)
