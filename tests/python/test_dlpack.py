"""Gradients of other libraries, by DLPack: types, devices, strides, ownership."""

import gc
import weakref

import numpy as np
import pytest
import torch

from concord._inputs import parse_gradients
from concord.errors import InvalidArgumentError
from concord.grad_operator import ConFIGOperator
from concord.loss_recorder import LatestLossRecorder
from concord.momentum_operator import PseudoMomentumOperator

M, N = 3, 97


class Owner(np.ndarray):
    """Memory that a weak reference can be kept on."""


class Array:
    """An array of some library that Concord has never heard of."""

    def __init__(self, values):
        self.values = values

    def __dlpack__(self, **options):
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.values.__dlpack_device__()


class Elsewhere(Array):
    """On a ROCm device, as far as it tells."""

    def __dlpack_device__(self):
        return (10, 0)

    def __dlpack__(self, **options):
        raise BufferError("a ROCm device's memory stays there")


def gradients(seed=0, k=M, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal((k, N)).astype(dtype)


def twins(**options):
    pair = [PseudoMomentumOperator(M, server="", **options) for _ in range(2)]
    for operator in pair:
        operator.calculate_gradient(list(torch.from_numpy(gradients())))
    return pair


def strided(grads):
    wide = np.zeros((len(grads), 2 * N), grads.dtype)
    wide[:, ::2] = grads
    return wide[:, ::2]


def read_only(grads):
    grads = grads.copy()
    grads.flags.writeable = False
    return grads


FORMS = {
    "list": lambda g: [Array(row) for row in g],
    "tuple": lambda g: tuple(Array(row) for row in g),
    "stacked": Array,
    "strided rows": lambda g: [Array(row) for row in strided(g)],
    "stacked, strided": lambda g: Array(strided(g)),
    "transposed": lambda g: Array(np.asfortranarray(g)),
    "read-only": lambda g: Array(read_only(g)),
    "beside tensors": lambda g: [torch.from_numpy(g[0]), Array(g[1]), g[2]],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("call", ["indexes", "grads alone"])
def test_every_form_means_the_same_as_tensors(form, call):
    first, second = twins()
    grads = gradients(seed=2)
    kept = grads.copy()
    expected = first.calculate_gradient([0, 1, 2], list(torch.from_numpy(grads)))
    arguments = ([0, 1, 2],) if call == "indexes" else ()
    found = second.calculate_gradient(*arguments, FORMS[form](grads))
    assert torch.equal(found, expected)
    assert np.array_equal(grads, kept), "an input was modified"


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_the_update_has_the_gradients_own_type(dtype):
    grads = torch.from_numpy(gradients()).to(getattr(torch, dtype))
    expected = ConFIGOperator().calculate_gradient(grads)
    found = ConFIGOperator().calculate_gradient([Array(row) for row in grads])
    assert found.dtype is getattr(torch, dtype)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("where", ["tcp", "shared"], indirect=True)
def test_a_server_gets_them_too(where):
    with PseudoMomentumOperator(M, **where) as operator, PseudoMomentumOperator(M) as twin:
        for step in range(3):
            grads = gradients(step)
            found = operator.calculate_gradient([Array(row) for row in grads])
            assert torch.equal(found, twin.calculate_gradient(list(grads)))


@pytest.mark.parametrize("dtype", ["int32", "bool", "complex64", "float8_e4m3fn"])
def test_other_types_are_refused_by_name(dtype):
    operator = PseudoMomentumOperator(1)
    array = Array(torch.ones(N).to(getattr(torch, dtype)))
    with pytest.raises(TypeError, match=f"grads must be float32, .*, not torch.{dtype}"):
        operator.calculate_gradient(0, array)


@pytest.mark.parametrize("array", [Elsewhere(np.ones(N)), Array(np.ones(N)[::-1])])
def test_what_torch_cannot_read_where_it_lies_is_refused(array):
    operator = PseudoMomentumOperator(1)
    with pytest.raises(TypeError, match=r"grads.* cannot be taken by DLPack: .*accepted:"):
        operator.calculate_gradient(0, array)
    assert operator.last_step is None


def test_types_and_lengths_are_checked_as_those_of_tensors():
    operator = PseudoMomentumOperator(2)
    with pytest.raises(InvalidArgumentError, match=r"DATA_TYPE_MISMATCH: grads\[1\]"):
        operator.calculate_gradient([Array(np.ones(N)), Array(np.ones(N, np.float32))])
    with pytest.raises(InvalidArgumentError, match=r"LENGTH_MISMATCH: grads\[1\]"):
        operator.calculate_gradient([Array(np.ones(N)), Array(np.ones(N + 1))])


def test_contiguous_ones_are_read_where_they_lie():
    grads = gradients()
    rows = parse_gradients([Array(row) for row in grads], M).rows
    assert [row.data_ptr() for row in rows] == [row.ctypes.data for row in grads]


def test_nothing_is_kept_of_them_after_a_step():
    operator = PseudoMomentumOperator(1)
    memory = gradients(k=1)[0].view(Owner)
    alive = weakref.ref(memory)
    update = operator.calculate_gradient(0, Array(memory))
    del memory
    gc.collect()
    assert alive() is None
    assert update.shape == (N,)


def test_an_update_taken_by_dlpack_keeps_its_memory():
    operator = PseudoMomentumOperator(1)
    taken, copies = [], []
    for step in range(6):
        update = operator.calculate_gradient(0, Array(gradients(step, k=1)[0]))
        taken.append(np.from_dlpack(update))
        assert taken[-1].ctypes.data == update.data_ptr(), "copied"
        copies.append(taken[-1].copy())
        del update
        gc.collect()
    for array, copy in zip(taken, copies):
        assert np.array_equal(array, copy)


def test_indexes_and_losses_come_so_as_well():
    recorder = LatestLossRecorder(M)
    operator = PseudoMomentumOperator(M, loss_recorder=recorder)
    grads, losses = Array(gradients()[:2]), Array(np.array([1.5, 0.25]))
    operator.calculate_gradient(Array(np.array([2, 0])), grads, losses)
    assert recorder.current_losses == [0.25, 0.0, 1.5]
    operator.calculate_gradient([1], [Array(gradients()[0])], [Array(np.array(3.0))])
    assert recorder.current_losses == [0.25, 3.0, 1.5]
