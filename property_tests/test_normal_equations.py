"""Statistics of ridge regression add up, and all that is read from them is that of dense algebra.

For statistics of parts, updated or merged, of weighted points, with N the largest dimension and γ the bound of sums:

* ΦᵀWΦ, ΦᵀWy, Σ w y² within 2γ_{n+8} of their terms' magnitudes; numbers of points and sums of weights.
* The mean squared residual of any weights, and that of the ridge path: residuals within 4c·eps·N·κ‖y‖, c = 0.18 (K3).
* d_λ within 4c·eps·N·nκ, c = 0.16 (K6), and GCV as MSE/(1 − d_λ/n)².
* A weight of w is √w times the row and its target: weights of the regression by 4c·eps·N·κ‖y‖‖Φ‖/λ, c = 0.71 (K1).
* Chunks out of core are one regression.
"""

import numpy as np
from hypothesis import strategies as st

import dntk
from dntk.solve import NormalEquations, ridge_out_of_core, ridge_path
from dntk.solve import path as path_module
from dntk.solve import ridge as solve_ridge
from property_tests.allowances import allowance, gamma, solved
from property_tests.strategies import features, for_libraries, host64, relative_ridges, seeds

MANY = [(1, 2, 1), (1, 7, 3), (1, 20, 5), (2, 9, 4), (3, 24, 8)]
BOTH = [*MANY, (2, 3, 9), (3, 6, 20)]
FEW = [(2, 9, 4)]
HOW = st.sampled_from(["at once", "updated", "merged", "merged the other way"])


def weights_of(case, seed):
    """Positive weights on the host, in the dtype; some zero where there are enough points."""
    rng, n = np.random.default_rng(seed), case.shape[1]
    drawn = rng.uniform(0.1, 3, n)
    drawn[rng.permutation(n)[: n // 5]] = 0
    return drawn.astype(case.dtype)


def statistics(library, case, how, weights):
    values, targets = case.values, case.targets.T[:, :, None]
    cut = case.shape[1] // 2

    def part(where):
        return (
            library.array(np.ascontiguousarray(values[:, where])),
            library.array(np.ascontiguousarray(targets[:, where])),
            library.array(weights[where]),
        )

    if how == "at once":
        return NormalEquations.of(*part(slice(None)))
    first, second = slice(0, cut), slice(cut, None)
    if how == "updated":
        return NormalEquations.of(*part(first)).update(*part(second))
    first, second = NormalEquations.of(*part(first)), NormalEquations.of(*part(second))
    return first.merge(second) if how == "merged" else second.merge(first)


def scaled(case, weights):
    """Rows and targets (C, n, k) and (C, n), float64, times the roots of the weights."""
    root = np.sqrt(weights.astype(np.float64))
    return case.wide * root[None, :, None], case.wide_targets.T * root


@for_libraries(jax_examples=4, case=features(shapes=MANY, few=FEW), how=HOW, seed=seeds())
def test_parts_add_up_to_the_whole(library, case, how, seed):
    weights = weights_of(case, seed)
    found = statistics(library, case, how, weights)
    phi, y = scaled(case, weights)
    slack = 2 * gamma(case.shape[1] + 8, case.dtype)
    for c in range(case.shape[0]):
        sizes = np.abs(phi[c]).T @ np.abs(phi[c])
        assert np.all(np.abs(host64(found.gram)[c] - phi[c].T @ phi[c]) <= slack * sizes)
        sizes = np.abs(phi[c]).T @ np.abs(y[c])
        assert np.all(np.abs(host64(found.cross)[c, :, 0] - phi[c].T @ y[c]) <= slack * sizes)
        assert abs(host64(found.squares)[c, 0] - y[c] @ y[c]) <= slack * (y[c] @ y[c])
    assert found.points == case.shape[1]
    total = np.sum(weights.astype(np.float64))
    assert abs(found.weight - total) <= slack * total


@for_libraries(jax_examples=4, case=features(shapes=MANY, few=FEW), how=HOW, relative=relative_ridges, seed=seeds())
def test_errors_and_dimensions_are_those_of_dense_algebra(library, case, how, relative, seed):
    weights, ridge, kappa = weights_of(case, seed), 3 * relative * case.norm, 1 + 1 / relative
    found = statistics(library, case, how, weights)
    spectrum, total = found.spectrum(), np.sum(weights.astype(np.float64))
    row = library.array(np.asarray([ridge]), str(np.dtype(str(spectrum.values.dtype).rpartition(".")[2])))
    (phi, y), n = scaled(case, weights), case.shape[1]
    dimension, mse = host64(spectrum.effective_dimension(row))[0], host64(spectrum.train_mse(row))[0, :, 0]
    gcv, told = host64(spectrum.gcv(row))[0, :, 0], host64(found.train_mse(spectrum.weights(row)[0, ...]))[:, 0]
    for c in range(case.shape[0]):
        hat = phi[c] @ np.linalg.solve(phi[c].T @ phi[c] + ridge * np.eye(case.shape[2]), phi[c].T)
        exact = np.sum((y[c] - hat @ y[c]) ** 2) / total
        # Σy² − 2wᵀb + wᵀGw cancels: known to eps·N of Σy² and what multiplies it.
        slack = allowance("K5", case.dtype, case.size, kappa * (y[c] @ y[c])) / total
        assert abs(mse[c] - exact) <= slack
        assert abs(told[c] - exact) <= slack
        room = allowance("K6", case.dtype, case.size, n * kappa)
        assert abs(dimension[c] - np.trace(hat)) <= room
        left = 1 - dimension[c] / n
        assert abs(gcv[c] * left**2 - mse[c]) <= slack + found.rounding * (y[c] @ y[c]) / total


@for_libraries(jax_examples=4, case=features(shapes=BOTH, few=FEW), relative=relative_ridges, seed=seeds())
def test_weighted_regressions_and_their_path_are_those_of_scaled_rows(library, case, relative, seed):
    weights, top = weights_of(case, seed), 3 * case.norm
    ridges = [3 * relative * case.norm, 100 * top]
    settings = {"sample_weights": library.array(weights)}
    path = ridge_path(case.phi(library), case.y(library), ridges, **settings)
    phi, y = scaled(case, weights)
    total, gain = np.sum(weights.astype(np.float64)), np.linalg.norm(y)
    for r, ridge in enumerate(ridges):
        kappa = 1 + top / ridge
        fit = solve_ridge(case.phi(library), case.y(library), ridge=ridge, **settings)
        for c in range(case.shape[0]):
            exact = np.linalg.solve(phi[c].T @ phi[c] + ridge * np.eye(case.shape[2]), phi[c].T @ y[c])
            slack = 2 * solved(case.dtype, case.size, kappa, gain) * np.sqrt(top) / ridge
            assert np.linalg.norm(host64(path.weights)[r, c] - exact) <= slack
            assert np.linalg.norm(host64(fit.weights)[c] - exact) <= slack
            # Dual coefficients are those of the features as they came: w = Ψᵀα.
            assert np.linalg.norm(case.wide[c].T @ host64(fit.dual)[c] - exact) <= 4 * slack
            residual = y[c] - phi[c] @ exact
            each = 2 * allowance("K3", case.dtype, case.size, kappa * gain)
            # Of all ridges but the smallest by the way from it, where that is trusted to a share of the error.
            trusted = r * path_module._TRUSTED * residual @ residual
            room = (2 * np.linalg.norm(residual) * each + each**2 + trusted) / total
            assert abs(host64(path.train_mse)[r, c] - residual @ residual / total) <= room


@for_libraries(
    jax_examples=4,
    case=features(shapes=MANY, few=FEW),
    rows=st.sampled_from([1, 4, 100]),
    relative=relative_ridges,
)
def test_chunks_out_of_core_are_one_regression(library, case, rows, relative):
    ridge, kappa, n = relative * case.norm, 1 + 1 / relative, case.shape[1]
    phi, y = case.phi(library), case.y(library)
    spans = [(i, min(i + rows, n)) for i in range(0, n, rows)]
    chunks = [(phi.values[:, start:stop, :], y[start:stop, :]) for start, stop in spans]
    fit = ridge_out_of_core(chunks, ridge=ridge, jitter=dntk.solve.Jitter())
    for c, (x, target) in enumerate(zip(case.wide, case.wide_targets.T, strict=True)):
        hat = x @ np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T)
        exact = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ target)
        norm = np.linalg.norm(case.wide_targets)
        slack = 2 * solved(case.dtype, case.size, kappa, norm) * np.sqrt(case.norm) / ridge
        assert np.linalg.norm(host64(fit.weights)[c] - exact) <= slack
        mse, room = (
            np.sum((target - hat @ target) ** 2) / n,
            allowance("K5", case.dtype, case.size, kappa * norm**2) / n,
        )
        assert abs(host64(fit.train_mse)[c] - mse) <= room
        left = 1 - np.trace(hat) / n
        dimensions = allowance("K6", case.dtype, case.size, kappa)
        if left > 2 * dimensions:
            room = room / left**2 + 4 * (mse + room) * dimensions / left**3
            assert abs(host64(fit.gcv)[c] - mse / left**2) <= 2 * room
