import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge

import dntk
from dntk.solve import Preconditioner, kernel_ridge, preconditioned_cg, ridge, same_span
from tests.libraries import LIBRARIES, host
from tests.networks import features, targets

NUMPY = LIBRARIES[0]


def _reference(values: np.ndarray, y: np.ndarray, queries: np.ndarray, lam: float) -> np.ndarray:
    """scikit-learn's kernel ridge, one output at a time, in float64."""
    fits = [KernelRidge(alpha=lam, kernel="linear").fit(values[c], y[:, c]) for c in range(len(values))]
    return np.stack([fit.predict(queries[c]) for c, fit in enumerate(fits)], axis=1)


@pytest.mark.parametrize(("n", "k"), [(20, 40), (40, 12)], ids=["dual", "primal"])
def test_ridge_predicts_as_scikit_learn_does(library, n, k):
    phi, y, query = features(library, n=n, k=k), targets(library, n=n), features(library, n=7, k=k, seed=9)
    fit = ridge(phi, y, ridge=0.1)
    expected = _reference(host(phi.values).astype("f8"), host(y).astype("f8"), host(query.values).astype("f8"), 0.1)
    # Float32 weights of a system of condition 1 + 1/0.1, tried at features of norm up to about 2.
    tolerance = 200 * np.finfo("f4").eps * np.abs(expected).max()
    np.testing.assert_allclose(host(fit.predict(query)), expected, atol=tolerance)


@pytest.mark.parametrize(("n", "k"), [(12, 20), (20, 8)], ids=["dual", "primal"])
def test_loo_error_equals_refitting_without_each_point(n, k):
    phi, y = features(NUMPY, n=n, k=k, dtype="f8"), targets(NUMPY, n=n, dtype="f8")
    errors = []
    for i in range(n):
        rest = [j for j in range(n) if j != i]
        without = ridge(phi[rest], y[rest], ridge=0.05)
        errors.append(without.predict(phi[[i]]) - y[[i]])
    np.testing.assert_allclose(ridge(phi, y, ridge=0.05).loo_error, np.mean(np.square(errors)), rtol=1e-9)


@pytest.mark.parametrize(("n", "k"), [(20, 40), (40, 12)], ids=["dual", "primal"])
def test_loo_chooses_the_ridge_of_least_loo_error_on_the_grid(n, k):
    phi, y = features(NUMPY, n=n, k=k, dtype="f8"), targets(NUMPY, n=n, dtype="f8")
    grid = [1e-4, 1e-2, 1e-1, 1.0, 10.0]
    best = min(grid, key=lambda lam: ridge(phi, y, ridge=lam).loo_error)
    assert ridge(phi, y, ridge=grid).ridge == best


def test_loo_shrinks_hard_where_targets_are_pure_noise():
    phi, y = features(NUMPY, n=60, k=90, decay=0.99, dtype="f8"), targets(NUMPY, n=60, dtype="f8")
    assert ridge(phi, y, ridge="loo").ridge > np.mean(np.sum(phi.values**2, axis=2))


def test_kernel_ridge_agrees_with_ridge_on_features(library):
    phi, y, query = features(library), targets(library), features(library, n=5, seed=8)
    by_features = ridge(phi, y, ridge=0.1)
    by_kernel = kernel_ridge(phi.kernel(outputs="each"), y, ridge=0.1)
    left, right = host(by_features.predict(query)), host(by_kernel.predict(query.kernel(phi, outputs="each")))
    np.testing.assert_allclose(left, right, atol=500 * np.finfo("f4").eps * np.abs(left).max())
    assert by_kernel.loo_error == pytest.approx(by_features.loo_error, rel=1e-3)


def test_kernel_ridge_loo_chooses_as_ridge_does():
    phi, y = features(NUMPY, dtype="f8"), targets(NUMPY, dtype="f8")
    assert kernel_ridge(phi.kernel(outputs="each"), y).ridge == pytest.approx(ridge(phi, y).ridge)


def test_weights_are_the_dual_coefficients_mapped_by_the_features(library):
    phi, y = features(library), targets(library)
    fit = ridge(phi, y, ridge=0.2)
    mapped = np.einsum("cnk,cn->ck", host(phi.values), host(fit.dual))
    np.testing.assert_allclose(host(fit.weights), mapped, atol=1e-5 * np.abs(mapped).max())


def test_ridge_of_distilled_gradients_accepts_reference_and_synthetic_targets(library):
    phi, y = features(library), targets(library)
    grads = dntk.distill.gradients.Principal(4).distill(phi, y)
    fits = [ridge(grads, t, ridge=0.1) for t in (None, y, grads.targets)]
    for fit in fits[1:]:
        np.testing.assert_allclose(host(fit.weights), host(fits[0].weights), atol=1e-5)


def test_solution_directions_keep_the_ridge_they_were_made_for():
    phi, y = features(NUMPY), targets(NUMPY)
    grads = dntk.distill.gradients.Solution(3, ridge=0.37).distill(phi, y)
    assert ridge(grads).ridge == 0.37
    assert same_span(grads).ridge == 0.37


def test_same_span_learns_other_targets_in_the_span():
    phi, y = features(NUMPY, dtype="f8"), targets(NUMPY, dtype="f8")
    grads = dntk.distill.gradients.Principal(6).distill(phi, y)
    other = targets(NUMPY, seed=77, dtype="f8")
    fit = same_span(grads, other, ridge=0.1)
    for c in range(3):
        rows = grads.values[c]
        basis = np.linalg.qr(rows.T)[0]
        z = phi.values[c] @ basis
        w = basis @ np.linalg.solve(z.T @ z + 0.1 * np.eye(6), z.T @ other[:, c])
        np.testing.assert_allclose(fit.weights[c], w, atol=1e-10)


def test_conjugate_gradients_solve_an_ill_conditioned_system(library):
    phi, y = features(library, decay=0.6), targets(library)
    values = phi.values
    lam = 1e-3

    def multiply(v):
        return (values @ (values.mT @ v[:, :, None]))[:, :, 0] + lam * v

    eigenvalues, vectors = dntk.spectrum.leading_eigenpairs(values, 8)
    xp = dntk.arrays.namespace(values)
    preconditioner = Preconditioner(
        values=xp.astype(eigenvalues, values.dtype), vectors=xp.astype(vectors, values.dtype), ridge=lam
    )
    found = preconditioned_cg(multiply, y.T, preconditioner, iterations=25)
    assert host(found.relative_residual).max() < 1e-4
    plain = preconditioned_cg(multiply, y.T, lambda r: r, iterations=8)
    assert host(plain.relative_residual).max() > host(found.relative_residual).max()


def test_conjugate_gradients_leave_a_zero_target_at_zero():
    zero = np.zeros((1, 5))
    result = preconditioned_cg(lambda v: 2 * v, zero, lambda r: r, iterations=3)
    assert not result.solution.any()
    assert result.relative_residual == 0


@pytest.mark.parametrize("bad", [0, -1.0, float("nan"), float("inf")])
@pytest.mark.usefixtures("unchecked")
def test_a_ridge_that_is_not_positive_is_refused(bad):
    with pytest.raises(ValueError, match="`ridge` must be positive"):
        ridge(features(NUMPY), targets(NUMPY), ridge=bad)


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_word_or_an_empty_grid_for_the_ridge_is_refused():
    with pytest.raises(ValueError, match="'loo'"):
        ridge(features(NUMPY), targets(NUMPY), ridge="gcv")
    with pytest.raises(ValueError, match="empty grid"):
        ridge(features(NUMPY), targets(NUMPY), ridge=[])


def test_a_singular_system_is_refused_with_the_remedy():
    phi = dntk.TangentFeatures(np.ones((1, 5, 9)))
    with pytest.raises(ValueError, match="singular to working precision"):
        ridge(phi, np.ones((5, 1)), ridge=1e-30)


def test_zero_features_have_no_loo_ridge():
    with pytest.raises(ValueError, match="zero"):
        ridge(dntk.TangentFeatures(np.zeros((2, 4, 3))), np.ones((4, 2)))


@pytest.mark.usefixtures("unchecked")
def test_targets_of_another_length_dtype_or_with_nan_are_refused():
    phi = features(NUMPY)
    with pytest.raises(ValueError, match=r"expected \(20, 3\)"):
        ridge(phi, targets(NUMPY, n=19))
    with pytest.raises(TypeError, match="`targets` has dtype"):
        ridge(phi, np.ones((20, 3), dtype=int))
    broken = targets(NUMPY)
    broken[4, 1] = np.nan
    with pytest.raises(ValueError, match="first: row 4"):
        ridge(phi, broken)
    with pytest.raises(ValueError, match="missing"):
        ridge(phi)


@pytest.mark.usefixtures("unchecked")
def test_targets_of_another_library_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="different kinds"):
        ridge(features(NUMPY), torch.ones(20, 3))


def test_predicting_features_of_another_sketch_is_refused():
    phi = features(NUMPY)
    fit = ridge(dntk.TangentFeatures(phi.values, dntk.sketch.SparseSign(40)), targets(NUMPY), ridge=0.1)
    with pytest.raises(ValueError, match="one sketch"):
        fit.predict(dntk.TangentFeatures(phi.values, dntk.sketch.SparseSign(40, seed=1)))


@pytest.mark.parametrize("module", ["numpy", "torch"])
def test_few_points_in_float32_are_solved_in_float64(module):
    library = next(one for one in LIBRARIES if one.id == module)
    if library.why_not():
        pytest.skip(library.why_not())
    phi, y = features(library, n=20, k=40, decay=0.5), targets(library, n=20)
    values, lam = host(phi.values).astype("f8"), 1e-7
    expected = _reference(values, host(y).astype("f8"), values, lam)
    # Condition 1e7: in float32 nothing would be right. Weights are rounded once, and so are products with them.
    duals = [np.linalg.solve(v @ v.T + lam * np.eye(20), t) for v, t in zip(values, host(y).T, strict=True)]
    weights = [np.linalg.norm(v.T @ a) for v, a in zip(values, duals, strict=True)]
    allowance = 4 * 40**0.5 * np.finfo("f4").eps * max(weights)
    np.testing.assert_allclose(host(ridge(phi, y, ridge=lam).predict(phi)), expected, atol=allowance)
    assert allowance < 0.1 * np.abs(expected).max()
