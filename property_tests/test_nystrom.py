"""Chosen points and the Nyström approximation they make (N1 to N7).

With Π the projector on the features of the chosen points S and R = K̄ − K̄_nys = F(I − Π)Fᵀ:

    R ≥ 0,   λ_i(K) − ‖R‖ ≤ λ_i(K_nys) ≤ λ_i(K),   |R_ij| ≤ √(R_ii R_jj),   R_{S·} = 0,
    tr R = ‖(I − Π)Fᵀ‖_F²,

R falls in Löwner order, hence tr R falls, with every point, and `residual_trace` is tr R after each
pick, computed densely here by a QR projection in float64. Rounding: 4c·eps·N·‖K‖ with c = 1.9 (N1,
N2, N5), 18.8·√n (N4), 8.1 tr K (N7). A pivot p whose residual d_p is near the noise ν = n·eps·max
K_ii is known to the relative accuracy ν/d_p only, and so is what it removes, at most tr R: that is
added for every pivot. Pivots below ν remove nothing by definition: `residual_trace` is then an
upper bound, and is asserted as one.

Outputs number 1 or 4, so that the scaling 1/√C of the joined features is exact.
"""

import numpy as np
from hypothesis import strategies as st

from dntk.distill.data import LCMD, FarthestPoint, Herding, KMeans, Leverage, MaxDet, Random, RPCholesky
from property_tests.allowances import allowance, eps
from property_tests.strategies import (
    SHAPES,
    eigenvalues,
    features,
    for_libraries,
    fractions,
    host64,
    part,
    seeds,
)

EXACT = [s for s in SHAPES if s[0] in (1, 4)]
SELECTORS = {
    "random": Random,
    "rp-cholesky": RPCholesky,
    "rp-cholesky by threes": lambda size, seed: RPCholesky(size, seed=seed, block=3),
    "farthest": lambda size, seed: FarthestPoint(size),  # noqa: ARG005
    "lcmd": lambda size, seed: LCMD(size),  # noqa: ARG005
    "max-det": lambda size, seed: MaxDet(size, ridge=0.1 * (seed % 2)),
    "herding": lambda size, seed: Herding(size),  # noqa: ARG005
    "k-means": KMeans,
    "leverage": Leverage,
}


def complement(rows):
    """Projector I − Π off the span of some rows, from a QR factorisation at unit norm.

    Rows that depend on earlier ones up to rounding are left out: noise must not add a direction.
    """
    dimension = rows.shape[1]
    basis = np.zeros((0, dimension))
    for row in rows:
        norm = np.linalg.norm(row)
        rest = row / norm if norm > 0 else row
        for _ in range(2):
            rest = rest - basis.T @ (basis @ rest)
        left = np.linalg.norm(rest)
        if left > 1e-13 * max(8, dimension):
            basis = np.concatenate([basis, rest[None] / left])
    return np.eye(dimension) - basis.T @ basis


def traces(joined, indices):
    """Traces of R after each pick, and the residual of each pivot before it was picked."""
    out, pivots = [], []
    for step, index in enumerate(indices):
        before = complement(joined[indices[:step]])
        pivots.append(np.sum((joined[index] @ before) ** 2))
        out.append(np.sum((joined @ complement(joined[indices[: step + 1]])) ** 2))
    return np.array(out), np.array(pivots)


@for_libraries(
    case=features(shapes=EXACT, few=[(4, 6, 9)]),
    name=st.sampled_from(list(SELECTORS)),
    fraction=fractions,
    seed=seeds(),
)
def test_residual_trace_is_that_of_the_dense_projection(library, case, name, fraction, seed):
    size = part(fraction, case.shape[1])
    selection = SELECTORS[name](size, seed=seed).select(case.phi(library))
    indices = [int(i) for i in host64(selection.indices)]
    joined, n = case.joined, case.shape[1]
    computed = "float64" if library.has_float64 else "float32"
    told, trace = host64(selection.residual_trace), np.sum(joined**2)
    assert abs(selection.trace - trace) <= allowance("N5", computed, case.size, trace)
    # Never more than before, nor negative; equal where a pivot removes nothing. Sums of fewer, smaller terms may
    # round differently.
    assert np.all(told >= 0)
    assert np.all(np.diff(told) <= n * eps(computed) * told[:-1] + eps(case.dtype) * told[:-1])
    assert told[0] <= trace + allowance("N5", case.dtype, case.size, trace)

    exact, pivots = traces(joined, indices)
    noise = n * eps(computed) * np.max(np.sum(joined**2, axis=1))
    before = np.concatenate([[trace], exact[:-1]])
    slack = allowance("N7", computed, case.size, trace) + eps(case.dtype) * exact
    used = pivots > 4 * noise
    unsure = np.cumsum(np.where(used, 4 * noise / np.where(used, pivots, 1), 0) * before)
    assert np.all(told >= exact - slack - unsure)
    sure = np.cumprod(used | (before <= noise)).astype(bool)
    assert np.all((told <= exact + slack + unsure)[sure])


@for_libraries(
    case=features(shapes=EXACT, few=[(4, 6, 9)]),
    name=st.sampled_from(list(SELECTORS)),
    fraction=fractions,
    seed=seeds(),
)
def test_nystrom_residual_is_positive_semidefinite_and_falls(library, case, name, fraction, seed):
    size = part(fraction, case.shape[1])
    selection = SELECTORS[name](size, seed=seed).select(case.phi(library))
    indices = [int(i) for i in host64(selection.indices)]
    assert len(set(indices)) == size == len(selection)
    joined = case.joined
    norm, n = np.linalg.norm(joined, 2) ** 2, case.shape[1]
    residual = joined @ complement(joined[indices]) @ joined.T
    slack = allowance("N1", "float64", case.size, norm)
    assert eigenvalues(residual)[-1] >= -slack
    whole, kept = eigenvalues(joined @ joined.T), eigenvalues(joined @ joined.T - residual)
    slack = allowance("N2", "float64", case.size, norm)
    assert np.all(kept <= whole + slack)
    assert np.all(kept >= whole - np.linalg.norm(residual, 2) - slack)
    diagonal = np.clip(np.diag(residual), 0, None)
    cauchy = np.sqrt(np.outer(diagonal, diagonal))
    assert np.all(np.abs(residual) <= cauchy + allowance("N4", "float64", case.size, np.sqrt(n) * norm))
    lengths = np.linalg.norm(joined, axis=1)
    # Interpolation, up to the 1e-13 relative threshold at which a row counts as dependent on the others.
    loss = 1e-12 * max(8, joined.shape[1])
    assert np.all(np.abs(residual[indices]) <= loss * np.outer(lengths[indices], lengths))
    fewer = joined @ complement(joined[indices[:-1]]) @ joined.T
    assert eigenvalues(fewer - residual)[-1] >= -allowance("N1", "float64", case.size, norm)


@for_libraries(case=features(shapes=EXACT, few=[(4, 6, 9)]), seed=seeds())
def test_choosing_all_points_leaves_nothing(library, case, seed):
    n = case.shape[1]
    computed = "float64" if library.has_float64 else "float32"
    for selector in (Random(n, seed=seed), RPCholesky(n, seed=seed)):
        selection = selector.select(case.phi(library))
        assert sorted(host64(selection.indices)) == list(range(n))
        assert float(host64(selection.residual_trace)[-1]) <= allowance("N7", computed, case.size, selection.trace)


@for_libraries(case=features(shapes=EXACT, few=[(4, 6, 9)], rows=["plain", "zero"]), fraction=fractions, seed=seeds())
def test_rp_cholesky_draws_no_point_that_is_explained(library, case, fraction, seed):
    size = part(fraction, case.shape[1])
    selection = RPCholesky(size, seed=seed).select(case.phi(library))
    indices = [int(i) for i in host64(selection.indices)]
    lengths = np.linalg.norm(case.joined, axis=1)
    zero_first = [
        i
        for step, i in enumerate(indices)
        if lengths[i] == 0 and any(lengths[j] > 0 and j not in indices[: step + 1] for j in range(len(lengths)))
    ]
    told = host64(selection.residual_trace)
    for i in zero_first:  # a zero row may come only once nothing is left of the kernel
        step = indices.index(i)
        assert step > 0
        assert told[step - 1] == 0 or told[step - 1] <= allowance("N7", case.dtype, case.size, selection.trace)
