"""What every gradient method promises, on random rows (hypothesis, the same each run)."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import exact
from concord import methods
from concord._engine_operator import EngineOperator
from concord.errors import InvalidArgumentError
from concord.grad_operator import ConFIGOperator
from concord.weight_model import GivenWeight

settings.register_profile(
    "concord",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=15,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
PROFILE = settings.get_profile("concord")

METHODS = {
    "ConFIG": ConFIGOperator,
    "PCGrad": methods.PCGradOperator,
    "PCGrad, random order": lambda: methods.PCGradOperator(seed=7),
    "GradVac": methods.GradVacOperator,
    "IMTLG": methods.IMTLGOperator,
    "MGDA": methods.MGDAOperator,
    "UPGrad": methods.UPGradOperator,
    "UPGrad, regularised": lambda: methods.UPGradOperator(reg_eps=1e-4),
    "DualProj": methods.DualProjOperator,
    "DualProj, regularised": lambda: methods.DualProjOperator(reg_eps=1e-4),
    "CAGrad": methods.CAGradOperator,
    "CAGrad, c=2": lambda: methods.CAGradOperator(2.0),
    "NashMTL": methods.NashMTLOperator,
    "NashMTL, every second step": lambda: methods.NashMTLOperator(update_every=2),
    "FairGrad": methods.FairGradOperator,
    "FairGrad, alpha=2": lambda: methods.FairGradOperator(2.0),
    "FairGrad, alpha=0": lambda: methods.FairGradOperator(0.0),
    "AlignedMTL": methods.AlignedMTLOperator,
    "AlignedMTL, median": lambda: methods.AlignedMTLOperator(scale="median"),
    "AlignedMTL, rmse": lambda: methods.AlignedMTLOperator(scale="rmse"),
    "Krum": methods.KrumOperator,
    "Krum, squared": lambda: methods.KrumOperator(squared=True),
    "Mean": methods.MeanOperator,
    "Sum": methods.SumOperator,
    "Random": methods.RandomOperator,
    "CRMOGM": lambda: methods.CRMOGMOperator(methods.UPGradOperator()),
    "DBMTL": methods.DBMTLOperator,
}
# They give no coefficients.
ON_COLUMNS = {
    "GradDrop": methods.GradDropOperator,
    "TrimmedMean": lambda: methods.TrimmedMeanOperator(1),
}
# Others follow an order of the rows, or draw by their indexes.
OF_THE_SET = [name for name in METHODS if not name.startswith(("PCGrad", "GradVac", "Random"))]
# Those that need a vector's own length are in another test.
HOMOGENEOUS = {  # f(s G) = s^power f(G).
    **dict.fromkeys(METHODS, 1.0),
    "NashMTL": 0.0,
    "NashMTL, every second step": 0.0,
    "FairGrad": 0.0,
    # K c = c^-1/2, so c ~ s^(-4/3).
    "FairGrad, alpha=2": -1 / 3,
}
SCALE_INVARIANT = ["ConFIG", "IMTLG", "NashMTL", "FairGrad", "DBMTL"]
NOT_NEGATIVE = ["ConFIG", "MGDA", "UPGrad", "DualProj", "NashMTL", "FairGrad", "FairGrad, alpha=2"]


def step(operator, rows):
    direction = operator.calculate_gradient(torch.from_numpy(np.ascontiguousarray(rows))).numpy()
    return direction, operator._backend.last_step()


def fits(name, rows):
    return len(rows) >= 3 or not name.startswith("Krum")


@st.composite
def independent(draw, smallest=1, largest=8):
    """Rows with a condition that leaves no doubt about rank or sign: n >= 2m + 8."""
    m = draw(st.integers(smallest, largest))
    n = draw(st.integers(2 * m + 8, 60))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = generator.standard_normal((m, n))
    # A common part, against it, or none: agreement and conflict.
    rows += draw(st.sampled_from([-1.0, 0.0, 1.0])) * generator.choice([-1, 1], (m, 1)) * rows[0]
    rows[0] = generator.standard_normal(n)
    return rows * 10.0 ** generator.uniform(-1, 1, (m, 1))


@st.composite
def anything(draw):
    """Rows of small integers times powers of ten: zeros, duplicates, opposing and dependent
    ones, and scales far apart come often. Their squares stay within float64."""
    m, n = draw(st.integers(1, 9)), draw(st.integers(1, 6))
    row = st.lists(st.integers(-2, 2), min_size=n, max_size=n)
    scale = st.sampled_from([-60, -9, -6, -3, 0, 0, 0, 3, 6, 9, 60])
    return np.array(
        [np.array(draw(row), dtype=float) * 10.0 ** draw(scale) for _ in range(m)]
    ).reshape(m, n)


def cosines(rows, direction):
    """To the non-zero rows, of a direction that is not zero."""
    return exact.unit_rows(rows) @ direction / np.linalg.norm(direction)


def test_every_method_is_under_test():
    made = {type(make()) for make in [*METHODS.values(), *ON_COLUMNS.values()]}
    assert made | {methods.ConstantOperator} == EngineOperator.known


@pytest.mark.parametrize("name", METHODS)
@settings(PROFILE, max_examples=40)
@given(rows=anything())
def test_no_rows_give_a_nan_or_a_crash(name, rows):
    operator = METHODS[name]()
    if not fits(name, rows):
        with pytest.raises(InvalidArgumentError):
            step(operator, rows)
        return
    for _ in range(2):
        direction, found = step(operator, rows)
        assert np.isfinite(direction).all()
        assert np.isfinite(found.coefficients.numpy()).all() and np.isfinite(found.length)
        assert 0 <= found.rank <= min(rows.shape)
        if not rows.any():
            assert not direction.any() and not found.conflict_free
        if found.pareto_stationary:
            # A mean and the like stays what it is, and vanishes by rounding alone.
            terms = np.abs(found.coefficients.numpy()) @ exact.norms(rows)
            assert exact.length(direction) <= 1e-6 * terms
            assert not found.conflict_free
        if found.conflict_free:
            # The flag is a claim about every non-zero row.
            terms = np.abs(found.coefficients.numpy()) @ exact.norms(rows)
            products = exact.wide(exact.unit_rows(rows)) @ exact.wide(direction)
            assert products.min() > -1e-13 * terms


@pytest.mark.parametrize("name", METHODS)
@settings(PROFILE, max_examples=20)
@given(data=st.data(), width=st.sampled_from([32, 64]))
def test_numbers_of_any_size_are_combined_or_refused(name, data, width):
    m, n = data.draw(st.integers(3, 5)), data.draw(st.integers(1, 4))
    number = st.floats(allow_nan=False, allow_infinity=False, width=width)
    values = data.draw(st.lists(number, min_size=m * n, max_size=m * n))
    rows = np.array(values, dtype=f"float{width}").reshape(m, n)
    try:
        direction, _ = step(METHODS[name](), rows)
    except InvalidArgumentError as refused:
        # Squares or the update leave the type's range.
        assert refused.reason == "OUT_OF_SCALE"
        sizes = np.abs(rows.astype(float))[rows != 0]
        assert sizes.max() > 1e18 or sizes.min() < 1e-18
    else:
        assert np.isfinite(direction).all()


@pytest.mark.parametrize("name", METHODS)
@settings(PROFILE)
@given(rows=anything())
def test_the_update_is_the_combination_of_the_rows(name, rows):
    if fits(name, rows):
        direction, found = step(METHODS[name](), rows)
        coefficients = exact.wide(found.coefficients.numpy())
        terms = np.abs(coefficients) @ np.abs(exact.wide(rows))
        missing = np.abs(coefficients @ exact.wide(rows) - direction)
        assert (missing <= 1e-14 * terms).all()


@pytest.mark.parametrize("name", METHODS)
@settings(PROFILE)
@given(rows=independent(smallest=3))
def test_the_update_is_in_the_span_of_the_rows(name, rows):
    direction, _ = step(METHODS[name](), rows)
    basis = np.linalg.qr(exact.unit_rows(rows).T)[0]
    outside = direction - basis @ (basis.T @ direction)
    assert np.linalg.norm(outside) <= 1e-12 * np.linalg.norm(direction)


# Four rows: of three, Krum's nearest two are equally close, and the first is taken.
@pytest.mark.parametrize("name", OF_THE_SET)
@settings(PROFILE)
@given(rows=independent(smallest=4), data=st.data())
def test_the_order_of_the_losses_does_not_matter(name, rows, data):
    order = data.draw(st.permutations(range(len(rows))))
    first, second = step(METHODS[name](), rows)[0], step(METHODS[name](), rows[order])[0]
    assert exact.distance(second, first) <= 1e-9


@pytest.mark.parametrize("make", [methods.PCGradOperator, methods.GradVacOperator])
@settings(PROFILE)
@given(rows=independent(smallest=2), data=st.data())
def test_an_order_given_with_the_losses_moves_with_them(make, rows, data):
    order = data.draw(st.permutations(range(len(rows))))
    first = step(make(order=order), rows)[0]
    assert exact.distance(step(make(), rows[order])[0], first) <= 1e-9


@settings(PROFILE)
@given(rows=independent(smallest=2), data=st.data())
def test_weights_and_preferences_move_with_their_losses(rows, data):
    order = data.draw(st.permutations(range(len(rows))))
    weights = np.array([0.5 + i for i in range(len(rows))])
    for make in (
        lambda w: ConFIGOperator(GivenWeight(w)),
        methods.UPGradOperator,
        methods.DualProjOperator,
        methods.AlignedMTLOperator,
        methods.ConstantOperator,
    ):
        first, second = step(make(weights), rows)[0], step(make(weights[order]), rows[order])[0]
        assert exact.distance(second, first) <= 1e-9


@pytest.mark.parametrize("name", METHODS)
@settings(PROFILE)
@given(rows=independent(smallest=3), exponent=st.integers(-20, 20))
def test_one_scale_for_all_losses_only_scales_the_update(name, rows, exponent):
    scale = 2.0**exponent
    first, second = step(METHODS[name](), rows)[0], step(METHODS[name](), scale * rows)[0]
    assert exact.distance(second, scale ** HOMOGENEOUS[name] * first) <= 1e-9


@pytest.mark.parametrize("name", SCALE_INVARIANT)
@settings(PROFILE)
@given(rows=independent(), data=st.data())
def test_the_scale_of_one_loss_does_not_turn_the_direction(name, rows, data):
    exponents = data.draw(st.lists(st.integers(-6, 6), min_size=len(rows), max_size=len(rows)))
    scaled = rows * 10.0 ** np.array(exponents)[:, None]
    first, second = (step(METHODS[name](), each)[0] for each in (rows, scaled))
    # IMTL-G may point against all losses, and then does so before or after.
    turned = abs(cosines(first[None], second)[0])
    assert turned == pytest.approx(1, abs=1e-9)
    if name in ("NashMTL", "FairGrad"):
        assert exact.distance(second, first) <= 1e-9


@pytest.mark.parametrize("name", NOT_NEGATIVE)
@settings(PROFILE, max_examples=40)
@given(rows=anything())
def test_no_product_with_a_row_is_negative(name, rows):
    direction, found = step(METHODS[name](), rows)
    if name == "ConFIG" and not found.conflict_free:
        return  # Least squares: no direction has the cosines asked for.
    terms = np.abs(found.coefficients.numpy()) @ exact.norms(rows)
    products = exact.wide(exact.unit_rows(rows)) @ exact.wide(direction)
    assert products.min(initial=0) >= -1e-12 * terms


@pytest.mark.parametrize(
    ("alpha", "small", "large", "copies"),
    [(2.0, 1.0, 1e60, 2), (0.5, 1.0, 1e-60, 2), (10.0, 1e-9, 1e9, 3), (2.0, 1e-6, 1e6, 3)],
)
def test_fairgrad_is_solved_for_equal_rows_beside_one_of_a_far_scale(alpha, small, large, copies):
    # Seen from the equal rows their equations are singular to rounding.
    rows = np.array([[0, -small]] + [[-large, large]] * copies)
    direction, found = step(methods.FairGradOperator(alpha), rows)
    coefficients = found.coefficients.numpy()
    assert exact.fair_residual(rows, coefficients, alpha) <= 1e-9
    terms = np.abs(coefficients) @ exact.norms(rows)
    assert (exact.unit_rows(rows) @ direction).min() >= -1e-12 * terms


@pytest.mark.parametrize("name", ["ConFIG", "MGDA", "UPGrad", "NashMTL", "FairGrad"])
@settings(PROFILE)
@given(rows=independent())
def test_independent_rows_are_without_conflict(name, rows):
    direction, found = step(METHODS[name](), rows)
    assert found.conflict_free and not found.pareto_stationary
    assert found.rank == len(rows)
    assert cosines(rows, direction).min() > 0


@settings(PROFILE)
@given(rows=independent())
def test_configs_cosines_are_equal_or_as_weighted(rows):
    weights = 1.0 + np.arange(len(rows))
    for operator, wanted in (
        (ConFIGOperator(), np.ones(len(rows))),
        (ConFIGOperator(GivenWeight(weights)), weights),
    ):
        direction, _ = step(operator, rows)
        found = cosines(rows, direction)
        assert np.ptp(found / wanted) <= 1e-10 * found.max()
        assert np.linalg.norm(direction) == pytest.approx(
            (rows @ direction).sum() / np.linalg.norm(direction)
        )


# --- The edge table.

DROPS_ZERO_ROWS = ["ConFIG", "IMTLG", "NashMTL", "FairGrad", "FairGrad, alpha=2", "DBMTL"]
IGNORES_ZERO_ROWS = ["PCGrad", "GradVac"]
DIVIDES_BY_ALL = ["UPGrad", "DualProj", "Mean", "FairGrad, alpha=0"]


def with_zero_row(rows, at):
    return np.insert(rows, at % (len(rows) + 1), 0.0, axis=0)


@pytest.mark.parametrize("name", DROPS_ZERO_ROWS + IGNORES_ZERO_ROWS + DIVIDES_BY_ALL)
@settings(PROFILE)
@given(rows=independent(), at=st.integers(0, 8))
def test_a_zero_row_is_dropped_or_counts_in_the_mean_alone(name, rows, at):
    first, expected = step(METHODS[name](), rows)
    second, found = step(METHODS[name](), with_zero_row(rows, at))
    if name in DIVIDES_BY_ALL:
        second = second * ((len(rows) + 1) / len(rows))
    assert exact.distance(second, first) <= 1e-12
    assert (found.conflict_free, found.rank) == (expected.conflict_free, expected.rank)


@pytest.mark.parametrize("name", ["MGDA", "CAGrad, c=2"])
@settings(PROFILE)
@given(rows=independent(), at=st.integers(0, 8))
def test_a_zero_row_makes_zero_the_shortest_of_the_hull(name, rows, at):
    direction, found = step(METHODS[name](), with_zero_row(rows, at))
    assert not direction.any()
    assert found.pareto_stationary and not found.conflict_free


@pytest.mark.parametrize("name", METHODS)
@settings(PROFILE, max_examples=5)
@given(m=st.integers(3, 8), n=st.integers(1, 5))
def test_all_zero_rows_give_zero(name, m, n):
    direction, found = step(METHODS[name](), np.zeros((m, n)))
    assert not direction.any() and found.rank == 0 and not found.conflict_free


@pytest.mark.parametrize("name", [*NOT_NEGATIVE, "IMTLG", "PCGrad", "CAGrad, c=2", "DBMTL"])
@settings(PROFILE)
@given(rows=independent(largest=1), factor=st.floats(0.01, 100))
def test_an_exactly_opposing_pair_gives_zero_and_says_so(name, rows, factor):
    direction, found = step(METHODS[name](), np.vstack([rows, -factor * rows]))
    assert not direction.any()
    assert found.pareto_stationary and not found.conflict_free


@settings(PROFILE)
@given(rows=independent(smallest=2), turn=st.floats(1e-9, 4e-7))
def test_all_but_opposing_rows_give_zero_and_say_so(rows, turn):
    # |V_r' w| <= 1e-6 |w|: three rows that add up to next to nothing.
    a, b = exact.unit_rows(rows)[:2]
    nearly = np.vstack([a, b, -a - b])
    nearly /= exact.norms(nearly)[:, None]
    direction, found = step(METHODS["MGDA"](), np.vstack([a, -a + turn * b]))
    assert not direction.any() and found.pareto_stationary
    for name in ("MGDA", "NashMTL", "FairGrad", "CAGrad, c=2"):
        direction, found = step(METHODS[name](), nearly)
        assert not direction.any() and found.pareto_stationary, name


@settings(PROFILE)
@given(rows=independent(smallest=2), copies=st.lists(st.integers(1, 4), min_size=8, max_size=8))
def test_duplicates_keep_configs_direction_and_add_their_lengths(rows, copies):
    repeated = np.repeat(rows, copies[: len(rows)], axis=0)
    once, found = step(ConFIGOperator(), rows)[0], step(ConFIGOperator(), repeated)[0]
    unit = once / np.linalg.norm(once)
    assert exact.distance(found, unit * (repeated @ unit).sum()) <= 1e-9


@settings(PROFILE)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 6), more=st.integers(1, 5))
def test_more_losses_than_parameters_are_a_least_squares_fit_without_a_promise(seed, n, more):
    rows = np.random.default_rng(seed).standard_normal((n + more, n))
    direction, found = step(ConFIGOperator(), rows)
    units = exact.unit_rows(rows)
    fitted = np.linalg.lstsq(units, np.ones(len(units)), rcond=None)[0]
    # Equal cosines would have to fit: only where n = 1 and all point the same way.
    consistent = np.allclose(units @ fitted, 1)
    assert found.conflict_free == consistent and found.rank == n
    if not found.pareto_stationary:
        assert abs(cosines(fitted[None], direction)[0]) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", METHODS)
def test_numbers_that_are_not_finite_are_refused_and_leave_the_state(name, value):
    generator = np.random.default_rng(4)
    first, second = generator.standard_normal((2, 3, 12))
    broken = second.copy()
    broken[1, 7] = value
    disturbed, twin = METHODS[name](), METHODS[name]()
    for operator in (disturbed, twin):
        step(operator, first)
    with pytest.raises(InvalidArgumentError) as raised:
        step(disturbed, broken)
    assert raised.value.reason == "NON_FINITE"
    assert np.array_equal(step(disturbed, second)[0], step(twin, second)[0])


# --- Methods on columns


@pytest.mark.parametrize("name", ON_COLUMNS)
@settings(PROFILE, max_examples=40)
@given(rows=anything())
def test_a_column_gives_what_its_own_numbers_can_make(name, rows):
    """Between the sum of its negative and that of its positive numbers; never a NaN."""
    operator = ON_COLUMNS[name]()
    if name == "TrimmedMean" and len(rows) < 3:
        with pytest.raises(InvalidArgumentError):
            operator.calculate_gradient(torch.from_numpy(rows))
        return
    for _ in range(2):
        direction = operator.calculate_gradient(torch.from_numpy(rows)).numpy()
        assert np.isfinite(direction).all()
        slack = 1e-12 * np.abs(rows).sum(axis=0)
        assert (direction <= rows.clip(min=0).sum(axis=0) + slack).all()
        assert (direction >= rows.clip(max=0).sum(axis=0) - slack).all()


@settings(PROFILE)
@given(rows=independent(smallest=3), data=st.data())
def test_the_trimmed_mean_knows_no_order_and_is_the_middle_of_three(rows, data):
    order = data.draw(st.permutations(range(len(rows))))
    make = ON_COLUMNS["TrimmedMean"]
    first, second = (make().calculate_gradient(torch.from_numpy(r)) for r in (rows, rows[order]))
    np.testing.assert_allclose(first, second, rtol=1e-12, atol=1e-12)
    three = make().calculate_gradient(torch.from_numpy(rows[:3]))
    np.testing.assert_array_equal(three, np.median(rows[:3], axis=0))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ON_COLUMNS)
def test_numbers_that_are_not_finite_are_refused_on_columns_too(name, value):
    rows = np.random.default_rng(1).standard_normal((3, 20))
    operator, twin = ON_COLUMNS[name](), ON_COLUMNS[name]()
    broken = rows.copy()
    broken[1, 7] = value
    with pytest.raises(InvalidArgumentError):
        operator.calculate_gradient(torch.from_numpy(broken))
    found, expected = (o.calculate_gradient(torch.from_numpy(rows)) for o in (operator, twin))
    assert torch.equal(found, expected)
