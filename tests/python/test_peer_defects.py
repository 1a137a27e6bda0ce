"""Inputs on which a peer, as installed, is wrong or imprecise: the right answer beside it.

The statement about the peer is a test too, so that a mended peer is noticed. ConFIG's of
conflictfree are in test_right_where_peer_is_wrong.py.
"""

import warnings

import conflictfree.grad_operator as conflictfree
import conflictfree.length_model as conflictfree_length
import conflictfree.momentum_operator as conflictfree_momentum
import numpy as np
import pytest
import torch
import torchjd.aggregation as torchjd

import exact
import matrices
from concord import length_model, methods
from concord.errors import InvalidArgumentError
from concord.grad_operator import ConFIGOperator
from concord.loss_recorder import MomentumLossRecorder
from concord.momentum_operator import PseudoMomentumOperator, SeparateMomentumOperator
from oracle import cosines

G = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)


@pytest.fixture(autouse=True)
def _peers_as_they_run(float64_default):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cvxpy's, of how torchjd states its programs.
        yield


def rows(*values):
    return torch.tensor(values, dtype=torch.float64)


def random_rows(seed, m, n=20):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(m, n, generator=generator, dtype=torch.float64)


def close(found, expected, tolerance=1e-12):
    return exact.distance(np.asarray(found), np.asarray(expected)) <= tolerance


def last(operator):
    return operator._backend.last_step()


# --- ConFIG.


def test_opposing_rows_in_float32_have_no_direction():
    wrong = 0
    for seed in range(60):
        a = random_rows(seed, 1, 3)[0].float()
        opposing = torch.stack([a, -3 * a])
        # Where rounding hides the opposition, which depends on the processor, too:
        # against loss 1, and twice as long.
        theirs = torchjd.ConFIG()(opposing)
        wrong += bool(theirs @ a < 0 and theirs.norm() > 1.5 * a.norm())
        operator = ConFIGOperator()
        assert not operator.calculate_gradient(opposing).any()
        assert last(operator).pareto_stationary and not last(operator).conflict_free
    assert wrong > 5


@pytest.mark.parametrize("kind", ["random", "opposing to 1e-2"])
def test_a_million_columns_in_float32_keep_their_equal_cosines(kind):
    grads = random_rows(0, 3, 10**6).float()
    if kind == "opposing to 1e-2":
        grads[1] = 1e-2 * grads[1] - grads[0]
    theirs = cosines(torchjd.ConFIG()(grads), grads)
    found = cosines(ConFIGOperator().calculate_gradient(grads), grads)
    assert np.ptp(theirs) > (0.5 if kind == "opposing to 1e-2" else 5e-6)
    assert np.ptp(found) <= 1e-6 and found.min() > 0


def test_exact_duplicates_have_the_direction_of_one_and_the_length_of_all():
    a, b = random_rows(3, 2)
    once = ConFIGOperator().calculate_gradient(torch.stack([a, b]))
    found = ConFIGOperator().calculate_gradient(torch.stack([a, b, b]))
    projections = torch.stack([a, b, b]) @ once / once.norm()
    assert close(found, once / once.norm() * projections.sum(), 1e-10)


# --- IMTL-G.


def test_parallel_gradients_do_not_depend_on_their_order():
    pair = torch.stack([G, 2 * G])
    theirs = [conflictfree.IMTLGOperator().calculate_gradient(p) for p in (pair, pair.flip(0))]
    assert close(theirs[0], G) and close(theirs[1], 2 * G)
    # (n_2, n_1) / (n_1 + n_2): what it tends to as two rows turn to one direction.
    for p in (pair, pair.flip(0)):
        assert close(methods.IMTLGOperator().calculate_gradient(p), 4 / 3 * G)
    turned = rows([1, 1e-4, 0], [2, 0, 0])
    tended = methods.IMTLGOperator().calculate_gradient(turned)
    assert close(tended, conflictfree.IMTLGOperator().calculate_gradient(turned), 1e-6)
    assert close(tended, rows(4 / 3, 0, 0), 1e-4)


def test_one_gradient_is_its_own_answer():
    with pytest.raises(RuntimeError):
        conflictfree.IMTLGOperator().calculate_gradient(G[None])
    assert close(methods.IMTLGOperator().calculate_gradient(G[None]), G)


def test_opposing_gradients_have_no_equal_positive_projections():
    opposing = torch.stack([G, -3 * G])
    assert close(torchjd.IMTLG()(opposing), -5 * G, 1e-6)
    operator = methods.IMTLGOperator()
    assert not operator.calculate_gradient(opposing).any()
    assert last(operator).pareto_stationary


def test_scales_of_rows_do_not_drop_one():
    scaled = random_rows(0, 3, 10) * rows([1e-6], [1.0], [1e6])
    theirs = cosines(torchjd.IMTLG()(scaled), scaled)
    found = cosines(methods.IMTLGOperator().calculate_gradient(scaled), scaled)
    assert np.ptp(theirs) > 0.1
    assert np.ptp(found) <= 1e-12


def test_a_direction_against_every_loss_is_not_called_conflict_free():
    grads = rows([1, 0, 0], [0, 1, 0], [0.003, 0.003, 0.001])
    operator = methods.IMTLGOperator()
    found = cosines(operator.calculate_gradient(grads), grads)
    # As IMTL-G is defined: torchjd has the same, without a word.
    assert np.allclose(found, cosines(torchjd.IMTLG()(grads), grads))
    assert np.allclose(found, -0.46, atol=0.01)
    assert not last(operator).conflict_free


def test_two_losses_keep_the_digits_that_a_pseudo_inverse_loses():
    wrong = 0
    for seed in range(40):
        first, apart = random_rows(seed, 2, 5)
        grads = torch.stack([first + 3e-6 * apart, 2 * first])
        right = exact.imtlg(grads.numpy())
        wrong += not close(torchjd.IMTLG()(grads), right, 1e-7)
        assert close(methods.IMTLGOperator().calculate_gradient(grads), right)
    # Not all: it depends on the rounding of the processor, too.
    assert wrong > 20


# --- UPGrad, DualProj and CAGrad.

CONFLICT = rows([1, 0], [-0.5, 0.1])
SMALL = 1e-3  # |K| falls below torchjd's 1e-4.


@pytest.mark.parametrize(
    ("peer", "operator", "replaced"),
    [
        (torchjd.UPGrad(), methods.UPGradOperator(reg_eps=1e-4), "mean"),
        (torchjd.DualProj(), methods.DualProjOperator(reg_eps=1e-4), "mean"),
        (torchjd.CAGrad(0.5), methods.CAGradOperator(0.5), "zero"),
    ],
    ids=["UPGrad", "DualProj", "CAGrad"],
)
def test_small_gradients_are_combined_as_large_ones(peer, operator, replaced):
    large = operator.calculate_gradient(1e3 * CONFLICT)
    mean = CONFLICT.mean(dim=0)
    assert not close(large / 1e3, mean, 1e-2)
    # At that size the peer finds the same.
    assert close(peer(1e3 * CONFLICT), large, 1e-4)
    assert close(peer(SMALL * CONFLICT) / SMALL, mean if replaced == "mean" else 0 * mean)
    assert close(operator.calculate_gradient(SMALL * CONFLICT) / SMALL, large / 1e3)


def test_a_regularised_projection_conflicts_and_an_exact_one_does_not():
    grads = rows([1e-3, 0], [-1e3, 1e3])
    theirs = torchjd.DualProj()(grads)
    assert close(theirs, rows(-500, 500), 1e-5) and (grads @ theirs).min() < -0.1
    operator = methods.DualProjOperator()
    found = operator.calculate_gradient(grads)
    assert close(found, rows(0, 500))
    residual = exact.projection_residual(grads.numpy(), grads.mean(dim=0).numpy(), found.numpy())
    assert residual <= 1e-9
    # With torchjd's regularisation ours is torchjd's.
    assert close(methods.DualProjOperator(reg_eps=1e-4).calculate_gradient(grads), theirs)


def test_cagrad_has_no_duality_gap():
    worst = 0.0
    for seed in range(30):
        grads = random_rows(seed, 2 + seed % 6)
        gram = grads @ grads.T
        weights = torchjd.CAGrad(0.5).gramian_weighting(gram).numpy()
        operator = methods.CAGradOperator(0.5)
        found = operator.calculate_gradient(grads)
        coefficients = last(operator).coefficients.numpy()
        assert exact.cagrad_gap(grads.numpy(), coefficients, 0.5) <= 1e-12
        worst = max(worst, exact.distance(weights @ grads.numpy(), found.numpy()))
    assert 1e-5 < worst < 1e-2


# --- MGDA.


def test_mgda_is_the_shortest_vector_not_an_iterate_towards_it():
    errors = []
    for seed in range(60):
        grads = random_rows(seed, 2 + seed % 6).numpy()
        theirs = torchjd.MGDA()(torch.from_numpy(grads)).numpy()
        found = methods.MGDAOperator().calculate_gradient(grads)
        assert exact.mgda_gap(grads, found.numpy()) <= 1e-12
        assert exact.length(found.numpy()) <= exact.length(theirs) * (1 + 1e-12)
        errors.append(exact.distance(theirs, found.numpy()))
    assert np.median(errors) > 1e-3 and max(errors) > 0.1


# --- NashMTL and FairGrad.


def test_fairgrad_solves_its_equations_for_small_gradients():
    grads = rows([1e-5, 0], [0, 2e-5])
    assert close(torchjd.FairGrad(1.0)(grads), rows(0.005, 0.010), 0.05)
    operator = methods.FairGradOperator(1.0)
    assert close(operator.calculate_gradient(grads), rows(1, 1))
    assert exact.fair_residual(grads.numpy(), last(operator).coefficients.numpy()) <= 1e-12


def nash(grads):
    """Ours, whose equations are checked."""
    operator = methods.NashMTLOperator()
    found = operator.calculate_gradient(grads)
    assert exact.nash_residual(grads.numpy(), last(operator).coefficients.numpy()) <= 1e-12
    return found


def test_nashmtl_does_not_shrink_with_its_gradients():
    grads = random_rows(1, 3)
    assert close(torchjd.NashMTL(3)(grads), nash(grads), 1e-4)
    assert torchjd.NashMTL(3)(1e-4 * grads).norm() < 0.5
    assert close(nash(1e-4 * grads), nash(grads))
    unclipped = methods.NashMTLOperator(max_norm=0)
    for scale in (1, 1e-4):
        length = unclipped.calculate_gradient(scale * grads).norm()
        assert float(length) == pytest.approx(np.sqrt(3))


def test_nashmtl_drops_a_zero_row():
    grads = random_rows(1, 3)
    grads[1] = 0
    assert not close(torchjd.NashMTL(3)(grads), nash(grads), 0.1)
    assert close(nash(grads), nash(grads[[0, 2]]))


def test_nashmtl_of_one_row_is_its_unit_vector():
    with pytest.raises(ValueError):
        torchjd.NashMTL(1)(G[None])
    assert close(nash(G[None]), G / G.norm())


def test_nashmtl_of_zeros_is_zero():
    with pytest.raises(ValueError):
        torchjd.NashMTL(2)(torch.zeros(2, 3))
    assert not methods.NashMTLOperator().calculate_gradient(torch.zeros(2, 3)).any()


def test_nashmtl_is_right_on_a_random_matrix_that_torchjd_has_wrong():
    # Well-conditioned, 8 x 168, nothing special about it.
    grads = torch.from_numpy(matrices.cases()[7].rows)
    assert not close(torchjd.NashMTL(len(grads))(grads), nash(grads), 0.1)


# --- GradVac.


def test_gradvac_projects_small_gradients_as_large_ones():
    grads, small = rows([1, 0], [-1, 1]), 1e-5
    right = rows(0.5, 1.5)
    assert close(torchjd.GradVac()(grads), right, 1e-6)
    theirs = torchjd.GradVac()(small * grads) / small
    assert close(theirs, rows(0, 1), 0.02), "almost the plain sum"
    found = methods.GradVacOperator().calculate_gradient(small * grads) / small
    assert close(found, right)


def test_gradvac_stays_in_range_after_many_equal_pairs():
    equal, other = torch.stack([G, G]), rows([1, 2, 3], [3, -1, 0.5])
    peer, operator = torchjd.GradVac(), methods.GradVacOperator()
    for _ in range(60):
        peer(equal)
        assert close(operator.calculate_gradient(equal), 2 * G)
    # The peer divides by sqrt(1 - cosine^2); ours aims at a cosine of 0.999 at most.
    assert peer(other).norm() > 1e4 * other.norm()
    assert operator.calculate_gradient(other).norm() < 100 * other.norm()


# --- Krum and AlignedMTL.


def test_krum_sums_plain_or_squared_distances_as_asked():
    # The fourth row has two others close by and one far away, the second three at a
    # middle distance: 11.9 and 13.2 in sum, 67 and 59 squared, as the paper sums them.
    grads = rows([6, 7], [5, 2], [9, 0], [8, 0], [7, 11])
    assert torch.equal(torchjd.Krum(0)(grads), grads[3])
    assert torch.equal(methods.KrumOperator().calculate_gradient(grads), grads[3])
    assert torch.equal(methods.KrumOperator(squared=True).calculate_gradient(grads), grads[1])


def test_the_rank_of_alignedmtl_does_not_follow_the_data_type():
    grads = rows([1, 0, 0], [1, 1e-4, 0], [0, 0, 1]).float()
    right = exact.aligned_mtl(grads.double().numpy())
    # In float32 a rank is lost, and the smallest of the others sets the length.
    assert torchjd.AlignedMTL()(grads).norm() > 1e3 * np.linalg.norm(right)
    assert close(torchjd.AlignedMTL()(grads.double()), right, 1e-6)
    operator = methods.AlignedMTLOperator()
    for dtype in (torch.float32, torch.float64):
        assert close(operator.calculate_gradient(grads.to(dtype)), right, 3e-7)
        assert last(operator).rank == 3


# --- Momentum: conflictfree's state after what ours refuses (test_broken_steps.py has all
# that ours refuses, and that it changes nothing).


class Momentum:
    """conflictfree's operator and ours, after one step of both losses."""

    def __init__(self):
        self.peer = conflictfree_momentum.PseudoMomentumOperator(2)
        self.ours = PseudoMomentumOperator(2)
        self.grads = random_rows(5, 2)
        for operator in (self.peer, self.ours):
            operator.calculate_gradient([0, 1], list(self.grads))

    def refused(self, indexes, grads):
        """Ours raises, and goes on as an operator that never saw it."""
        with pytest.raises(InvalidArgumentError):
            self.ours.calculate_gradient(indexes, grads)
        twin = Momentum().ours
        found, expected = (o.calculate_gradient([1], [self.grads[0]]) for o in (self.ours, twin))
        assert torch.equal(found, expected)


def test_a_short_list_of_gradients_does_not_move_the_counters():
    pair = Momentum()
    with pytest.raises(IndexError):
        pair.peer.calculate_gradient([0, 1], [pair.grads[0]])
    assert pair.peer.t_grads == [2, 2]
    pair.refused([0, 1], [pair.grads[0]])


def test_a_negative_index_is_not_the_last_loss():
    pair = Momentum()
    pair.peer.calculate_gradient(-1, pair.grads[0])
    assert pair.peer.t_grads == [1, 2]
    pair.refused(-1, pair.grads[0])


def test_an_index_counts_once_a_step():
    pair = Momentum()
    pair.peer.calculate_gradient([1, 1], list(pair.grads))
    assert pair.peer.t_grads == [1, 3]
    pair.refused([1, 1], list(pair.grads))


def test_a_nan_does_not_stay_in_the_momentum():
    pair = Momentum()
    broken = torch.full((20,), float("nan"))
    pair.peer.calculate_gradient([1], [broken])
    for _ in range(3):
        assert pair.peer.calculate_gradient([0, 1], list(pair.grads)).isnan().all()
    pair.refused([1], [broken])


# --- What never runs there


LENGTHS = ["Minimum", "Maximum", "HarmonicAverage", "ArithmeticAverage", "GeometricAverage"]


@pytest.mark.parametrize("name", LENGTHS)
def test_a_tracked_length_does_not_count_a_zero_row(name):
    rows = random_rows(6, 3)
    with_zero = torch.cat([rows, torch.zeros(1, rows.shape[1])]).to(rows.dtype)
    theirs, ours = (getattr(m, f"Track{name}")() for m in (conflictfree_length, length_model))
    peer = conflictfree.ConFIGOperator(length_model=theirs)
    assert peer.calculate_gradient(with_zero).isnan().all()
    operator = ConFIGOperator(length_model=ours)
    expected = peer.calculate_gradient(rows)
    assert close(operator.calculate_gradient(rows), expected, 1e-9)
    assert close(operator.calculate_gradient(with_zero), expected, 1e-9)


def test_tracking_one_loss_is_the_peers_and_zero_where_that_loss_is():
    rows = random_rows(7, 3)
    peer = conflictfree.ConFIGOperator(length_model=conflictfree_length.TrackSpecific(1))
    operator = ConFIGOperator(length_model=length_model.TrackSpecific(1))
    expected = peer.calculate_gradient(rows)
    assert close(operator.calculate_gradient(rows), expected, 1e-9)
    rows[1] = 0
    assert not operator.calculate_gradient(rows).any()
    assert last(operator).pareto_stationary


def test_separate_momentum_can_be_made_and_stepped():
    with pytest.raises(TypeError):
        conflictfree_momentum.SeparateMomentumOperator(2)
    operator = SeparateMomentumOperator(2)
    # The first step of rescaled momenta is the gradients' signs.
    grads = random_rows(8, 2)
    expected = ConFIGOperator().calculate_gradient(grads.sign())
    assert close(operator.calculate_gradient(grads), expected, 1e-5)


def test_the_momentum_recorder_records():
    with pytest.raises(TypeError):
        conflictfree_momentum.MomentumLossRecorder(2).record_all_losses([1.0, 2.0])
    assert MomentumLossRecorder(2).record_all_losses([1.0, 2.0]) == pytest.approx([1.0, 2.0])
