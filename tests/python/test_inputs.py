"""What calculate_gradient takes, and what it gives back."""

import numpy as np
import pytest
import torch

from concord.errors import InvalidArgumentError
from concord.loss_recorder import LatestLossRecorder
from concord.momentum_operator import PseudoMomentumOperator

M, N = 3, 97


def gradients(dtype=torch.float32, seed=0, k=M):
    return torch.randn(k, N, generator=torch.Generator().manual_seed(seed)).to(dtype)


def warm(where=None, dtype=torch.float32, **options):
    operator = PseudoMomentumOperator(M, **{**(where or {"server": ""}), **options})
    operator.calculate_gradient(range(M), gradients(dtype))
    return operator


def twins(where=None, dtype=torch.float32, **options):
    return warm(where, dtype, **options), warm(where, dtype, **options)


INDEX_FORMS = {
    "int": (1, [1]),
    "numpy integer": (np.int64(1), [1]),
    "0-d tensor": (torch.tensor(1), [1]),
    "1-d tensor of one": (torch.tensor([1]), [1]),
    "1-d tensor": (torch.tensor([2, 0], dtype=torch.int32), [2, 0]),
    "ndarray": (np.array([2, 0]), [2, 0]),
    "0-d ndarray": (np.array(1), [1]),
    "list": ([2, 0], [2, 0]),
    "tuple": ((2, 0), [2, 0]),
    "range": (range(1, 3), [1, 2]),
    "list of numpy integers": ([np.int32(2), np.uint8(0)], [2, 0]),
    "list of 0-d tensors": ([torch.tensor(2), torch.tensor(0)], [2, 0]),
}


@pytest.mark.parametrize("form", INDEX_FORMS)
def test_every_form_of_indexes_means_the_same(form):
    given, plain = INDEX_FORMS[form]
    first, second = twins()
    grads = gradients(seed=1, k=len(plain))
    expected = first.calculate_gradient(plain, list(grads))
    assert torch.equal(second.calculate_gradient(given, grads), expected)


def strided_rows(grads):
    wide = torch.zeros(len(grads), 2 * N)
    wide[:, ::2] = grads
    return wide[:, ::2]


GRADIENT_FORMS = {
    "list": list,
    "tuple": tuple,
    "stacked": lambda g: g,
    "transposed": lambda g: g.T.contiguous().T,
    "every second": strided_rows,
    "list of views": lambda g: [row[:] for row in strided_rows(g)],
    "requires_grad": lambda g: g.clone().requires_grad_(),
    "parameters": lambda g: [torch.nn.Parameter(row) for row in g],
    "numpy": lambda g: g.numpy(),
    "numpy, reversed view": lambda g: g.numpy()[:, ::-1].copy()[:, ::-1],
    "numpy, read-only": lambda g: np.frombuffer(g.numpy().tobytes(), np.float32).reshape(g.shape),
    "numpy, big endian": lambda g: g.numpy().astype(">f4"),
    "list of arrays": lambda g: [row.numpy() for row in g],
    "sparse": lambda g: g.to_sparse(),
    "negative view": lambda g: torch.complex(g, -g).conj().imag,
    "a graph's result": lambda g: g.clone().requires_grad_() * 1.0,
}


def plain(row):
    """A copy as an array."""
    if torch.is_tensor(row):
        return row.detach().to_dense().resolve_neg().clone().numpy()
    return np.array(row)


@pytest.mark.parametrize("form", GRADIENT_FORMS)
@pytest.mark.parametrize("call", ["indexes", "grads alone"])
def test_every_form_of_grads_means_the_same(form, call):
    first, second = twins()
    grads = gradients(seed=2)
    given = GRADIENT_FORMS[form](grads)
    kept = [plain(row) for row in given]
    expected = first.calculate_gradient([0, 1, 2], list(grads))
    arguments = ([0, 1, 2], given) if call == "indexes" else (given,)
    found = second.calculate_gradient(*arguments)
    assert torch.equal(found, expected) and not found.requires_grad
    for row, before in zip(given, kept):
        assert np.array_equal(plain(row), before), "an input was modified"


@pytest.mark.parametrize(
    "form",
    ["row of a matrix", "negative view", "strided", "requires_grad", "numpy", "(1, n)"],
)
def test_one_gradient_for_one_index_in_every_form(form):
    first, second = twins()
    g = gradients(seed=3)[1]
    given = {
        "row of a matrix": gradients(seed=3)[1],
        "negative view": torch.complex(g, -g).conj().imag,
        "strided": torch.stack([g, g], dim=1)[:, 0],
        "requires_grad": g.clone().requires_grad_(),
        "numpy": g.numpy(),
        "(1, n)": g[None],
    }[form]
    assert torch.equal(second.calculate_gradient(1, given), first.calculate_gradient([1], [g]))


LOSS_FORMS = {
    "list": [1.5, 2, 0.25],
    "tuple": (1.5, 2.0, 0.25),
    "tensor": torch.tensor([1.5, 2.0, 0.25]),
    "requires_grad": torch.tensor([1.5, 2.0, 0.25], requires_grad=True),
    "ndarray": np.array([1.5, 2.0, 0.25]),
    "0-d tensors": [torch.tensor(v, requires_grad=True) for v in (1.5, 2.0, 0.25)],
    "(1,) tensors": [torch.tensor([v]) for v in (1.5, 2.0, 0.25)],
    "numpy scalars": [np.float32(1.5), np.int64(2), np.float64(0.25)],
}


@pytest.mark.parametrize("form", LOSS_FORMS)
@pytest.mark.parametrize("call", ["indexes", "grads alone", "keyword"])
def test_every_form_of_losses_is_recorded_as_plain_numbers(form, call, where):
    recorder = LatestLossRecorder(M)
    with PseudoMomentumOperator(M, loss_recorder=recorder, **where) as operator:
        losses = LOSS_FORMS[form]
        if call == "indexes":
            operator.calculate_gradient([0, 1, 2], gradients(), losses)
        elif call == "grads alone":
            operator.calculate_gradient(gradients(), losses)
        else:
            operator.calculate_gradient(grads=gradients(), losses=losses)
        assert recorder.current_losses == [1.5, 2.0, 0.25]
        assert all(type(value) is float for value in recorder.current_losses)


@pytest.mark.parametrize("loss", [2.5, np.float64(2.5), torch.tensor(2.5), torch.tensor([2.5])])
def test_one_loss_may_be_a_number_or_a_tensor_of_one(loss):
    recorder = LatestLossRecorder(M)
    operator = PseudoMomentumOperator(num_vector=M, loss_recorder=recorder)
    operator.calculate_gradient(1, gradients()[1], loss)
    assert recorder.current_losses == [0.0, 2.5, 0.0] and recorder.seen == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_results_have_the_inputs_type_also_in_warm_up(dtype, where):
    with PseudoMomentumOperator(M, **where) as operator:
        for index in range(M):
            update = operator.calculate_gradient(index, gradients(dtype)[index])
            assert update.dtype is dtype and update.device.type == "cpu"
            assert update.shape == (N,) and bool(update.any()) == (index == M - 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_a_float32_session(dtype):
    half, single = PseudoMomentumOperator(M), PseudoMomentumOperator(M)
    for step in range(5):
        grads = gradients(dtype, seed=step)
        expected = single.calculate_gradient(grads.float()).to(dtype)
        assert torch.equal(half.calculate_gradient(grads), expected)


def test_losses_without_a_recorder_are_refused_before_state_moves(where):
    first, second = twins(where)
    with pytest.raises(InvalidArgumentError) as raised:
        first.calculate_gradient(0, gradients()[0], 1.0)
    assert raised.value.reason == "LOSSES_WITHOUT_RECORDER"
    same = [o.calculate_gradient(1, gradients(seed=9)[1]) for o in (first, second)]
    assert torch.equal(*same)
    first.close(), second.close()


def test_the_alias_and_the_name_exclude_each_other():
    assert PseudoMomentumOperator(num_vector=2).num_vectors == 2
    with pytest.raises(TypeError):
        PseudoMomentumOperator()
    with pytest.raises(TypeError):
        PseudoMomentumOperator(2, num_vector=2)


@pytest.mark.parametrize(
    "options",
    [
        {"num_vectors": 0},
        {"num_vectors": -1},
        {"num_vectors": 2, "beta_1": 1.0},
        {"num_vectors": 2, "beta_1": -0.1},
        {"num_vectors": 2, "beta_2": 1.5},
        {"num_vectors": 2, "beta_2": float("nan")},
        {"num_vectors": 2, "loss_recorder": LatestLossRecorder(3)},
        {"num_vectors": 2, "max_vectors_per_step": 3},
    ],
)
def test_options_are_checked_by_the_constructor(options):
    with pytest.raises(ValueError):
        PseudoMomentumOperator(**options)


def test_wrong_parts_are_refused_by_the_constructor():
    with pytest.raises(TypeError):
        PseudoMomentumOperator(2.0)
    with pytest.raises(TypeError):
        PseudoMomentumOperator(2, gradient_operator="ConFIG")
    with pytest.raises(TypeError):
        PseudoMomentumOperator(2, loss_recorder=[])
