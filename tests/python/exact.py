"""Every gradient method, written plainly from its definition, and what proves a result.

Nothing here is in Gram form as the engine is. Linear algebra is float64 on the rows
themselves, whose condition is the root of their Gram matrix's; products that are
checked are in extended precision; recursions and inverses are in 50 digits.
"""

import functools

import mpmath
import numpy as np

CUTOFF = 1e-12  # Of the largest eigenvalue: those below count as zero.
STATIONARY = 1e-6

mpmath.mp.dps = 50


def norms(rows):
    return np.linalg.norm(rows, axis=1)


def unit_rows(rows):
    """The non-zero rows at unit length."""
    kept = rows[norms(rows) > 0]
    return kept / norms(kept)[:, None]


def wide(array):
    """To extended precision, in which products of float64 numbers keep their digits."""
    return np.asarray(array, dtype=np.longdouble)


def length(vector):
    vector = wide(vector)
    return np.sqrt((vector * vector).sum())


def largest(vector):
    return float(np.abs(vector).max(initial=0))


def distance(found, expected):
    """Of two vectors, relative to the largest entry of the expected one."""
    if not np.isfinite(found).all():
        return np.inf
    return largest(found - expected) / (largest(expected) or 1.0)


# --- Directions by linear equations.


def _range(units):
    """U = P S Q' at its rank: eigenvalues s^2 of the cosine matrix by CUTOFF."""
    p, s, q = np.linalg.svd(units, full_matrices=False)
    rank = int((s**2 > CUTOFF * s[0] ** 2).sum())
    return p[:, :rank], s[:rank], q[:rank]


def config(rows, weights=None):
    """The shortest vector whose cosines are closest to the weights; its length is the
    sum of the rows' projections on it."""
    kept = norms(rows) > 0
    zero = np.zeros(rows.shape[1])
    if not kept.any():
        return zero
    units = unit_rows(rows)
    wanted = np.ones(len(units)) if weights is None else np.asarray(weights)[kept]
    p, s, q = _range(units)
    inside = p.T @ wanted
    if len(units) == 2 and weights is None:
        direction = units[0] + units[1]
        if np.linalg.norm(direction) <= STATIONARY:
            return zero
    elif np.linalg.norm(inside) <= STATIONARY * np.linalg.norm(wanted):
        return zero
    else:
        direction = q.T @ (inside / s)
    direction = direction / np.linalg.norm(direction)
    return direction * (rows @ direction).sum()


def config_residual(rows, found):
    """Of equal cosines, or where there are none of the least squares' equations; of the
    part outside the rows' span; of the length."""
    units = unit_rows(rows)
    size = length(found)
    if not len(units) or size == 0:
        return float(size) if not config(rows).any() else np.inf
    direction = wide(found) / size
    cosines = wide(units) @ direction
    _, s, q = _range(units)
    missing = cosines * (cosines.sum() / (cosines * cosines).sum()) - 1
    spread = np.abs(missing if len(s) == len(units) else missing @ wide(units)).max()
    outside = length(direction - (direction @ wide(q).T) @ wide(q))
    projections = abs((wide(rows) @ direction).sum() - size) / norms(rows).sum()
    return float(max(spread, outside, projections))


def imtlg_residual(rows, found):
    """Of equal projections onto the unit rows, or the least squares' equations."""
    units = unit_rows(rows)
    size = length(found)
    if not len(units) or size == 0:
        return float(size) if not imtlg(rows).any() else np.inf
    projections = wide(units) @ (wide(found) / size)
    if len(_range(units)[1]) < len(units):
        return distance(found, imtlg(rows))
    return float(np.ptp(projections))


def imtlg(rows):
    """Equal projections on all unit rows, within the rows' affine plane."""
    lengths = norms(rows)
    kept, lengths = rows[lengths > 0], lengths[lengths > 0]
    zero = np.zeros(rows.shape[1])
    if not len(kept):
        return zero
    if len(kept) == 2:
        direction = (lengths[1] * kept[0] + lengths[0] * kept[1]) / lengths.sum()
        return direction if np.linalg.norm(direction) > STATIONARY * lengths.min() else zero
    p, s, _ = _range(unit_rows(rows))
    if np.linalg.norm(p.sum(axis=0)) <= STATIONARY * np.sqrt(len(kept)):
        return zero
    if len(s) == len(kept):
        gram = precise_gram(kept)
        found = mpmath.lu_solve(
            gram, mpmath.matrix([mpmath.sqrt(gram[i, i]) for i in range(len(kept))])
        )
        total = mpmath.fsum(found)
        coefficients = np.array([float(c / total) for c in found])
        if mpmath.fabs(total) <= CUTOFF * mpmath.fsum(found, absolute=True):
            return zero
    else:
        inverse = np.linalg.pinv(kept, rcond=1e-9)
        found = inverse.T @ (inverse @ lengths)
        if abs(found.sum()) <= CUTOFF * np.abs(found).sum():
            return zero
        coefficients = found / found.sum()
    return np.asarray(wide(coefficients) @ wide(kept), dtype=float)


def aligned_mtl(rows, scale="min"):
    """The mean of the nearest rows that are orthogonal and of one length."""
    p, s, q = np.linalg.svd(rows, full_matrices=False)
    kept = s**2 > CUTOFF * s[0] ** 2
    zero = np.zeros(rows.shape[1])
    if not kept.any():
        return zero
    p, s, q = p[:, kept], s[kept], q[kept]
    inside = p.T @ np.full(len(rows), 1 / len(rows))
    if np.linalg.norm(inside) <= STATIONARY / np.sqrt(len(rows)):
        return zero
    ascending = s[::-1]
    of = {
        "min": ascending[0],
        "median": ascending[(len(s) - 1) // 2],
        "rmse": np.sqrt((s**2).mean()),
    }
    return of[scale] * (q.T @ inside)


def dependent(rows):
    """Whether equal projections leave a choice, or have no solution: IMTL-G is then what
    it is by definition, K^+ n or for two rows their limit."""
    units = unit_rows(rows)
    return len(units) > 0 and len(_range(units)[1]) < len(units)


def truncated(rows):
    """Whether AlignedMTL drops a direction that the rows have: by definition, CUTOFF."""
    s = np.linalg.svd(rows, compute_uv=False)
    return bool(((s > 0) & (s**2 <= CUTOFF * s[0] ** 2)).any())


# --- Recursions, in 50 digits.


def precise_gram(rows):
    return _precise_gram(rows.tobytes(), rows.shape)


@functools.lru_cache(maxsize=512)
def _precise_gram(data, shape):
    rows = [[mpmath.mpf(x) for x in row] for row in np.frombuffer(data).reshape(shape)]
    gram = mpmath.matrix(shape[0], shape[0])
    for i in range(shape[0]):
        for j in range(i + 1):
            gram[i, j] = gram[j, i] = mpmath.fdot(rows[i], rows[j])
    return gram


def _combine(rows, coefficients):
    return np.asarray(wide([float(c) for c in coefficients]) @ wide(rows), dtype=float)


def pcgrad(rows):
    """Every row projected onto the normal planes of those that it conflicts with."""
    gram, m = precise_gram(rows), len(rows)
    total = [mpmath.mpf(0)] * m
    for i in range(m):
        row = [mpmath.mpf(j == i) for j in range(m)]
        for j in range(m):
            product = mpmath.fdot(row, gram[j, :])
            if j != i and product < 0:
                row[j] -= product / gram[j, j]
        total = [a + b for a, b in zip(total, row)]
    return _vanishing(rows, _combine(rows, total), total)


def gradvac(rows, steps=1, beta=0.5):
    """As PCGrad, towards the moving average of each pair's cosine: `steps` results."""
    gram, m = precise_gram(rows), len(rows)
    targets = mpmath.matrix(m, m)
    results = []
    for _ in range(steps):
        total = [mpmath.mpf(0)] * m
        for i in range(m):
            row, products = [mpmath.mpf(j == i) for j in range(m)], list(gram[i, :])
            for j in range(m):
                square = mpmath.fdot(row, products)
                if j == i or gram[j, j] == 0 or square <= CUTOFF * gram[i, i]:
                    continue
                own, other = mpmath.sqrt(square), mpmath.sqrt(gram[j, j])
                cosine, target = products[j] / own / other, targets[i, j]
                if cosine < target:
                    sine, target_sine = (mpmath.sqrt(max(0, 1 - c * c)) for c in (cosine, target))
                    part = own * (target * sine - cosine * target_sine) / (other * target_sine)
                    row[j] += part
                    products = [p + part * k for p, k in zip(products, gram[j, :])]
                moved = (1 - mpmath.mpf(beta)) * target + beta * cosine
                targets[i, j] = max(mpmath.mpf(-0.999), min(mpmath.mpf(0.999), moved))
            total = [a + b for a, b in zip(total, row)]
        results.append(_vanishing(rows, _combine(rows, total), total))
    return results


def _vanishing(rows, direction, coefficients):
    terms = sum(abs(float(c)) * n for c, n in zip(coefficients, norms(rows)))
    return direction if np.linalg.norm(direction) > STATIONARY * terms else 0 * direction


# --- Quadratic programs. A result that meets the conditions of optimality is the
# solution, whatever found it: every one below is checked for them.


def nearest_in_cone(rows, target):
    """y >= 0 that minimises |sum_i y_i row_i - target| (Lawson and Hanson, on the rows)."""
    lengths = norms(rows)
    y = np.zeros(len(rows))
    kept = np.flatnonzero(lengths > 0)
    columns = (rows[kept] / lengths[kept, None]).T
    x = np.zeros(len(kept))
    free = np.zeros(len(kept), dtype=bool)
    size = np.linalg.norm(target)
    refused = np.zeros(len(kept), dtype=bool)
    for _ in range(10 * len(kept) + 10):
        slope = columns.T @ (target - columns @ x)
        slope[free | refused] = -np.inf
        if not len(kept) or slope.max() <= 1e-14 * (size + x.sum()):
            break
        entering = int(slope.argmax())
        free[entering] = True
        first = True
        while free.any():
            best = np.zeros(len(kept))
            best[free] = np.linalg.lstsq(columns[:, free], target, rcond=None)[0]
            if first and best[entering] <= 0:
                free[entering], refused[entering] = False, True
                break
            first = False
            if best[free].min() > 0:
                x = best
                refused[:] = False
                break
            low = free & (best <= 0)
            part = (x[low] / (x[low] - best[low])).min()
            x = np.maximum(0, x + part * (best - x))
            free &= x > 1e-15 * x.max()
            x[~free] = 0
    y[kept] = x / lengths[kept]
    return y


def projection(rows, target):
    """`target` projected onto the vectors that have no negative product with a row."""
    y = nearest_in_cone(-rows, target)
    found = wide(target) + wide(y) @ wide(rows)
    return np.asarray(found, dtype=float), y


def projection_residual(rows, target, found):
    """The conditions of `found` being the projection of `target`, relative to |target|:
    no negative product, a right angle, and a correction by non-negative parts of rows."""
    size = length(target)
    if size == 0:
        return float(length(found))
    units = unit_rows(rows)
    correction = wide(found) - wide(target)
    part = np.asarray(correction, dtype=float)
    cone = np.linalg.norm(nearest_in_cone(units, part) @ units - part) if len(units) else 0.0
    negative = -(wide(units) @ wide(found)).min(initial=0)
    angle = abs((wide(found) * correction).sum())
    return float(max(negative / size, angle / size**2, cone / size))


def _regularised(rows, reg_eps):
    """Rows whose Gram matrix is K + reg_eps trace(K) I."""
    added = np.sqrt(reg_eps * (norms(rows) ** 2).sum()) * np.eye(len(rows))
    return np.hstack([rows, added])


def projected(rows, bounds, reg_eps):
    """Sum of the projections of sum_i bounds_ki rows_i, k = 0 …, and the worst residual."""
    whole = _regularised(rows, reg_eps)
    total, worst = np.zeros(len(rows)), 0.0
    for bound in bounds:
        target = bound @ whole
        found, y = projection(whole, target)
        worst = max(worst, projection_residual(whole, target, found))
        total += bound + y
    direction = np.asarray(wide(total) @ wide(rows), dtype=float)
    return _vanishing(rows, direction, total), worst


def upgrad(rows, reg_eps=0.0):
    return projected(rows, np.eye(len(rows)) / len(rows), reg_eps)


def dualproj(rows, reg_eps=0.0):
    return projected(rows, np.full((1, len(rows)), 1 / len(rows)), reg_eps)


def shortest_in_hull(rows):
    """Weights of the shortest vector of the rows' convex hull."""
    lengths = norms(rows)
    if lengths.min() == 0:
        return np.eye(len(rows))[int(lengths.argmin())]
    # As nearest_in_cone of the rows with one more column, in which all agree.
    unit = lengths.min()
    longer = np.hstack([rows / unit, np.ones((len(rows), 1))])
    y = nearest_in_cone(longer, np.eye(rows.shape[1] + 1)[-1])
    return y / y.sum()


def zero_in_hull(rows):
    """How far zero is from the hull, relative to the lengths of what makes it up."""
    weights = shortest_in_hull(rows)
    terms = weights @ norms(rows)
    return float(length(wide(weights) @ wide(rows)) / terms) if terms > 0 else 0.0


def mgda(rows):
    if zero_in_hull(rows) <= STATIONARY:
        return np.zeros(rows.shape[1])
    return np.asarray(wide(shortest_in_hull(rows)) @ wide(rows), dtype=float)


def mgda_gap(rows, found):
    """max_i |d|^2 - <g_i, d>, relative to what rounding of d moves it by: nothing in the
    hull is shorter than d by more."""
    size = length(found)
    if size == 0:
        return 0.0 if zero_in_hull(rows) <= STATIONARY else np.inf
    gaps = size**2 - wide(rows) @ wide(found)
    return float((gaps / (size * np.maximum(norms(rows), size))).max())


# --- CAGrad, NashMTL and FairGrad: what the coefficients of a result have to fulfil.


def cagrad_gap(rows, coefficients, c):
    """Of mean + sum_i z_i g_i: the duality gap, row by row relative to rounding as
    above, or by how much it leaves the ball or the cone."""
    coefficients = wide(coefficients)
    mean = wide(rows).mean(axis=0)
    if not coefficients.any():
        return 0.0 if zero_in_hull(rows) <= STATIONARY else np.inf
    if not mean.any():
        return float(length(coefficients @ wide(rows)))
    z = coefficients - wide(1) / len(rows)
    lengths = norms(rows)
    negative = float(-(z * lengths).min() / length(mean))
    step = z @ wide(rows)
    outside = float(abs(length(step) - c * length(mean)) / length(mean))
    weights = np.maximum(z, 0)
    if weights.sum() == 0:
        return max(outside, negative)
    weights = weights / weights.sum()
    products = wide(rows) @ (mean + step)
    allowed = length(mean) * np.maximum(lengths, 1e-12 * lengths.max())
    return max(outside, negative, float(((weights @ products - products) / allowed).max()))


def fair_residual(rows, coefficients, alpha=1.0, factor=1.0):
    """Of (K c)_i = factor c_i^(-1/alpha), relative to the terms of (K c)_i: what their
    rounding moves is 1e-16. Zero rows have no equation."""
    coefficients = wide(coefficients)
    if not coefficients.any():
        kept = unit_rows(rows)
        return 0.0 if not len(kept) or zero_in_hull(kept) <= 1.01 * STATIONARY else np.inf
    kept = norms(rows) > 0
    c, lengths = coefficients[kept], norms(rows)[kept]
    if not c.min() > 0:
        return np.inf
    products = wide(rows)[kept] @ (c @ wide(rows)[kept])
    return float(
        (np.abs(products - factor * c ** (-1 / wide(alpha))) / (lengths * (c @ lengths))).max()
    )


def nash_residual(rows, coefficients):
    """NashMTL at length 1: K a = 1 / (m a) of the m non-zero rows."""
    return fair_residual(rows, coefficients, factor=1 / wide(max(1, (norms(rows) > 0).sum())))


# --- Krum.


def krum(rows, n_byzantine, n_selected, squared=False):
    """The mean of the rows with the lowest scores; of equal ones the first."""
    rows = wide(rows)
    scores = []
    for i, row in enumerate(rows):
        apart = sorted(length(row - other) for k, other in enumerate(rows) if k != i)
        near = apart[: len(rows) - n_byzantine - 2]
        scores.append(sum((d * d for d in near), wide(0)) if squared else sum(near, wide(0)))
    selected = []
    for _ in range(n_selected):
        left = [i for i in range(len(rows)) if i not in selected]
        lowest = min(scores[i] for i in left)
        selected.append(next(i for i in left if scores[i] <= lowest * (1 + wide(1e-13))))
    return np.asarray(rows[selected].mean(axis=0), dtype=float)
