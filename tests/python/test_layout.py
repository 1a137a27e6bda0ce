"""What is inside the vectors: ranks must agree, and momenta follow their parameters."""

import pickle
import threading

import pytest
import torch

import concord
from concord import PseudoMomentumOperator, Segment, SeparateMomentumOperator
from concord.errors import ConcordError, EpochChanged, InvalidArgumentError

M = 2
WHOLE = (("trunk.weight", (20, 30)), ("trunk.bias", (20,)), ("head.weight", (5, 20)))
FROZEN = WHOLE[2:]  # The trunk is.
TURNED = (WHOLE[2], WHOLE[0], WHOLE[1])
TRUNK, HEAD = 620, 100


def gradients(step, length=TRUNK + HEAD, count=M):
    return torch.randn(count, length, generator=torch.Generator().manual_seed(step))


def network():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))


def test_a_layout_is_what_can_be_trained_in_the_order_of_vectors():
    model = network()
    assert concord.layout_of(model) == (
        Segment("0.weight", (4, 6)),
        Segment("0.bias", (4,)),
        Segment("2.weight", (2, 4)),
        Segment("2.bias", (2,)),
    )
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    frozen = concord.layout_of(model.named_parameters())
    assert [segment.name for segment in frozen] == ["2.weight", "2.bias"]
    model(torch.ones(1, 6)).sum().backward()
    length = sum(torch.Size(segment.shape).numel() for segment in frozen)
    assert concord.utils.get_gradient_vector(model).numel() == length


@pytest.mark.parametrize("kind", [PseudoMomentumOperator, SeparateMomentumOperator])
def test_freezing_at_20_and_unfreezing_at_40_keeps_the_bits_of_what_stays(kind, where):
    operator = kind(M, **where)

    def vectors():
        names = ("momentum.", "second_momentum")
        state = operator.state_dict()
        return {name: state[name] for name in state if name.startswith(names)}

    for step in range(1, 21):
        operator.calculate_gradient(step % M, gradients(step)[0])
    at_20 = vectors()
    operator.update_layout(WHOLE, FROZEN)
    for name, vector in vectors().items():
        assert torch.equal(vector, at_20[name][TRUNK:]), name
    for step in range(21, 41):
        update = operator.calculate_gradient(step % M, gradients(step, HEAD)[0])
        assert update.numel() == HEAD and update.isfinite().all()
    at_40 = vectors()
    operator.update_layout(FROZEN, TURNED)
    for name, vector in vectors().items():
        assert torch.equal(vector[:HEAD], at_40[name]) and not vector[HEAD:].any(), name
    update = operator.calculate_gradient(0, gradients(41)[0])
    assert update.numel() == TRUNK + HEAD
    assert operator.state_dict()["updates"].tolist() == [21, 20]
    operator.close()


def test_embedded_and_on_a_server_a_new_layout_gives_the_same_bits(where):
    with (
        PseudoMomentumOperator(M, **where) as operator,
        PseudoMomentumOperator(M, server="") as twin,
    ):
        for one in (operator, twin):
            one.calculate_gradient(range(M), gradients(1))
            one.calculate_gradient(range(M), gradients(2))
            one.update_layout(WHOLE, TURNED)
        for step in range(3, 6):
            grads = gradients(step)
            assert torch.equal(
                operator.calculate_gradient(range(M), grads),
                twin.calculate_gradient(range(M), grads),
            )


def test_what_is_refused_leaves_the_next_step_as_it_would_have_been(where):
    with (
        PseudoMomentumOperator(M, **where) as operator,
        PseudoMomentumOperator(M, server="") as twin,
    ):
        for one in (operator, twin):
            one.calculate_gradient(range(M), gradients(1))
        for old, new, field in (
            (WHOLE, (("trunk.weight", (30, 20)), *WHOLE[1:]), "layout.segments[0].shape"),
            (WHOLE, (WHOLE[0], WHOLE[0]), "layout.segments[1].name"),
            (WHOLE[:1], WHOLE, "previous"),
        ):
            with pytest.raises(InvalidArgumentError) as raised:
                operator.update_layout(old, new)
            assert raised.value.field.startswith(field), raised.value
        with pytest.raises(TypeError, match="segments"):
            operator.update_layout(WHOLE, "trunk")
        grads = gradients(2)
        assert torch.equal(
            operator.calculate_gradient(range(M), grads), twin.calculate_gradient(range(M), grads)
        )


def test_a_gradient_operator_in_python_takes_its_vectors_along():
    class Mean(concord.GradientOperator):
        def calculate_gradient(self, grads, losses=None):
            return grads.mean(0)

    operator = PseudoMomentumOperator(M, gradient_operator=Mean(), server="")
    operator.calculate_gradient(range(M), gradients(1))
    before = operator.m[0], operator.s, operator.fake_m
    operator.update_layout(WHOLE, FROZEN)
    for old, new in zip(before, (operator.m[0], operator.s, operator.fake_m)):
        assert torch.equal(new, old[TRUNK:])
    assert operator.calculate_gradient(range(M), gradients(2, HEAD)).numel() == HEAD


def test_an_operator_that_has_not_stepped_takes_any_length(where):
    with PseudoMomentumOperator(M, **where) as operator:
        operator.update_layout(WHOLE, FROZEN)
        assert operator.calculate_gradient(range(M), gradients(1, HEAD)).numel() == HEAD


def test_a_pickled_operator_has_its_new_layout():
    operator = PseudoMomentumOperator(M, server="")
    operator.calculate_gradient(range(M), gradients(1))
    operator.update_layout(WHOLE, FROZEN)
    copy = pickle.loads(pickle.dumps(operator))
    grads = gradients(2, HEAD)
    assert torch.equal(
        copy.calculate_gradient(range(M), grads), operator.calculate_gradient(range(M), grads)
    )


def test_ranks_whose_parameters_have_another_order_are_refused_by_the_segment(server):
    first = concord.Session(server.tcp, "order", 0, 2, M, layout=WHOLE).connect()
    with pytest.raises(ConcordError, match=r"layout\.segments\[0\].*head\.weight.*trunk\.weight"):
        concord.Session(server.tcp, "order", 1, 2, M, layout=TURNED).connect()
    with pytest.raises(ConcordError, match=r"layout\.segments\[1\].*none.*trunk\.bias"):
        concord.Session(server.tcp, "order", 1, 2, M, layout=WHOLE[:1]).connect()
    with pytest.raises(InvalidArgumentError, match="num_parameters"):
        concord.Session(server.tcp, "order", 1, 2, M, num_parameters=7, layout=WHOLE)
    first.delete()


def test_a_session_s_ranks_change_the_layout_together(server):
    ranks = [concord.Session(server.tcp, "together", r, 2, M, layout=WHOLE) for r in range(2)]
    alone = PseudoMomentumOperator(M, server="")

    def together(action):
        threads = [threading.Thread(target=action, args=(rank,)) for rank in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    def step(number, length):
        found = [None, None]

        def take(rank):
            found[rank] = ranks[rank].step({rank: gradients(number, length)[rank]}).update

        together(take)
        expected = alone.calculate_gradient(gradients(number, length))
        assert torch.equal(found[0], expected) and torch.equal(found[1], expected)

    for number in (1, 2, 3):
        step(number, TRUNK + HEAD)
    together(lambda rank: ranks[rank].update_layout(FROZEN))
    alone.update_layout(WHOLE, FROZEN)
    for number in (4, 5):
        step(number, HEAD)
    assert ranks[0].applied_step == 5
    # One that goes its own way is told.
    ranks[0].update_layout(TURNED)
    with pytest.raises(EpochChanged):
        ranks[1].step({1: gradients(6, HEAD)[1]})
    ranks[1].update_layout(TURNED)
    alone.update_layout(FROZEN, TURNED)
    step(6, TRUNK + HEAD)
    # A handle that was kept elsewhere and has the old order is refused here, by name.
    late = pickle.loads(pickle.dumps(ranks[1]))
    late._layout = tuple(Segment(*part) for part in WHOLE)
    with pytest.raises(ConcordError, match=r"LAYOUT_MISMATCH.*segments\[0\]|segments\[0\]"):
        late.connect()
    ranks[0].connect()
    ranks[0].delete()


def test_a_layout_outlives_the_server(tmp_path):
    from conftest import Server

    grads = [gradients(step) for step in range(4)]
    twin = PseudoMomentumOperator(M, server="")
    first = Server(tmp_path, f"--state-dir={tmp_path}/state")
    session = concord.Session(first.tcp, "kept", num_vectors=M, layout=WHOLE)
    session.step((range(M), grads[0]))
    session.update_layout(FROZEN)
    session.step((range(M), grads[1][:, TRUNK:]))
    session.close()
    first.process.kill()
    first.stop()
    second = Server(tmp_path, f"--state-dir={tmp_path}/state")
    session = concord.Session(
        second.tcp, "kept", num_vectors=M, layout=FROZEN, resume_step=2, num_parameters=HEAD
    )
    twin.calculate_gradient(range(M), grads[0])
    twin.update_layout(WHOLE, FROZEN)
    twin.calculate_gradient(range(M), grads[1][:, TRUNK:])
    found = session.step((range(M), grads[2][:, TRUNK:]))
    assert torch.equal(found.update, twin.calculate_gradient(range(M), grads[2][:, TRUNK:]))
    session.delete()
    assert second.stop() == 0
