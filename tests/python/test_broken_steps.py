"""A step that is refused changes nothing: the next one equals an undisturbed twin's."""

import pytest
import torch

from concord.errors import InvalidArgumentError
from concord.loss_recorder import LatestLossRecorder
from concord.momentum_operator import PseudoMomentumOperator

M, N = 3, 61
G = torch.randn(M, N, generator=torch.Generator().manual_seed(0))
NAN = G[1].clone()
NAN[N - 1] = float("nan")
INF = G[1].clone()
INF[0] = float("inf")

# name: arguments, exception, reason, part of the message
BROKEN = {
    "too short": ((1, G[1][:-1]), ValueError, "LENGTH_MISMATCH", "60"),
    "too long": ((1, torch.zeros(N + 1)), ValueError, "LENGTH_MISMATCH", "62"),
    "empty": ((1, torch.zeros(0)), ValueError, "LENGTH_MISMATCH", "0"),
    "lengths differ": (([0, 1], [G[0], G[1][:5]]), ValueError, "LENGTH_MISMATCH", "5"),
    "fewer gradients than indexes": (([0, 1], [G[0]]), ValueError, "LENGTH_MISMATCH", "1"),
    "more gradients than indexes": (([0], [G[0], G[1]]), ValueError, "LENGTH_MISMATCH", "2"),
    "all losses, too few rows": ((G[:2],), ValueError, "LENGTH_MISMATCH", "2"),
    "3-d": (([0], G[None]), ValueError, "LENGTH_MISMATCH", "(1, 3, 61)"),
    "index too large": ((M, G[1]), ValueError, "INDEX_OUT_OF_RANGE", "3"),
    "index negative": ((-1, G[1]), ValueError, "INDEX_OUT_OF_RANGE", "-1"),
    "index huge": ((2**40, G[1]), ValueError, "INDEX_OUT_OF_RANGE", str(2**40)),
    "index in a list": (([0, 7], G[:2]), ValueError, "INDEX_OUT_OF_RANGE", "7"),
    "duplicate index": (([1, 1], G[:2]), ValueError, "DUPLICATE_INDEX", "1"),
    "no index": (([], []), ValueError, "EMPTY_ROUND", "[]"),
    "NaN": ((1, NAN), ValueError, "NON_FINITE", "[60]"),
    "Inf": ((1, INF), ValueError, "NON_FINITE", "[0]"),
    "NaN in the second": (([0, 1], [G[0], NAN]), ValueError, "NON_FINITE", "1[60]"),
    "too large to square": ((1, torch.full((N,), 1e30)), ValueError, "OUT_OF_SCALE", ""),
    "another precision": ((1, G[1].double()), ValueError, "DATA_TYPE_MISMATCH", "float64"),
    "mixed precision": (([0, 1], [G[0], G[1].double()]), ValueError, "DATA_TYPE_MISMATCH", "64"),
    "integers": ((1, torch.ones(N, dtype=torch.int64)), TypeError, None, "int64"),
    "complex": ((1, G[1].to(torch.complex64)), TypeError, None, "complex64"),
    "booleans as index": ((True, G[1]), TypeError, None, "bool"),
    "float as index": ((1.0, G[1]), TypeError, None, "float"),
    "text as index": (("1", G[1]), TypeError, None, "str"),
    "grads missing": ((1,), TypeError, None, "grads"),
    "grads None in a list": (([0], [None]), TypeError, None, "NoneType"),
    "loss NaN": ((1, G[1], float("nan")), ValueError, "NON_FINITE", "nan"),
    "loss tensor with Inf": (([0, 1], G[:2], torch.tensor([1.0, float("inf")])), ValueError,
                             "NON_FINITE", "inf"),
    "too few losses": (([0, 1], G[:2], [1.0]), ValueError, "LENGTH_MISMATCH", "1"),
    "too many losses": ((1, G[1], [1.0, 2.0]), ValueError, "LENGTH_MISMATCH", "2"),
    "loss is text": ((1, G[1], "1"), TypeError, None, "str"),
    "good loss, NaN gradient": ((1, NAN, 5.0), ValueError, "NON_FINITE", "[60]"),
}  # fmt: skip


def check(error, reason, text):
    if reason is not None:
        assert isinstance(error, InvalidArgumentError)
        assert error.reason == reason
        assert error.field
    assert text in str(error)


def operator(where):
    made = PseudoMomentumOperator(M, loss_recorder=LatestLossRecorder(M), **where)
    made.calculate_gradient(range(M), G, [1.0, 2.0, 3.0])
    return made


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_step_changes_nothing(case, where):
    arguments, exception, reason, text = BROKEN[case]
    with operator(where) as disturbed, operator(where) as twin:
        with pytest.raises(exception) as raised:
            disturbed.calculate_gradient(*arguments)
        check(raised.value, reason, text)
        assert disturbed.loss_recorder.current_losses == [1.0, 2.0, 3.0]
        for step in range(3):
            grads = torch.randn(M, N, generator=torch.Generator().manual_seed(step))
            arguments = ([step], grads[step], [0.5])
            found, expected = (o.calculate_gradient(*arguments) for o in (disturbed, twin))
            assert torch.equal(found, expected)
            recorders = [o.loss_recorder.current_losses for o in (disturbed, twin)]
            assert recorders[0] == recorders[1]


# One vector after another takes a shorter way through the operator.
@pytest.mark.parametrize("case", [case for case in BROKEN if len(BROKEN[case][0]) == 2])
def test_a_broken_step_between_plain_ones_changes_nothing(case, where):
    arguments, exception, reason, text = BROKEN[case]
    with (
        PseudoMomentumOperator(M, **where) as disturbed,
        PseudoMomentumOperator(M, **where) as twin,
    ):
        for step in range(-M, 6):
            gradient = torch.randn(N, generator=torch.Generator().manual_seed(step + M))
            found, expected = (o.calculate_gradient(step % M, gradient) for o in (disturbed, twin))
            assert torch.equal(found, expected)
            if step < 0:  # What is too large to square shows once all losses are seen.
                continue
            with pytest.raises(exception) as raised:
                disturbed.calculate_gradient(*arguments)
            check(raised.value, reason, text)


@pytest.mark.parametrize("first", [(0, NAN), (5, G[0]), (0, G[0], 1.0)])
def test_a_first_step_that_is_refused_leaves_the_operator_as_new(first, where):
    with PseudoMomentumOperator(M, **where) as operator:
        with pytest.raises(ValueError):
            operator.calculate_gradient(*first)
        # Another length and precision than the refused step's.
        update = operator.calculate_gradient(torch.ones(M, 5, dtype=torch.float64))
        assert update.shape == (5,) and update.dtype is torch.float64
