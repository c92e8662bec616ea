"""Ridge regression: backward error (K1), leave-one-out (K7), monotonicity (K6), primal = dual.

With κ = (‖K‖ + λ)/λ:

* ‖(K + λI)α − y‖ ≤ 4c·eps·N·(‖K‖ + λ)‖α‖, c = 0.71 (K1), where the system is solved in the dual; in
  the primal the same for (ΦᵀΦ + λI)w = Φᵀy, with ‖Φ‖‖y‖ beside (‖Φ‖² + λ)‖w‖ for the rounding of
  the right-hand side.
* mean (y_i − f_{−i}(x_i))² equals that of n refits without point i: residuals within
  4c·eps·N·κ²‖y‖, c = 0.37 (K7).
* d_λ = Σ λ_i/(λ_i + λ) does not grow with λ and is at most min(tr K/λ, rank): 4c·eps·N·nκ, c = 0.16
  (K6). In-sample misfit does not fall, and ‖w‖ does not grow, with λ.
* The fit does not know whether n ≤ k: columns of zeros turn the primal into the dual. Fits within
  4c·eps·N·κ‖y‖, c = 0.18 (K3).

Forward errors carry κ, so λ is at least 1e-3 of ‖K‖ (0.1 where κ² enters in float32).
"""

import dataclasses

import numpy as np
from hypothesis import strategies as st

from dntk import spectrum
from dntk.solve import kernel_ridge
from dntk.solve import ridge as solve_ridge
from property_tests.allowances import allowance, eps, solved
from property_tests.strategies import (
    SHAPES,
    eigenvalues,
    features,
    for_libraries,
    host64,
    relative_ridges,
)

BOTH = [(3, 6, 9), (1, 12, 5)]
"""Shapes that are solved in the dual and in the primal."""


def strong_ridges(library):
    """λ/‖K‖ for statements that carry κ²."""
    return st.sampled_from([1e-1, 1.0, 10.0] if library.module == "jax" else [1e-3, 1e-1, 1.0, 10.0])


def small_ridges(library):
    """λ/‖K‖ down to where backward stability is the only thing left to ask."""
    return st.sampled_from([1e-3, 1.0] if library.module == "jax" else [1e-9, 1e-6, 1e-3, 1.0])


@for_libraries(case=features(few=BOTH), relative=small_ridges)
def test_ridge_is_backward_stable(library, case, relative):
    ridge = max(relative, 4 * eps(case.dtype) * min(case.shape[1:]) * case.shape[0]) * case.norm
    fit = solve_ridge(case.phi(library), case.y(library), ridge=ridge)
    _, n, k = case.shape
    for phi, y, alpha, w in zip(case.wide, case.wide_targets.T, host64(fit.dual), host64(fit.weights), strict=True):
        norm = np.linalg.norm(phi, 2) ** 2
        if n <= k:
            residual = phi @ (phi.T @ alpha) + ridge * alpha - y
            scale = (norm + ridge) * np.linalg.norm(alpha)
        else:
            residual = phi.T @ (phi @ w - y) + ridge * w
            scale = (norm + ridge) * np.linalg.norm(w) + np.sqrt(norm) * np.linalg.norm(y)
        assert np.linalg.norm(residual) <= allowance("K1", case.dtype, case.size, scale)


@for_libraries(case=features(few=BOTH), relative=small_ridges)
def test_kernel_ridge_is_backward_stable(library, case, relative):
    ridge = max(relative, 4 * eps(case.dtype) * case.size) * case.norm
    kernel = case.kernels.astype(case.dtype)
    fit = kernel_ridge(library.array(kernel), case.y(library), ridge=ridge)
    for k, y, alpha in zip(kernel.astype(np.float64), case.wide_targets.T, host64(fit.dual), strict=True):
        scale = (np.linalg.norm(k, 2) + ridge) * np.linalg.norm(alpha)
        residual = k @ alpha + ridge * alpha - y
        assert np.linalg.norm(residual) <= allowance("K1", case.dtype, case.size, scale)


def refits(case, ridge):
    """y_i − f_{−i}(x_i) by n fits without point i, (n, C)."""
    c, n, _ = case.shape
    out = np.zeros((n, c))
    for i in range(n):
        rest = np.arange(n) != i
        for j, (phi, y) in enumerate(zip(case.wide, case.wide_targets.T, strict=True)):
            kept = phi[rest]
            alpha = np.linalg.solve(kept @ kept.T + ridge * np.eye(n - 1), y[rest])
            out[i, j] = y[i] - phi[i] @ kept.T @ alpha
    return out


def loo_slack(case, relative, exact):
    """Allowance of a mean of squares whose roots are within the allowance of K7."""
    kappa = 1 + 1 / relative
    each = allowance("K7", case.dtype, case.size, kappa**2 * np.linalg.norm(case.wide_targets))
    return float(np.mean(2 * np.abs(exact) * each + each**2))


@for_libraries(case=features(few=BOTH), relative=strong_ridges)
def test_leave_one_out_is_n_refits(library, case, relative):
    ridge = relative * case.norm
    exact = refits(case, ridge)
    error, slack = np.mean(exact**2), loo_slack(case, relative, exact)
    fit = solve_ridge(case.phi(library), case.y(library), ridge=ridge)
    assert abs(fit.loo_error - error) <= slack
    kernels = library.array(case.kernels.astype(case.dtype))
    # The kernel is rounded to the dtype: a backward error that K7 counts already.
    assert abs(kernel_ridge(kernels, case.y(library), ridge=ridge).loo_error - error) <= slack


@for_libraries(case=features(few=BOTH))
def test_loo_ridge_is_the_best_of_its_grid(library, case):
    grid = [relative * case.norm for relative in (1e-1, 1.0, 10.0)]
    exact = [refits(case, ridge) for ridge in grid]
    errors = np.array([np.mean(e**2) for e in exact])
    slack = loo_slack(case, 1e-1, exact[0])
    chosen = solve_ridge(case.phi(library), case.y(library), ridge=grid).ridge
    assert chosen in grid
    assert errors[grid.index(chosen)] <= errors.min() + 2 * slack
    kernels = library.array(case.kernels.astype(case.dtype))
    chosen = kernel_ridge(kernels, case.y(library), ridge=grid).ridge
    assert errors[grid.index(chosen)] <= errors.min() + 2 * slack


@for_libraries(case=features(few=BOTH), relative=relative_ridges)
def test_primal_equals_dual(library, case, relative):
    ridge = relative * case.norm
    c, n, k = case.shape
    widened = np.concatenate([case.values, np.zeros((c, n, max(0, n - k)), case.dtype)], axis=2)
    wide = dataclasses.replace(case, values=widened)
    phi = case.phi(library)
    first = solve_ridge(phi, case.y(library), ridge=ridge)
    second = solve_ridge(wide.phi(library), case.y(library), ridge=ridge)
    y = np.linalg.norm(case.wide_targets)
    kappa = 1 + 1 / relative
    slack = 2 * allowance("K3", case.dtype, case.size, kappa * y)
    difference = host64(first.predict(phi)) - host64(second.predict(wide.phi(library)))
    assert np.linalg.norm(difference) <= slack
    slack = 2 * solved(case.dtype, case.size, kappa, y) / ridge
    assert np.linalg.norm(host64(first.dual) - host64(second.dual)) <= slack
    assert np.all(host64(second.weights)[:, k:] == 0)


@for_libraries(case=features(few=BOTH), relative=relative_ridges)
def test_features_and_their_kernel_give_the_same_fit(library, case, relative):
    ridge = relative * case.norm
    phi = case.phi(library)
    first = solve_ridge(phi, case.y(library), ridge=ridge)
    kernels = phi.kernel(outputs="each")
    second = kernel_ridge(kernels, case.y(library), ridge=ridge)
    # The kernel was rounded to the dtype: a backward error of eps·N·‖K‖, forward κ as any other.
    slack = 2 * allowance("K3", case.dtype, case.size, (1 + 1 / relative) * np.linalg.norm(case.wide_targets))
    difference = host64(first.predict(phi)) - host64(second.predict(kernels))
    assert np.linalg.norm(difference) <= slack
    a = case.kernels + ridge * np.eye(case.shape[1])
    alpha = np.linalg.solve(a, case.wide_targets.T[:, :, None])
    assert np.linalg.norm(host64(first.predict(phi)) - (case.kernels @ alpha)[:, :, 0].T) <= slack


@for_libraries(case=features(few=BOTH), relative=relative_ridges, factor=st.sampled_from([1.0, 1.5, 100.0]))
def test_more_ridge_means_fewer_dimensions_and_larger_misfit(library, case, relative, factor):
    ridge, more = relative * case.norm, factor * relative * case.norm
    phi, y = case.phi(library), case.y(library)
    n = case.shape[1]
    # Of the mean kernel, whose norm is at most the largest ‖K^c‖: κ is at most 1 + 1/relative.
    kappa = 1 + 1 / relative
    slack = allowance("K6", case.dtype, case.size, n * kappa)
    dimension = spectrum.effective_dimension(phi, ridge)
    assert spectrum.effective_dimension(phi, more) <= dimension + slack
    values = np.clip(eigenvalues(case.joined @ case.joined.T), 0, None)
    assert abs(dimension - np.sum(values / (values + ridge))) <= slack
    singular = np.linalg.svd(case.joined, compute_uv=False)
    assert dimension <= min(np.sum(values) / ridge, np.sum(singular > 0)) + slack

    norm = np.linalg.norm(case.wide_targets)
    slack = allowance("K3", case.dtype, case.size, kappa * norm)
    fits = [solve_ridge(phi, y, ridge=r) for r in (ridge, more)]
    misfits = [np.linalg.norm(host64(f.predict(phi)) - case.wide_targets, axis=0) for f in fits]
    assert np.all(misfits[0] <= misfits[1] + 2 * slack)
    # ‖w‖ is known to the accuracy of w: ‖(ΦᵀΦ + λ)⁻¹‖ times the backward error.
    weights = [np.linalg.norm(host64(f.weights), axis=1) for f in fits]
    error = solved(case.dtype, case.size, kappa, norm) * np.sqrt(case.norm) / ridge
    assert np.all(weights[1] <= weights[0] + 2 * error)


@for_libraries(case=features(shapes=[s for s in SHAPES if s[1] > 1], few=BOTH), relative=relative_ridges)
def test_posterior_variance_and_leverage_fall_with_every_point(library, case, relative):
    ridge = relative * case.norm
    phi, n = case.phi(library), case.shape[1]
    values = [spectrum.effective_dimension(phi[: m + 1], ridge) for m in (n - 2, n - 1)]
    slack = allowance("K6", case.dtype, case.size, n * (1 + 1 / relative))
    # One point more adds between 0 and 1 dimensions.
    assert -slack <= values[1] - values[0] <= 1 + slack
