"""Options that change between steps, losses that count, and what an operator shows."""

import numpy as np
import pytest
import torch

import concord
from concord import methods
from concord.errors import InvalidArgumentError
from concord.momentum_operator import (
    LatestLossRecorder,
    MomentumLossRecorder,
    PseudoMomentumOperator,
    SeparateMomentumOperator,
)
from concord.weight_model import DynamicWeightAverage, RandomWeight, WeightModel

N = 300


def gradients(step, m=3):
    return torch.randn(m, N, generator=torch.Generator().manual_seed(step), dtype=torch.float64)


def pair(cls, server, **options):
    return cls(3, server="", **options), cls(3, server=server.tcp, **options)


@pytest.mark.parametrize("cls", [PseudoMomentumOperator, SeparateMomentumOperator])
def test_new_options_hold_from_the_next_step_embedded_and_served(cls, server):
    embedded, served = pair(cls, server)

    def step(number):
        both = [op.calculate_gradient(gradients(number)) for op in (embedded, served)]
        assert torch.equal(*both)
        return both[0]

    step(1)
    unchanged = cls(3, server="")
    unchanged.calculate_gradient(gradients(1))
    for op in (embedded, served):
        op.beta_1 = 0.5
    assert not torch.equal(step(2), unchanged.calculate_gradient(gradients(2)))
    for op in (embedded, served):
        op.beta_2 = 0.9
        op.gradient_operator = methods.CAGradOperator(0.25)
        op.stale_after = 5
        op.min_relative_norm = 1e-6
    step(3)
    assert embedded.beta_1 == served.beta_1 == 0.5
    assert embedded.stale_after == served.stale_after == 5
    served.close()


def test_a_new_beta_is_conflictfrees_formula():
    """t goes on to count all updates; 1 - beta^t is read with the new beta."""
    operator = PseudoMomentumOperator(1, server="")
    m = f = s = np.zeros(N)
    for t in range(1, 8):
        beta_1 = operator.beta_1 = 0.9 if t < 4 else 0.6
        gradient = gradients(t, 1)[0]
        m = beta_1 * m + (1 - beta_1) * gradient.numpy()
        r = m / (1 - beta_1**t)
        pseudo = (r * (1 - beta_1**t) - beta_1 * f) / (1 - beta_1)
        f = r * (1 - beta_1**t)
        s = 0.999 * s + 0.001 * pseudo**2
        expected = r / (np.sqrt(s / (1 - 0.999**t)) + 1e-8)
        np.testing.assert_allclose(
            operator.calculate_gradient(0, gradient).numpy(), expected, rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("beta_1", 1.0, "beta_1"),
        ("beta_2", float("nan"), "beta_2"),
        ("stale_after", -1, "stale_after"),
        ("min_relative_norm", 1.0, "min_relative_norm"),
        ("gradient_operator", methods.TrimmedMeanOperator(1), "combiner"),
        ("gradient_operator", methods.ConstantOperator([1, 2]), "combiner.constant.weights"),
    ],
)
def test_an_option_that_is_refused_changes_nothing(name, value, field, server):
    for operator in pair(PseudoMomentumOperator, server):
        twin = PseudoMomentumOperator(3, server="")
        for op in (operator, twin):
            op.calculate_gradient(gradients(1))
        before = getattr(operator, name)
        with pytest.raises(InvalidArgumentError) as raised:
            setattr(operator, name, value)
        assert field in raised.value.field
        assert getattr(operator, name) is before or getattr(operator, name) == before
        assert torch.equal(
            operator.calculate_gradient(1, gradients(2)[0]),
            twin.calculate_gradient(1, gradients(2)[0]),
        )
        operator.close()


def test_a_session_changes_its_options_for_all_ranks(server):
    kinds = {
        "momentum": "separate",
        "num_vectors": 2,
        "gradient_operator": methods.CAGradOperator(),
    }
    with concord.Session(server.tcp, **kinds) as session:
        session.step({0: gradients(1)[0], 1: gradients(1)[1]})
        session.change(gradient_operator=methods.CAGradOperator(0.9), beta_1=0.3)
        changed = session.step({0: gradients(2)[0]})
        with pytest.raises(TypeError, match="no option gamma"):
            session.change(gamma=1)
        session.delete()
    operator = SeparateMomentumOperator(2, gradient_operator=methods.CAGradOperator(), server="")
    operator.calculate_gradient([0, 1], gradients(1)[:2])
    operator.gradient_operator = methods.CAGradOperator(0.9)
    operator.beta_1 = 0.3
    assert torch.equal(operator.calculate_gradient(0, gradients(2)[0]), changed.update)


# ---- Losses that count


def test_active_losses_alone_are_combined_embedded_and_served(server):
    operators = pair(PseudoMomentumOperator, server)
    for op in operators:
        op.calculate_gradient(gradients(1))
    updates = [op.calculate_gradient(gradients(2), active=[2, 0]) for op in operators]
    assert torch.equal(*updates)
    for op in operators:
        coefficients = op.last_step.coefficients
        assert coefficients[1] == 0 and coefficients[0] != 0 and coefficients[2] != 0
        with pytest.raises(InvalidArgumentError):
            op.calculate_gradient(gradients(3), active=[])
        with pytest.raises(InvalidArgumentError):
            op.calculate_gradient(gradients(3), active=[0, 3])
    assert torch.equal(*[op.calculate_gradient(gradients(3)) for op in operators])
    operators[1].close()


def test_a_loss_whose_gradients_have_stopped_is_left_out_where_asked_for(server):
    for op in pair(PseudoMomentumOperator, server, stale_after=2):
        op.calculate_gradient(gradients(1))
        for step in range(2, 5):
            op.calculate_gradient([0, 1], gradients(step)[:2])
        assert op.last_step.stale_losses == [2]
        assert op.last_step.coefficients[2] == 0
        op.close()
    default = PseudoMomentumOperator(2, server="")
    default.calculate_gradient(gradients(1)[:2])
    for step in range(60):
        default.calculate_gradient(0, gradients(step)[0])
    assert default.last_step.coefficients[1] != 0


def test_a_loss_whose_gradient_is_zero_is_left_out_where_asked_for():
    operator = PseudoMomentumOperator(2, min_relative_norm=1e-3, server="")
    operator.calculate_gradient(gradients(1)[:2])
    zero = torch.zeros(N, dtype=torch.float64)
    for step in range(100):
        operator.calculate_gradient([0, 1], [gradients(step)[0], zero])
    assert operator.last_step.stale_losses == [1]


# ---- Recorders and weights that follow the losses


def test_recorders_return_plain_lists_that_are_copies_and_say_what_they_have_seen():
    for recorder in (LatestLossRecorder(3), MomentumLossRecorder(3, 0.5)):
        assert recorder.seen == [False] * 3
        first = recorder.record_loss(1, 4.0)
        assert type(first) is list and first == [0.0, 4.0, 0.0]
        assert recorder.seen == [False, True, False]
        first[1] = 99.0
        assert recorder.record_loss([0], [torch.tensor(2.0)]) == [2.0, 4.0, 0.0]
        recorder.record_all_losses([1.0, 1.0, 1.0])
        assert recorder.seen == [True] * 3


def test_the_momentum_recorder_is_corrected_for_its_start():
    recorder = MomentumLossRecorder(2, [0.5, 0.9])
    recorder.record_all_losses([4.0, 4.0])
    values = recorder.record_all_losses([1.0, 1.0])
    assert values[0] == pytest.approx((0.25 * 4 + 0.5) / 0.75)
    assert values[1] == pytest.approx((0.09 * 4 + 0.1) / 0.19)
    with pytest.raises(InvalidArgumentError):
        MomentumLossRecorder(2, [0.5])
    with pytest.raises(InvalidArgumentError):
        MomentumLossRecorder(2, 1.0)


def test_a_server_records_what_the_recorder_says(server):
    for make in (LatestLossRecorder, lambda m: MomentumLossRecorder(m, 0.5)):
        operators = [
            PseudoMomentumOperator(3, loss_recorder=make(3), server=address)
            for address in ("", server.tcp)
        ]
        for step in range(1, 4):
            for op in operators:
                op.calculate_gradient([0, 2], gradients(step)[:2], [float(step), 2.0 * step])
        recorded = [op.loss_recorder.current_losses for op in operators]
        assert recorded[0] == recorded[1] and recorded[0][1] == 0
        operators[1].close()


def test_dynamic_weights_follow_the_losses_embedded_and_served(server):
    operators = [
        PseudoMomentumOperator(
            3,
            gradient_operator=concord.ConFIGOperator(DynamicWeightAverage(1.5)),
            loss_recorder=LatestLossRecorder(3),
            server=address,
        )
        for address in ("", server.tcp)
    ]
    losses = [[4.0, 1.0, 2.0], [2.0, 1.0, 1.9], [1.0, 1.0, 1.0]]
    for step, values in enumerate(losses):
        updates = [op.calculate_gradient(gradients(step), values) for op in operators]
        assert torch.equal(*updates)
    model = DynamicWeightAverage(1.5)
    for values in losses:
        weights = model.get_weights(gradients(0), values)
    for op in operators:
        cosines = op.last_step.direction_cosines
        torch.testing.assert_close(cosines / cosines.sum(), weights / weights.sum())
        op.close()
    with pytest.raises(InvalidArgumentError) as raised:
        PseudoMomentumOperator(
            2, gradient_operator=concord.ConFIGOperator(DynamicWeightAverage()), server=""
        )
    assert "loss_recorder" in raised.value.field


def test_random_weights_of_the_model_are_the_engines():
    operator = concord.ConFIGOperator(RandomWeight(5), server="")
    model = RandomWeight(5)
    for step in range(3):
        rows = gradients(step)
        direction = operator.calculate_gradient(rows)
        cosines = (rows @ direction) / rows.norm(dim=1)
        weights = model.get_weights(rows)
        torch.testing.assert_close(cosines / cosines.sum(), weights / weights.sum())


# ---- What an operator shows


def test_the_state_of_an_embedded_operator_can_be_read():
    operator = PseudoMomentumOperator(2, server="")
    assert operator.m is None and operator.s is None and operator.fake_m is None
    assert operator.t == 0 and operator.t_grads == [0, 0] and not operator.all_initialized
    first, second = gradients(1)[:2]
    operator.calculate_gradient(0, first)
    assert operator.t == 0 and operator.t_grads == [1, 0]
    update = operator.calculate_gradient([0, 1], [second, first])
    assert operator.t == 1 and operator.t_grads == [2, 1] and operator.all_initialized
    torch.testing.assert_close(operator.m[0], 0.09 * first + 0.1 * second)
    torch.testing.assert_close(operator.m[1], 0.1 * first)
    direction = update * (operator.s / (1 - 0.999)).sqrt().add(1e-8)
    torch.testing.assert_close(operator.fake_m, direction * (1 - 0.9))
    operator.m[0].zero_()
    assert bool(operator.m[0].any())


def test_separate_momenta_can_be_read():
    operator = SeparateMomentumOperator(2, server="")
    assert operator.s is None
    first, second = gradients(1)[:2]
    operator.calculate_gradient([0, 1], [first, second])
    torch.testing.assert_close(operator.s[1], 0.001 * second**2)
    assert len(operator.s) == len(operator.m) == 2


def test_the_state_on_a_server_is_not_pretended_to_be_here(server):
    operator = PseudoMomentumOperator(2, server=server.tcp)
    operator.calculate_gradient([0, 1], gradients(1)[:2])
    assert not hasattr(operator, "m")
    with pytest.raises(AttributeError, match="server"):
        _ = operator.fake_m
    operator.close()


class Sum(concord.GradientOperator):
    def calculate_gradient(self, grads, losses=None):
        return grads.sum(dim=0)


@pytest.mark.parametrize("cls", [PseudoMomentumOperator, SeparateMomentumOperator])
def test_a_users_operator_runs_over_the_same_momenta_as_the_engines(cls):
    ours = cls(3, gradient_operator=methods.SumOperator(), server="")
    users = cls(3, gradient_operator=Sum(), server="")
    for step in range(6):
        indexes = [step % 3] if step > 2 else [0, 1, 2]
        grads = gradients(step)[: len(indexes)]
        torch.testing.assert_close(
            users.calculate_gradient(indexes, grads), ours.calculate_gradient(indexes, grads)
        )
    assert users.t_grads == ours.t_grads
    for mine, theirs in zip(users.m, ours.m):
        torch.testing.assert_close(mine, theirs)


class ByLoss(WeightModel):
    def get_weights(self, gradients=None, losses=None, device=None):
        return torch.tensor(losses, device=device)


def test_a_users_weights_see_the_losses():
    operator = PseudoMomentumOperator(
        2,
        gradient_operator=concord.ConFIGOperator(ByLoss()),
        loss_recorder=LatestLossRecorder(2),
        server="",
    )
    rows = gradients(1)[:2]
    update = operator.calculate_gradient(rows, [3.0, 1.0])
    direction = operator.fake_m
    cosines = (rows @ direction) / rows.norm(dim=1)
    assert float(cosines[0] / cosines[1]) == pytest.approx(3)
    assert bool(update.any())
