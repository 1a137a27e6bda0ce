"""concord.aggregation: torchjd's names, signatures and values; the engine's guarantees."""

import copy
import inspect
import pickle
import sys

import pytest
import torch
import torchjd.aggregation as peer

from concord import aggregation
from concord._embedded import EmbeddedBackend
from concord.aggregation import _torchjd
from concord.errors import InvalidArgumentError

J = torch.tensor(
    [[2, -1, 0.5, 0, 1], [-1, 1.5, 0.25, 1, -0.5], [0.5, -2, 1, 0.75, 0]], dtype=torch.float64
)
PREFERENCE = torch.tensor([1, 2, 0.5], dtype=torch.float64)

CASES = {
    "Mean": (),
    "Sum": (),
    "Constant": (PREFERENCE,),
    "UPGrad": (),
    "UPGrad, preference": (PREFERENCE,),
    "DualProj": (),
    "DualProj, preference": (PREFERENCE,),
    "MGDA": (1e-12, 10**5),
    "CAGrad": (0.5,),
    "NashMTL": (3,),
    "NashMTL, shorter": (3, 0.3),
    "FairGrad": (1.0,),
    "FairGrad, alpha 2": (2.0,),
    "AlignedMTL": (),
    "AlignedMTL, preference, rmse": (PREFERENCE, "rmse"),
    "AlignedMTL, median": (None, "median"),
    "ConFIG": (),
    "ConFIG, preference": (PREFERENCE,),
    "IMTLG": (),
    "PCGrad": (),
    "GradVac": (),
    "Krum": (0, 2),
}

# What torchjd 0.18 gives for J where it needs a solver that is not installed for the
# tests (quadprog, clarabel, ecos, scipy).
RECORDED = {
    "UPGrad": [0.4299244559, -0.0494050288, 0.8236196213, 1.0703570674, 0.1244822411],
    "UPGrad, preference": [1.5001708643, 1.197633634, 2.5240616958, 3.6265182756, 0.5822055112],
    "DualProj": [0.3677495597, -0.3016243396, 0.6163959434, 0.7155837736, 0.1005414465],
    "DualProj, preference": [0.25, 1.0, 1.5, 2.375, 0.0],
    "CAGrad": [0.2426868746, -0.114030316, 0.6476616246, 0.8406464718, 0.0380101023],
    "NashMTL": [0.2754380483, -0.0099761404, 0.5783026745, 0.7642739131, 0.0740659212],
    "NashMTL, shorter": [0.0826314145, -0.0029928421, 0.1734908023, 0.2292821739, 0.0222197764],
    "FairGrad": [0.4770727009, -0.0172791941, 1.0016496152, 1.3237612447, 0.1282859416],
    "FairGrad, alpha 2": [0.4284699601, 0.1091071296, 0.8567456028, 1.1632807639, 0.1302411146],
}
# torchjd's CAGrad stops at its solver's tolerance.
TOLERANCE = {"CAGrad": 1e-4}

SCALING = ["UPGrad", "DualProj", "MGDA", "CAGrad", "ConFIG", "IMTLG", "AlignedMTL", "PCGrad"]
SCALING += ["GradVac", "Krum", "Mean"]

# Keywords that torchjd does not have: the choices its methods make by chance (the
# order), and the paper's distances.
EXTRA = {
    "PCGrad": {"order", "seed"},
    "GradVac": {"order", "seed"},
    "Krum": {"squared"},
}
# What torchjd keeps private, or in another module.
OURS_ONLY = {"ConFIGWeighting", "NashMTLWeighting", "QuadprogProjector", "Stateful"}


def make(case, module=aggregation):
    return getattr(module, case.split(",")[0])(*CASES[case])


def weighting_of(aggregator):
    """The public weighting, and what it takes for `matrix`."""
    if hasattr(aggregator, "gramian_weighting"):
        return aggregator.gramian_weighting, lambda matrix: matrix @ matrix.T
    return aggregator.weighting, lambda matrix: matrix


def random_matrix(seed, m=3, n=40, dtype=torch.float64):
    return torch.randn(m, n, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def assert_close(value, expected, tolerance=1e-12):
    assert value.shape == expected.shape
    assert float((value - expected).abs().max()) <= tolerance * float(expected.abs().max())


@pytest.fixture
def ascending(monkeypatch):
    """torchjd's random orders, made ours."""
    monkeypatch.setattr(torch, "randperm", lambda count: torch.arange(count))


# ---- Names and signatures


def test_every_name_of_torchjd_is_served_or_says_why_not():
    for name in peer.__all__:
        if name not in aggregation.__all__:
            with pytest.raises(AttributeError, match=f"does not serve {name}: "):
                getattr(aggregation, name)
    assert set(aggregation.__all__) - set(peer.__all__) == OURS_ONLY


def test_a_name_that_nobody_has_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'UpGrad'"):
        _ = aggregation.UpGrad


def parameters(cls):
    found = inspect.signature(cls).parameters.values()
    # A default that is a function is another module's own: its name says what it does.
    return [(p.name, p.kind, getattr(p.default, "__name__", p.default)) for p in found]


@pytest.mark.parametrize("name", sorted(set(aggregation.__all__) - OURS_ONLY))
def test_signatures_are_torchjds(name):
    extra = EXTRA.get(name.replace("Weighting", ""), set())
    ours = parameters(getattr(aggregation, name))
    assert [p for p in ours if p[0] not in extra] == parameters(getattr(peer, name))
    assert {p[0] for p in ours if p[1] is inspect.Parameter.KEYWORD_ONLY} == extra


@pytest.mark.parametrize("case", CASES)
def test_representations_are_torchjds(case):
    arguments = [*map(repr, CASES[case])]
    ours = make(case)
    if case in RECORDED:
        assert repr(ours).startswith(f"{type(ours).__name__}(")
        assert not arguments or arguments[0] in repr(ours)
    else:
        theirs = make(case, peer)
        assert (repr(ours), str(ours)) == (repr(theirs), str(theirs))


def test_a_representation_shows_an_extra_option_that_is_set():
    assert repr(aggregation.PCGrad(seed=0)) == "PCGrad(seed=0)"
    assert repr(aggregation.Krum(1, squared=True)) == (
        "Krum(n_byzantine=1, n_selected=1, squared=True)"
    )
    assert repr(aggregation.UPGrad()) == (
        "UPGrad(pref_vector=None, projector=QuadprogProjector(norm_eps=0.0001, reg_eps=0.0001))"
    )
    assert str(aggregation.CAGrad(1.0)) == "CAGrad1"
    assert str(aggregation.UPGrad(PREFERENCE)) == "UPGrad([1., 2., 0.5])"


# ---- Values


@pytest.mark.parametrize("case", CASES)
def test_values_are_torchjds(case, ascending):
    if case in RECORDED:
        expected = torch.tensor(RECORDED[case], dtype=torch.float64)
    else:
        expected = make(case, peer)(J)
    assert_close(make(case)(J), expected, TOLERANCE.get(case, 1e-6))


def test_gradvac_follows_torchjd_over_many_calls(ascending):
    ours, theirs = aggregation.GradVac(0.3), peer.GradVac(0.3)
    for call in range(6):
        matrix = random_matrix(call, 4)
        assert_close(ours(matrix), theirs(matrix), 1e-6)


@pytest.mark.parametrize("case", CASES)
def test_weights_reproduce_the_aggregation(case):
    weighting, stat = weighting_of(make(case))
    for matrix in (J, random_matrix(3)):
        # A new one for every matrix: some remember.
        weights = copy.deepcopy(weighting)(stat(matrix))
        assert weights.shape == (3,)
        assert_close(weights @ matrix, make(case)(matrix))


@pytest.mark.parametrize("scale", [1e-3, 1e-6])
@pytest.mark.parametrize("case", SCALING)
def test_a_small_gradient_is_not_set_to_zero(case, scale):
    expected = scale * make(case)(J)
    assert bool(expected.any())
    assert_close(make(case)(scale * J), expected, 1e-9)
    weighting, stat = weighting_of(make(case))
    assert_close(weighting(stat(scale * J)) @ (scale * J), expected, 1e-9)


@pytest.mark.parametrize("scale", [1e-3, 1e-6])
@pytest.mark.parametrize("case", ["NashMTL", "FairGrad"])
def test_fair_methods_do_not_depend_on_the_scale(case, scale):
    assert_close(make(case)(scale * J), make(case)(J), 1e-9)


def test_an_exact_projection_conflicts_with_no_row():
    rows = torch.tensor([[1e-3, 0], [-1e3, 1e3]], dtype=torch.float64)
    exact = aggregation.DualProj(projector=aggregation.QuadprogProjector(reg_eps=0))
    assert_close(exact(rows), torch.tensor([0.0, 500], dtype=torch.float64))
    assert float((rows @ aggregation.DualProj()(rows)).min()) < 0  # Regularised, as torchjd's.


def test_rows_that_oppose_each_other_give_zero():
    row = random_matrix(0, 1, dtype=torch.float32)
    for name in ("UPGrad", "MGDA", "ConFIG"):
        assert not getattr(aggregation, name)()(torch.cat([row, -row])).any()


def test_krum_can_have_the_papers_distances():
    rows = torch.tensor([[0], [0.1], [3.1], [98.4], [100], [101.6]], dtype=torch.float64)
    assert torch.equal(aggregation.Krum(2)(rows), rows[1])
    assert torch.equal(aggregation.Krum(2, squared=True)(rows), rows[4])


def test_an_order_is_accepted():
    orders = [aggregation.PCGrad(order=order)(J) for order in ([0, 1, 2], [2, 1, 0])]
    assert torch.equal(orders[0], aggregation.PCGrad()(J))
    assert not torch.equal(*orders)


# ---- Types, devices, shapes


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("case", ["UPGrad", "Mean", "GradVac", "ConFIG", "Krum"])
def test_the_type_is_the_inputs(case, dtype):
    result = make(case)(J.to(dtype))
    assert result.dtype is dtype
    eps = torch.finfo(dtype).eps
    assert_close(result.double(), make(case)(J.to(dtype).double()), 2 * eps)
    weighting, stat = weighting_of(make(case))
    assert weighting(stat(J.to(dtype))).dtype is dtype


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("case", CASES)
def test_the_device_is_the_inputs(case):
    result = make(case)(J.cuda())
    assert result.is_cuda
    assert_close(result.cpu(), make(case)(J))
    weighting, stat = weighting_of(make(case))
    assert weighting(stat(J.cuda())).is_cuda


@pytest.mark.parametrize("case", [c for c in CASES if c != "Krum"])
def test_a_matrix_without_columns_gives_a_vector_without_entries(case):
    assert make(case)(J[:, :0]).shape == (0,)


@pytest.mark.parametrize("case", [c for c in CASES if "preference" not in c])
def test_a_matrix_without_rows_gives_zeros(case):
    if case.split(",")[0] in ("Constant", "Krum", "NashMTL"):
        with pytest.raises(ValueError):  # Not their number of rows.
            make(case)(J[:0])
    else:
        result = make(case)(J[:0])
        assert result.shape == (5,) and not result.any()


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)])
def test_what_is_not_a_matrix_is_refused(shape):
    with pytest.raises(ValueError, match=r"matrix\.shape"):
        aggregation.Mean()(torch.ones(shape))


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_finite_is_refused(case):
    for value in (float("nan"), float("inf")):
        matrix = J.clone()
        matrix[1, 2] = value
        with pytest.raises(ValueError) as caught:
            make(case)(matrix)
        assert isinstance(caught.value, InvalidArgumentError)
        if hasattr(make(case), "gramian_weighting"):
            with pytest.raises(InvalidArgumentError):
                make(case).gramian_weighting(matrix @ matrix.T)


@pytest.mark.parametrize("stat", [torch.ones(3), torch.ones(2, 3), torch.ones(2, 2, 2)])
def test_what_is_not_a_gramian_is_refused(stat):
    with pytest.raises(ValueError, match=r"gramian\.shape"):
        aggregation.MGDAWeighting()(stat)


def test_a_gramian_may_be_as_asymmetric_as_rounding_makes_it():
    gram = J @ J.T
    rounded = gram.float()
    rounded[0, 1] *= 1 + 1e-5
    expected = aggregation.UPGradWeighting()(gram).float()
    assert_close(aggregation.UPGradWeighting()(rounded), expected, 1e-4)
    rounded[0, 1] *= 1.1
    with pytest.raises(InvalidArgumentError, match=r"gramian - gramian\.T"):
        aggregation.UPGradWeighting()(rounded)


def test_results_carry_no_graph():
    matrix = J.clone().requires_grad_()
    for case in CASES:
        assert not make(case)(matrix).requires_grad
        weighting, stat = weighting_of(make(case))
        assert not weighting(stat(matrix)).requires_grad


def test_rows_are_combined_where_they_lie(monkeypatch):
    seen = []
    step = EmbeddedBackend.step

    def spy(self, indexes, rows, *others):
        seen.append((self, [row.data_ptr() for row in rows.rows]))
        return step(self, indexes, rows, *others)

    monkeypatch.setattr(EmbeddedBackend, "step", spy)
    matrix = random_matrix(0, dtype=torch.float32)
    aggregator = aggregation.UPGrad()
    for _ in range(2):
        aggregator(matrix)
    (first, addresses), (second, _) = seen
    assert addresses == [row.data_ptr() for row in matrix]
    assert first is second


# ---- Options


@pytest.mark.parametrize(
    ("aggregator", "name", "refused", "accepted"),
    [
        (aggregation.CAGrad(0.5), "c", -0.1, 1.5),
        (aggregation.CAGrad(0.5), "norm_eps", -1e-9, 0.0),
        (aggregation.MGDA(), "epsilon", 0.0, 1e-9),
        (aggregation.MGDA(), "max_iters", 0, 7),
        (aggregation.Krum(1), "n_byzantine", -1, 0),
        (aggregation.Krum(1), "n_selected", 0, 2),
        (aggregation.GradVac(), "beta", 1.1, 1.0),
        (aggregation.GradVac(), "eps", -1.0, 0.0),
        (aggregation.NashMTL(3), "n_tasks", 0, 2),
        (aggregation.NashMTL(3), "max_norm", -1.0, 0.0),
        (aggregation.NashMTL(3), "update_weights_every", 0, 2),
        (aggregation.NashMTL(3), "optim_niter", 0, 1),
        (aggregation.FairGrad(1.0), "alpha", -1.0, 2.0),
        (aggregation.AlignedMTL(), "scale_mode", "max", "rmse"),
        (aggregation.UPGrad(), "pref_vector", torch.ones(2, 2), PREFERENCE),
        (aggregation.ConFIG(), "pref_vector", torch.tensor([1.0, -1]), PREFERENCE),
        (aggregation.UPGrad().projector, "reg_eps", -1.0, 0.0),
        (aggregation.UPGrad().projector, "norm_eps", float("nan"), 0.0),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_refused_option_leaves_the_old_one(aggregator, name, refused, accepted):
    before = getattr(aggregator, name)
    with pytest.raises(ValueError):
        setattr(aggregator, name, refused)
    assert getattr(aggregator, name) is before
    setattr(aggregator, name, accepted)
    assert getattr(aggregator, name) is accepted


def test_an_option_that_is_set_takes_effect():
    aggregator = aggregation.CAGrad(0.5)
    aggregator(J)
    aggregator.c = 0.0
    assert_close(aggregator(J), J.mean(0))
    aggregator = aggregation.DualProj()
    aggregator(J)
    aggregator.pref_vector = PREFERENCE
    aggregator.projector.reg_eps = 0.5
    expected = aggregation.DualProj(PREFERENCE, aggregation.QuadprogProjector(reg_eps=0.5))
    assert_close(aggregator(J), expected(J))


def test_a_projector_of_python_is_refused():
    with pytest.raises(TypeError, match="must be a QuadprogProjector"):
        aggregation.UPGrad(projector=lambda weights, gramian: weights)


# ---- State

STATEFUL = {
    "GradVac": lambda: aggregation.GradVac(0.3),
    "GradVac, random order": lambda: aggregation.GradVac(0.3, seed=5),
    "PCGrad, random order": lambda: aggregation.PCGrad(seed=5),
    "NashMTL": lambda: aggregation.NashMTL(3, update_weights_every=3),
}


@pytest.mark.parametrize("case", STATEFUL)
def test_reset_forgets_the_calls(case):
    aggregator = STATEFUL[case]()
    first = [aggregator(random_matrix(call)) for call in range(4)]
    again = [aggregator(random_matrix(call)) for call in range(4)]
    aggregator.reset()
    anew = [aggregator(random_matrix(call)) for call in range(4)]
    assert torch.equal(torch.stack(anew), torch.stack(first))
    assert not torch.equal(torch.stack(again), torch.stack(first))


@pytest.mark.parametrize("case", STATEFUL)
@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module)), "state_dict"],
    ids=["deepcopy", "pickle", "state_dict"],
)
def test_a_copy_goes_on_from_the_same_state(case, copied):
    aggregator = STATEFUL[case]()
    for call in range(2):
        aggregator(random_matrix(call))
    if copied == "state_dict":
        other = STATEFUL[case]()
        other.load_state_dict(copy.deepcopy(aggregator.state_dict()))
    else:
        other = copied(aggregator)
    for call in range(2, 5):
        matrix = random_matrix(call)
        assert torch.equal(aggregator(matrix), other(matrix))


@pytest.mark.parametrize("case", CASES)
def test_every_aggregator_can_be_pickled_after_use(case):
    aggregator = make(case)
    aggregator(J)
    other = pickle.loads(pickle.dumps(aggregator))
    assert repr(other) == repr(aggregator)
    assert torch.equal(other(J), aggregator(J))


@pytest.mark.parametrize("case", STATEFUL)
def test_an_aggregator_and_its_weighting_remember_the_same(case):
    whole, mixed = STATEFUL[case](), STATEFUL[case]()
    for call in range(6):
        matrix = random_matrix(call, n=10 + call)  # The state outlives a change of n.
        expected = whole(matrix)
        if call % 2:
            assert_close(mixed.gramian_weighting(matrix @ matrix.T) @ matrix, expected, 1e-9)
        else:
            assert_close(mixed(matrix), expected, 1e-9)


def test_a_refused_matrix_leaves_the_state():
    aggregator, other = aggregation.GradVac(), aggregation.GradVac()
    for module in (aggregator, other):
        module(random_matrix(0))
    with pytest.raises(ValueError):
        aggregator(torch.full((3, 40), float("nan")))
    assert torch.equal(aggregator(random_matrix(1)), other(random_matrix(1)))


def test_another_number_of_losses_starts_anew():
    aggregator = aggregation.GradVac()
    aggregator(random_matrix(0, 4))
    assert torch.equal(aggregator(J), aggregation.GradVac()(J))


def test_nashmtl_keeps_its_weights_between_updates():
    aggregator = aggregation.NashMTL(3, max_norm=0.0, update_weights_every=2)
    weights = aggregation.NashMTLWeighting(3, max_norm=0.0)(J @ J.T)
    assert_close(aggregator(J), weights @ J)
    assert_close(aggregator(2 * J), weights @ (2 * J))
    assert_close(aggregator(2 * J), weights @ J)
    with pytest.raises(ValueError, match="n_tasks"):
        aggregator(J[:2])


def test_random_weights_follow_torchs_generator():
    aggregator = aggregation.Random()
    torch.manual_seed(1)
    first, second = aggregator(J), aggregator(J)
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    assert torch.equal(aggregation.Random()(J), first)
    torch.manual_seed(1)
    weights = aggregation.RandomWeighting()(J)
    assert_close(weights @ J, first)
    assert bool((weights > 0).all()) and float(weights.sum()) == pytest.approx(1)


# ---- Compositions


def test_cr_mogm_smooths_as_torchjds():
    # The wrapped weighting is torchjd's on one side and ours on the other.
    ours = aggregation.CRMOGMWeighting(aggregation.IMTLGWeighting(), 0.7)
    theirs = peer.CRMOGMWeighting(peer.IMTLGWeighting(), 0.7)
    aggregator = aggregation.GramianWeightedAggregator(copy.deepcopy(ours))
    for call in range(4):
        matrix = random_matrix(call)
        expected = theirs(matrix @ matrix.T)
        assert_close(ours(matrix @ matrix.T), expected, 1e-9)
        assert_close(aggregator(matrix), expected @ matrix, 1e-9)
    ours.reset()
    assert_close(ours(J @ J.T), peer.IMTLGWeighting()(J @ J.T), 1e-9)


def test_cr_mogm_wraps_any_weighting():
    start = torch.tensor([1.0, 0, 0], dtype=torch.float64)
    for weighting in (peer.MeanWeighting(), aggregation.MeanWeighting()):
        smoothed = aggregation.CRMOGMWeighting(weighting, 0.5, initial_weights=start)
        aggregator = aggregation.WeightedAggregator(smoothed)
        assert_close(aggregator(J), (start / 2 + 1 / 6) @ J)
        with pytest.raises(ValueError, match=r"reset\(\)"):
            aggregator(J[:2])
    with pytest.raises(ValueError, match="alpha"):
        smoothed.alpha = 1.5


def test_cr_mogm_resets_what_it_wraps():
    smoothed = aggregation.CRMOGMWeighting(aggregation.GradVacWeighting(), 0.0)
    aggregator = aggregation.GramianWeightedAggregator(smoothed)
    first = aggregator(J)
    assert not torch.equal(aggregator(J), first)
    smoothed.reset()
    assert torch.equal(aggregator(J), first)


def test_a_weighting_of_the_users_gets_the_gramian():
    class Diagonal(aggregation.Weighting[torch.Tensor]):
        def forward(self, stat, /):
            return 1 / stat.diagonal()

    aggregator = aggregation.GramianWeightedAggregator(Diagonal())
    assert_close(aggregator(J), (1 / (J * J).sum(1)) @ J)
    assert aggregator(J.float()).dtype is torch.float32


def test_a_derived_weighting_is_the_one_that_counts():
    class Doubled(aggregation.MGDAWeighting):
        def forward(self, stat, /):
            return 2 * super().forward(stat)

    aggregator = aggregation.GramianWeightedAggregator(Doubled())
    assert_close(aggregator(J), 2 * aggregation.MGDA()(J))


@pytest.mark.parametrize("inner", [True, False], ids=["gramian_weighting", "weighting"])
@pytest.mark.parametrize("in_place", [True, False])
def test_hooks_can_change_the_weights(inner, in_place):
    aggregator = aggregation.MGDA()
    module = aggregator.gramian_weighting if inner else aggregator.weighting
    module.register_forward_hook(
        lambda module, stats, weights: weights.mul_(2) if in_place else weights * 2
    )
    assert_close(aggregator(J), 2 * aggregation.MGDA()(J))


def test_without_torchjd_nothing_is_registered(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchjd", None)
    _torchjd.make_known()


# ---- Methods on columns


def test_trimmed_mean_is_torchjds():
    matrix = random_matrix(5, m=7, n=101)
    for trim in range(4):
        expected = peer.TrimmedMean(trim)(matrix)
        assert_close(aggregation.TrimmedMean(trim)(matrix), expected)
    with pytest.raises(ValueError, match="at least 9 rows"):
        aggregation.TrimmedMean(4)(matrix)


def test_graddrop_draws_as_torchjd_does_from_the_same_chances():
    """Its own draws, the peer's rule: what stays in a column is all of one sign."""
    matrix = random_matrix(6, m=4, n=20000)
    torch.manual_seed(3)
    found = aggregation.GradDrop()(matrix)
    positive = matrix.clamp(min=0).sum(dim=0)
    negative = matrix.clamp(max=0).sum(dim=0)
    kept = torch.isclose(found, positive)
    assert bool((kept | torch.isclose(found, negative)).all())
    chance = positive / (positive - negative)
    assert float(kept.double().mean()) == pytest.approx(float(chance.mean()), abs=0.01)
    torch.manual_seed(3)
    assert torch.equal(aggregation.GradDrop()(matrix), found)
    assert not torch.equal(aggregation.GradDrop()(matrix), found)


def test_graddrop_leaks_what_it_is_told_and_takes_another_function():
    matrix = random_matrix(7, m=3, n=50)
    whole = aggregation.GradDrop(leak=torch.ones(3, dtype=torch.float64))
    assert_close(whole(matrix), matrix.sum(dim=0))
    always = aggregation.GradDrop(f=torch.ones_like)
    assert_close(always(matrix), matrix.clamp(min=0).sum(dim=0))
    with pytest.raises(ValueError, match="len\\(leak\\)"):
        whole(random_matrix(8, m=2))


def test_a_column_of_zeros_gives_zero():
    matrix = torch.zeros(2, 3)
    for aggregator in (aggregation.GradDrop(), aggregation.GradDrop(f=torch.sqrt)):
        assert torch.equal(aggregator(matrix), torch.zeros(3))
