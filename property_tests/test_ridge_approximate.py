"""Ridge regression with an approximate kernel K̂ in place of K (K2 to K5).

With A = K + λI, Â = K̂ + λI, R = K − K̂, the dual solutions α and α̂, fits f = Kα and f̂ = K̂α̂, and κ = (‖K‖ + λ)/λ:

* K2  ‖f − f̂‖ ≤ ‖Rα̂‖, as f − f̂ = λA⁻¹Rα̂: it needs the approximate solution only. 4c·eps·N·κ‖y‖, c = 0.18.
* K3  ‖f − f̂‖ ≤ ‖R‖‖y‖/λ, and where K̂ ≤ K, ‖f − f̂‖ ≤ ‖R‖/(‖R‖ + λ)·‖y‖. The same allowance.
* K4  (1 − ε)A ≤ Â ≤ (1 + ε)A gives ‖α̂ − α‖_A ≤ ε/(1 − ε)·‖α‖_A, the least such ε found densely; one solve's
  rounding, √(‖K‖ + λ)‖Δα‖.
* K5  K̂ ≤ K gives yᵀÂ⁻¹y ≥ yᵀA⁻¹y, d_λ(K̂) ≤ d_λ(K), and ℓ_i(K̂) ≤ ℓ_i(K) for each leverage score: 4c·eps·N times
  κ‖y‖²/λ with c = 0.42, nκ and κ with c = 0.16 (K6).

K̂ is that of Nyström features on some of the points by either span, which is below K to rounding (N1, 4c·eps·N·‖K‖,
c = 1.9; the shifted span states s·eps·tr K_SS more below), or of a Gaussian sketch, which is on no side of it.
"""

import numpy as np
from hypothesis import strategies as st

import dntk
from dntk import spectrum
from dntk.distill.data import Leverage
from dntk.sketch import Gaussian
from dntk.solve import FeatureProjection, ShiftedCholesky, nystrom
from dntk.solve import ridge as solve_ridge
from property_tests.allowances import allowance, solved
from property_tests.strategies import features, for_libraries, fractions, host64, part, relative_ridges, seeds

BOTH = [(3, 6, 9)]
SPANS = {"projection": FeatureProjection(), "cholesky": ShiftedCholesky()}


def kinds(library):
    """Approximations to draw; one where each has to be compiled."""
    return st.sampled_from(["projection"] if library.module == "jax" else [*SPANS, "sketch"])


def spans(library):
    """Spans to draw; one where each has to be compiled."""
    return st.sampled_from(["projection"] if library.module == "jax" else list(SPANS))


def nystrom_features(library, case, points, span):
    """Ψ(Ψ_S-span)ᵀ as the regression forms them."""
    phi = case.phi(library)
    return dntk.TangentFeatures(phi.values @ SPANS[span].rows(phi[points].values).mT)


def approximate(library, case, kind, fraction, seed, ridge):
    """Features of K̂, its fit, and the fit's predictions at the points."""
    phi, y, n = case.phi(library), case.y(library), case.shape[1]
    if kind == "sketch":
        reduced = dntk.TangentFeatures(Gaussian(64, seed=seed).apply(phi.values))
        fit = solve_ridge(reduced, y, ridge=ridge)
        return reduced, fit, fit.predict(reduced)
    points = [int(i) for i in np.random.default_rng(seed).permutation(n)[: part(fraction, n)]]
    reduced = nystrom_features(library, case, points, kind)
    fit = nystrom(phi, y, points, ridge=ridge, span=SPANS[kind])
    return reduced, fit, fit.predict(phi)


@for_libraries(
    jax_examples=4,
    case=features(few=BOTH),
    kind=kinds,
    fraction=fractions,
    relative=relative_ridges,
    seed=seeds(),
)
def test_fits_and_solutions_are_as_near_as_the_kernels(library, case, kind, fraction, relative, seed):
    ridge, kappa = relative * case.norm, 1 + 1 / relative
    reduced, fit, fitted = approximate(library, case, kind, fraction, seed, ridge)
    size = max(case.size, reduced.dim)
    for c, (psi, k, y) in enumerate(zip(host64(reduced.values), case.kernels, case.wide_targets.T, strict=True)):
        a, rest = k + ridge * np.eye(len(k)), k - psi @ psi.T
        alpha, dual = np.linalg.solve(a, y), host64(fit.dual)[c]
        # K̂ may be longer than K under a sketch: the condition of its own system counts too.
        longest = max(1.0, np.linalg.norm(psi, 2) ** 2 / case.norm) * kappa
        slack = allowance("K2", case.dtype, size, longest * np.linalg.norm(y))
        difference = np.linalg.norm(k @ alpha - host64(fitted)[:, c])
        assert difference <= np.linalg.norm(rest @ dual) + slack  # K2
        norm = np.linalg.norm(rest, 2)
        assert difference <= norm / ridge * np.linalg.norm(y) + slack  # K3
        if kind != "sketch":
            assert difference <= norm / (norm + ridge) * np.linalg.norm(y) + slack

        root = np.linalg.cholesky(a)
        whitened = np.linalg.solve(root, np.linalg.solve(root, rest).T)
        epsilon = np.linalg.norm(whitened, 2)
        if epsilon < 0.999:  # K4; beyond, Â need not be near A at all
            error = np.linalg.norm(root.T @ (dual - alpha))
            slack = solved(case.dtype, size, longest, np.linalg.norm(y)) / ridge * np.sqrt(case.norm + ridge)
            assert error <= epsilon / (1 - epsilon) * np.linalg.norm(root.T @ alpha) + slack


@for_libraries(
    jax_examples=4,
    case=features(few=BOTH),
    span=spans,
    fraction=fractions,
    relative=relative_ridges,
    seed=seeds(),
)
def test_smaller_kernels_have_fewer_dimensions_and_larger_energies(library, case, span, fraction, relative, seed):
    ridge, kappa, n = relative * case.norm, 1 + 1 / relative, case.shape[1]
    reduced, fit, _ = approximate(library, case, span, fraction, seed, ridge)
    for c, (psi, k, y) in enumerate(zip(host64(reduced.values), case.kernels, case.wide_targets.T, strict=True)):
        assert np.linalg.eigvalsh(k - psi @ psi.T)[0] >= -allowance("N1", case.dtype, case.size, case.norm)
        exact = y @ np.linalg.solve(k + ridge * np.eye(n), y)
        slack = allowance("K5", case.dtype, case.size, kappa * (y @ y) / ridge)
        assert y @ host64(fit.dual)[c] >= exact - slack
    phi = case.phi(library)
    slack = allowance("K6", case.dtype, case.size, n * kappa)
    assert spectrum.effective_dimension(reduced, ridge) <= spectrum.effective_dimension(phi, ridge) + slack


@for_libraries(
    jax_examples=4,
    case=features(few=BOTH),
    span=spans,
    fraction=fractions,
    relative=relative_ridges,
    seed=seeds(),
)
def test_leverage_scores_are_those_of_the_kernel_and_fall_with_it(library, case, span, fraction, relative, seed):
    n = case.shape[1]
    points = [int(i) for i in np.random.default_rng(seed).permutation(n)[: part(fraction, n)]]
    ridge, slack = relative * case.norm, allowance("K6", case.dtype, case.size, 1 + 1 / relative)
    scores = host64(Leverage(1, ridge=ridge).scores(case.phi(library)))
    mean = case.joined @ case.joined.T
    exact = np.diag(mean @ np.linalg.inv(mean + ridge * np.eye(n)))
    assert np.all(np.abs(scores - exact) <= slack)
    assert abs(np.sum(scores) - spectrum.effective_dimension(case.phi(library), ridge)) <= n * slack
    smaller = host64(Leverage(1, ridge=ridge).scores(nystrom_features(library, case, points, span)))
    assert np.all(smaller <= scores + 2 * slack)
